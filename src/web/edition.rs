//! One edition as a page: the same content as the mail, in a template of its own. Nothing in it belongs to one reader.

use askama::Template;
use jiff::civil::Date;
use url::Url;

use super::tongue::{Switch, switches};
use crate::config::Newsletter;
use crate::config::theme::Theme;
use crate::mail::content::{Content, Item};
use crate::mail::language::{Phrases, is_right_to_left, put};
use crate::mail::{BRIEF_FROM, Language, kicker};

/// An edition, ready for its page and for the feeds.
pub(super) struct Edition<'a> {
    pub(super) content: &'a Content,
    pub(super) theme: &'a Theme,
    pub(super) language: Language,
    /// The editor's subject, or the lead's title: whole, for a page has room.
    pub(super) headline: String,
    /// The editor's preheader, or the next two titles.
    pub(super) standfirst: String,
    pub(super) date: String,
    /// Where the page stands for good.
    pub(super) address: String,
    pub(super) archive: String,
    pub(super) subscribe: String,
    pub(super) items: Vec<Shown>,
    /// The language of the editors' own words.
    own: Own,
    /// The page in other languages.
    switches: Vec<Switch>,
    /// The item that the partner's place stands behind.
    sponsor_after: u32,
    /// Where the partner's link leads; empty where it leads nowhere.
    sponsor_to: String,
    /// What each correction is headed with, and what is right.
    corrections: Vec<(String, &'a str)>,
    /// The lead's picture, for previews elsewhere.
    pub(super) card: Option<Picture>,
}

/// A language and how it runs.
struct Own {
    lang: String,
    dir: &'static str,
}

impl Own {
    fn new(tag: &str) -> Self {
        Self { lang: tag.to_owned(), dir: if is_right_to_left(tag) { "rtl" } else { "ltr" } }
    }
}

/// One item.
pub(super) struct Shown {
    pub(super) position: u32,
    pub(super) url: String,
    pub(super) kicker: String,
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) link: String,
    pub(super) dir: &'static str,
    pub(super) lang: String,
    pub(super) picture: Option<Picture>,
    /// One of the short ones at the end.
    pub(super) brief: bool,
}

/// A picture with what must stand beside it.
#[derive(Clone)]
pub(super) struct Picture {
    pub(super) url: String,
    pub(super) alt: String,
    pub(super) credit: Option<String>,
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
}

#[derive(Template)]
#[template(path = "public/edition.html")]
pub(super) struct Page<'a> {
    pub(super) edition: &'a Edition<'a>,
    /// How to get it every morning, where somebody came to ask.
    pub(super) invite: Option<Invite>,
}

/// How to get a newsletter: a mail to its editors, who answer for who reads it.
pub(super) struct Invite {
    /// What it says.
    pub(super) words: String,
    /// What its link says.
    pub(super) link: &'static str,
    /// A `mailto:` address, with its subject.
    pub(super) to: String,
}

impl Invite {
    /// To readers of this language.
    pub(super) fn new(newsletter: &Newsletter, language: Language) -> Self {
        let (words, link) = match language.tag() {
            "en" => ("To receive {newsletter} every morning, write to {address}.", "Ask for it by mail"),
            "pt" => {
                ("Para receber {newsletter} todas as manhãs, escreva para {address}.", "Pedir por e-mail")
            }
            "ar" => ("لتصلك {newsletter} كل صباح، اكتب إلى {address}.", "اطلبها بالبريد"),
            _ => {
                ("Pour recevoir {newsletter} chaque matin, écrivez à {address}.", "La demander par courriel")
            }
        };
        let address = newsletter.reply_to.as_ref().unwrap_or(&newsletter.from).email.to_string();
        let query: String = url::form_urlencoded::byte_serialize(newsletter.name.as_bytes()).collect();
        Self {
            words: put(words, &[("newsletter", &newsletter.name), ("address", &address)]),
            link,
            // Mail programs take a plus for a plus.
            to: format!("mailto:{address}?subject={}", query.replace('+', "%20")),
        }
    }
}

/// What stands in a feed: the items without the page around them.
#[derive(Template)]
#[template(path = "public/items.html")]
pub(super) struct Items<'a> {
    pub(super) edition: &'a Edition<'a>,
}

impl<'a> Edition<'a> {
    /// An edition in its newsletter's own language.
    pub(super) fn new(content: &'a Content) -> Self {
        Self::in_language(content, Language::first_of([content.newsletter.language.as_str()]))
    }

