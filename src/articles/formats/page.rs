//! A page of HTML: its metadata, and the article in it by readability. Pure, and slow on large pages.

use std::collections::HashMap;

use dom_smoothie::{Config, Readability};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use url::Url;

use super::{Found, Place, dates, furniture, html};
use crate::articles::draft::Draft;
use crate::articles::fingerprint::title_key;
use crate::articles::text;

/// Pages with more elements are not searched for their article.
const MAX_ELEMENTS: usize = 60_000;
const MAX_DEPTH: usize = 400;

/// The article of a page; `base` is where it was read from.
pub fn read(document: &str, base: Option<&Url>) -> Found {
    Found { drafts: vec![(Place::Whole, Ok(draft(document, base)))], ..Found::default() }
}

fn draft(document: &str, base: Option<&Url>) -> Draft {
    let head = Head::read(document);
    let url = head.get(&["canonical", "og:url"]).or_else(|| base.map(ToString::to_string));
    let base = base.cloned().or_else(|| Url::parse(url.as_deref()?).ok());
    // Nothing found in a short page: all of it is the article.
    let readable =
        readable(document, base.as_ref()).filter(|article| !article.text_content.trim().is_empty());
    let (title, content, byline, excerpt, site, language, published, image) = match readable {
        Some(article) => (
            article.title,
            html::read(&article.content),
            article.byline,
            article.excerpt,
            article.site_name,
            article.lang,
            article.published_time,
            article.image,
        ),
        None => (element(document, "title"), html::read(document), None, None, None, None, None, None),
    };
    let title = head
        .get(&["og:title", "twitter:title"])
        .map(|title| html::line(&title))
        .filter(|title| !title.is_empty())
        .unwrap_or(title);
    let summary = head
        .get(&["og:description", "description", "twitter:description"])
        .map(|summary| html::line(&summary))
        // The extractor takes the first paragraph where the page says nothing of itself.
        .or(excerpt.filter(|excerpt| !content.paragraphs.contains(&text::line(excerpt))))
        .filter(|summary| !summary.trim().is_empty());
    let mut published_at = head
        .get(&["article:published_time", "datepublished", "date", "dc.date"])
        .or(published)
        .or_else(|| head.time.clone())
        .and_then(|text| instant(&text));
    let mut body = Vec::new();
    let said = [title_key(&title), summary.as_deref().map(title_key).unwrap_or_default()];
    for (at, paragraph) in content.paragraphs.into_iter().enumerate() {
        // Title, standfirst and date stand above the text again.
        if at < 6 && said.contains(&title_key(&paragraph)) {
            continue;
        }
        if at < 8
            && let Some(date) = dates::byline(&paragraph)
        {
            published_at = published_at.or(Some(date));
            continue;
        }
        body.push(paragraph);
    }
    let body = furniture::remove(body);
    let image_url = head
        .get(&["og:image", "twitter:image"])
        .or(image)
        .or_else(|| content.picture.map(|picture| picture.src));
    let draft = Draft {
        url: url.unwrap_or_default(),
        title,
        summary,
        body: Some(text::join(&body)).filter(|body| !body.is_empty()),
        language: head
            .language
            .clone()
            .or(language)
            .or_else(|| head.get(&["og:locale"]))
            .filter(|tag| crate::articles::draft::primary(tag).is_some()),
        section: head.get(&["article:section"]),
        author: head
            .get(&["author", "article:author"])
            .filter(|author| !author.starts_with("http"))
            .or(byline),
        source: head.get(&["og:site_name"]).or(site),
        published_at,
        image_alt: head.get(&["og:image:alt"]),
        image_url,
        ..Draft::default()
    };
    // A page that was saved without its address is known as a text is.
    Draft { url: if draft.url.is_empty() { draft.urn() } else { draft.url.clone() }, ..draft }
}

/// The words of the first element of this name.
fn element(document: &str, name: &str) -> String {
    let words = document.split_once(&format!("<{name}")).and_then(|(_, rest)| rest.split_once('>'));
    let words = words.and_then(|(_, rest)| rest.split_once("</")).map_or("", |(words, _)| words);
    html::line(words)
}

fn readable(document: &str, base: Option<&Url>) -> Option<dom_smoothie::Article> {
    if html::depth(document) > MAX_DEPTH {
        return None;
    }
    let config = Config { max_elements_to_parse: MAX_ELEMENTS, ..Config::default() };
    let base = base.filter(|url| url.has_host()).map(Url::as_str);
    Readability::new(document, base, Some(config)).ok()?.parse().ok()
}

/// What the page says of itself.
#[derive(Debug, Default)]
struct Head {
    said: HashMap<String, String>,
    language: Option<String>,
    time: Option<String>,
}

impl Head {
    fn read(document: &str) -> Self {
        let mut head = Self::default();
        for (at, _) in document.match_indices('<') {
            let rest = document.get(at + 1..).unwrap_or_default();
            let start: String = rest.chars().take(5).collect::<String>().to_ascii_lowercase();
            let element = ["meta", "link", "html", "time"]
                .into_iter()
                .find(|name| start.starts_with(name) && !start.starts_with("links"));
            let Some(element) = element else { continue };
            let attributes = attributes(rest.get(element.len()..).unwrap_or_default());
            let get = |name: &str| attributes.get(name).cloned().filter(|value| !value.trim().is_empty());
            match element {
                "meta" => {
                    let name = get("property").or_else(|| get("name")).or_else(|| get("itemprop"));
                    if let (Some(name), Some(content)) = (name, get("content")) {
                        head.said.entry(name.to_ascii_lowercase()).or_insert(content);
                    }
                }
                "link" if get("rel").is_some_and(|rel| rel.eq_ignore_ascii_case("canonical")) => {
                    if let Some(href) = get("href") {
                        head.said.entry("canonical".to_owned()).or_insert(href);
                    }
                }
                "html" => {
                    head.language = head.language.take().or_else(|| get("lang").or_else(|| get("xml:lang")));
                }
                "time" => head.time = head.time.take().or_else(|| get("datetime")),
                _ => {}
            }
        }
        head
    }

    fn get(&self, names: &[&str]) -> Option<String> {
        names
            .iter()
            .find_map(|name| self.said.get(*name))
            .map(|value| html::line(value))
            .filter(|value| !value.is_empty())
    }
}

/// The attributes of a tag, leniently; at most its first 4,000 bytes are looked at.
fn attributes(rest: &str) -> HashMap<String, String> {
    let mut out = HashMap::new();
    let mut end = rest.len().min(4_000);
    while !rest.is_char_boundary(end) {
        end -= 1;
    }
    let mut rest = rest.get(..end).unwrap_or_default();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        let length =
            rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(length);
        if name.is_empty() {
            return out;
        }
        let after = after.trim_start();
        let Some(value) = after.strip_prefix('=').map(str::trim_start) else {
            rest = after;
            continue;
        };
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = match quote {
            Some(quote) => match value.get(1..).and_then(|value| value.split_once(quote)) {
                Some(parts) => parts,
                None => return out,
            },
            None => {
                value.split_at(value.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(value.len()))
            }
        };
        out.entry(name.to_ascii_lowercase()).or_insert_with(|| value.to_owned());
        rest = after;
    }
}

/// An instant as metadata write it; without an offset it is UTC.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let civil = |at: DateTime| TimeZone::UTC.to_timestamp(at).ok();
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| text.parse::<DateTime>().ok().and_then(civil))
        .or_else(|| text.parse::<Date>().ok().and_then(dates::midnight))
        .or_else(|| dates::byline(text))
        .map(|at| crate::clock::timestamp(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<!doctype html><html lang="fr-SN"><head><title>Le phare rallumé | La Côte</title>
<link rel=canonical href="https://c.example/phare?utm_source=x"><meta property="og:title" content="Le phare rallum&eacute;">
<meta property="og:site_name" content="La Côte"><meta property="og:description" content="Éteint depuis trois ans, il guide de nouveau les pirogues.">
<meta property="og:image" content="https://c.example/phare.jpg"><meta property="article:published_time" content="2026-11-23T18:00:00+00:00">
<script>alert(1)</script></head><body><nav><a href="/">Accueil</a> <a href="/monde">Monde</a></nav><main><article>
<h1>Le phare rallumé</h1><p>Publié le 23 novembre 2026</p>
<p>Le feu a été rallumé dimanche soir, devant une foule de pêcheurs venus de toute la presqu’île, après trois années de panne.</p>
<p>La suite après cette publicité</p><h2>Une lampe neuve</h2>
<p>La lampe, fabriquée sur place par deux électriciens, éclaire à vingt milles et consomme dix fois moins que l’ancienne, selon eux.</p>
<p>Le gardien, qui a soixante ans, dit avoir attendu ce soir avec impatience, et promet de monter chaque soir les deux cents marches.</p>
</article><aside><p>Newsletter : abonnez-vous</p></aside></main><footer>Mentions légales</footer></body></html>"#;

    #[test]
    fn a_page_gives_its_article_without_the_page() {
        let draft = read(PAGE, None).drafts.remove(0).1.unwrap();
        assert_eq!(draft.title, "Le phare rallumé");
        assert_eq!(draft.url, "https://c.example/phare?utm_source=x");
        assert_eq!(draft.source.as_deref(), Some("La Côte"));
        assert_eq!(draft.published_at.unwrap().to_string(), "2026-11-23T18:00:00Z");
        let body = draft.body.unwrap();
        let paragraphs: Vec<&str> = body.split("\n\n").collect();
        assert_eq!(paragraphs.len(), 4, "{body}");
        assert!(
            paragraphs[0].starts_with("Le feu a été rallumé") && paragraphs[1] == "Une lampe neuve",
            "{body}"
        );
    }

    #[test]
    fn p10_a_page_that_nests_without_end_is_read_or_refused() {
        let deep = format!(
            "<html><link rel=canonical href=https://a.example/1><meta property=og:title content=x>{}",
            "<div>".repeat(100_000)
        );
        assert!(read(&deep, None).drafts.remove(0).1.is_ok());
    }

    #[test]
    fn a_page_without_a_link_is_known_as_a_text_is() {
        let draft = read("<title>Sans lien</title><p>x", None).drafts.remove(0).1.unwrap();
        assert_eq!((draft.title.as_str(), draft.body.as_deref()), ("Sans lien", Some("x")));
        assert!(draft.url.starts_with("urn:sha256:"), "{}", draft.url);
    }
}