    /// An edition with dates, numbers and fixed phrases in this language; what editors and sources wrote keeps its own.
    pub(super) fn in_language(content: &'a Content, language: Language) -> Self {
        let newsletter = &content.newsletter;
        let own_words = Language::of(&newsletter.language).unwrap_or(language);
        let archive = format!("{}/archive/{}", newsletter.public_url, newsletter.id);
        let items: Vec<Shown> =
            content.items.iter().map(|item| Shown::new(item, content, language)).collect();
        let or = |own: &str, otherwise: String| match own {
            "" => otherwise,
            own => own_words.polish(own, newsletter.theme.french),
        };
        let titles = |from: usize, count: usize| {
            let titles: Vec<&str> =
                items.iter().skip(from).take(count).map(|item| item.title.as_str()).collect();
            titles.join(" · ")
        };
        let headline = or(&content.subject, titles(0, 1));
        Self {
            content,
            theme: &newsletter.theme,
            language,
            headline: or(&headline, newsletter.name.clone()),
            standfirst: or(&content.preheader, titles(1, 2)),
            date: language.date(content.date),
            switches: switches(&format!("{archive}/{}", content.date), language),
            own: Own::new(&newsletter.language),
            address: format!("{archive}/{}", content.date),
            archive,
            subscribe: format!("{}/s/{}", newsletter.public_url, newsletter.id),
            sponsor_after: items.iter().map(|item| item.position).take(3).next_back().unwrap_or_default(),
            sponsor_to: content.sponsor.as_ref().map_or_else(String::new, |sponsor| led(&sponsor.url)),
            corrections: content
                .corrections
                .iter()
                .map(|correction| (heading(correction.date, language), correction.text.as_str()))
                .collect(),
            card: items.iter().find_map(|item| item.picture.clone()),
            items,
        }
    }

    pub(super) fn words(&self) -> &'static Phrases {
        self.language.phrases()
    }

    /// The page's colours and fonts. The configuration lets nothing into them that could leave a style sheet.
    pub(super) fn look(&self) -> String {
        look(self.theme, self.language)
    }

    /// A link of the editors' own, with what it says; only where a page may lead.
    fn link(&self, url: Option<&String>, source: Option<&String>) -> Option<(String, String)> {
        let url = url.map(|url| led(url)).filter(|url| !url.is_empty())?;
        let text = match source {
            Some(source) => put(self.words().read_at, &[("source", source)]),
            None => self.words().read_on.to_owned(),
        };
        Some((url, self.language.polish(&text, self.theme.french)))
    }

    /// Whether the short ones begin with this item.
    fn begins_brief(&self, item: &Shown) -> bool {
        item.brief
            && self.items.iter().find(|item| item.brief).map(|first| first.position) == Some(item.position)
    }
}

impl Shown {
    fn new(item: &Item, content: &Content, language: Language) -> Self {
        let own = item.language_or(&content.newsletter);
        let setting = Language::of(own).unwrap_or(language);
        let french = content.newsletter.theme.french;
        let phrases = language.phrases();
        let link = if item.source.is_empty() {
            phrases.read_on.to_owned()
        } else {
            put(phrases.read_at, &[("source", &item.source)])
        };
        Self {
            position: item.position,
            // What has no page elsewhere is read here.
            url: if content.newsletter.has_page(&item.url) { String::new() } else { led(&item.url) },
            kicker: kicker(item, &content.newsletter, language),
            title: setting.polish(&item.title, french),
            summary: setting.polish(&item.summary, french),
            link: language.polish(&link, french),
            dir: if is_right_to_left(own) { "rtl" } else { "ltr" },
            lang: own.to_owned(),
            picture: item.image.as_ref().map(|image| Picture {
                url: image.url.clone(),
                alt: setting.polish(&image.alt, french),
                credit: image.credit.as_ref().map(|credit| put(phrases.photo, &[("credit", credit)])),
                width: image.width,
                height: image.height,
            }),
            brief: item.position >= BRIEF_FROM,
        }
    }
}

/// What was made elsewhere leads only where a page may lead; nowhere otherwise.
fn led(url: &str) -> String {
    Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(|_| url.to_owned())
        .unwrap_or_default()
}

/// What a correction is headed with: the edition that had it wrong, where it is known.
fn heading(of: Option<Date>, language: Language) -> String {
    let phrases = language.phrases();
    match of {
        Some(date) => format!("{} · {}", phrases.correction, language.date(date)),
        None => phrases.correction.to_owned(),
    }
}

/// A theme as the variables that the pages' style sheet is written with.
pub(super) fn look(theme: &Theme, language: Language) -> String {
    let palette = |p: &crate::config::theme::Palette| {
        format!(
            "--paper:{};--card:{};--ink:{};--muted:{};--line:{};--accent:{};",
            p.paper, p.card, p.ink, p.muted, p.line, p.accent
        )
    };
    let own = language.phrases().font;
    format!(
        ":root{{{}--titles:{};--text:{};}}@media (prefers-color-scheme: dark){{:root{{{}}}}}",
        palette(&theme.light),
        own.unwrap_or(&theme.title_font),
        own.unwrap_or(&theme.text_font),
        palette(&theme.dark),
    )
    .replace('<', "")
}
