//! A content in one language: subject, preheader, HTML and text, from one view.

use askama::Template;

use super::Error;
use super::content::{Content, Item};
use super::language::{Language, is_right_to_left, put};
use super::prepared::SLOT;
use crate::config::theme::Theme;

/// Words a minute.
const PACE: usize = 230;
/// Items from this position on are short.
const BRIEF_FROM: u32 = 8;
/// The longest proposed subject, in characters.
const SUBJECT: usize = 60;
/// The longest proposed preheader, in characters.
const PREHEADER: usize = 90;

/// One revision in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The subject.
    pub subject: String,
    /// The first visible line.
    pub preheader: String,
    /// The HTML part.
    pub html: String,
    /// The text part.
    pub text: String,
}

struct View<'a> {
    content: &'a Content,
    theme: &'a Theme,
    language: Language,
    subject: String,
    preheader: String,
    date: String,
    length: String,
    lead: Vec<ItemView>,
    stories: Vec<ItemView>,
    brief: Vec<ItemView>,
    menu: Vec<(u32, String)>,
    links: Links,
    why: String,
}

struct Links {
    unsubscribe: String,
    preferences: String,
    browser: String,
    subscribe: String,
}

struct ItemView {
    position: u32,
    url: String,
    kicker: String,
    title: String,
    summary: String,
    link: String,
    /// Direction and language of the item's own words.
    dir: &'static str,
    lang: String,
    image: Option<ImageView>,
}

struct ImageView {
    url: String,
    alt: String,
    credit: Option<String>,
}

#[derive(Template)]
#[template(path = "mail/edition.html")]
struct Html<'a> {
    view: &'a View<'a>,
    /// Whether this is the mail, or a page of the archive for everybody.
    mail: bool,
}

#[derive(Template)]
#[template(path = "mail/edition.txt")]
struct Text<'a> {
    view: &'a View<'a>,
}

/// Renders a content as a mail in this language.
pub fn render(content: &Content, language: Language) -> Result<Rendered, Error> {
    let view = View::new(content, language);
    let html =
        Html { view: &view, mail: true }.render().map_err(|error| Error::Template(error.to_string()))?;
    let text = Text { view: &view }.render().map_err(|error| Error::Template(error.to_string()))?;
    Ok(Rendered {
        subject: view.subject.clone(),
        preheader: view.preheader.clone(),
        html: tidy(&html),
        text: wrapped(&text),
    })
}

/// Renders a content as the page that everybody may read: nothing in it belongs to one subscriber.
pub fn web_page(content: &Content, language: Language) -> Result<String, Error> {
    let view = View::new(content, language);
    let html =
        Html { view: &view, mail: false }.render().map_err(|error| Error::Template(error.to_string()))?;
    Ok(tidy(&html))
}

impl<'a> View<'a> {
    fn new(content: &'a Content, language: Language) -> Self {
        let newsletter = &content.newsletter;
        let phrases = language.phrases();
        let items: Vec<ItemView> =
            content.items.iter().map(|item| ItemView::new(item, content, language)).collect();
        let words: usize = items.iter().map(|item| count(&item.title) + count(&item.summary)).sum::<usize>()
            + content.opening.as_ref().map_or(0, |opening| count(&opening.text));
        let minutes = words.div_ceil(PACE).max(1);
        let length = put(
            phrases.length,
            &[("minutes", &language.number(minutes)), ("words", &language.number(words))],
        );
        let menu = items.iter().map(|item| (item.position, label(item, content))).collect();
        let (mut lead, mut stories, mut brief) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match item.position {
                1 => lead.push(item),
                position if position < BRIEF_FROM => stories.push(item),
                _ => brief.push(item),
            }
        }
        let base = &newsletter.public_url;
        Self {
            content,
            theme: &newsletter.theme,
            language,
            subject: language.polish(&subject(content)),
            preheader: language.polish(&preheader(content)),
            date: language.date(content.date),
            length,
            lead,
            stories,
            brief,
            menu,
            links: Links {
                unsubscribe: format!("{base}/u/{SLOT}"),
                preferences: format!("{base}/p/{SLOT}"),
                browser: format!("{base}/e/{}/{}", newsletter.id, content.date),
                subscribe: format!("{base}/s/{}", newsletter.id),
            },
            why: language.polish(&put(phrases.why, &[("newsletter", &newsletter.name)])),
        }
    }

    fn tag(&self) -> &'static str {
        self.language.tag()
    }

    fn dir(&self) -> &'static str {
        self.language.dir()
    }

    /// Where text begins.
    fn start(&self) -> &'static str {
        if self.language.phrases().right_to_left { "right" } else { "left" }
    }

    fn text_font(&self) -> &str {
        self.language.phrases().font.unwrap_or(&self.theme.text_font)
    }

    fn title_font(&self) -> &str {
        self.language.phrases().font.unwrap_or(&self.theme.title_font)
    }

    fn p(&self) -> &'static super::language::Phrases {
        self.language.phrases()
    }
}

impl ItemView {
    fn new(item: &Item, content: &Content, language: Language) -> Self {
        let own = item.language_or(&content.newsletter);
        let setting = Language::of(own).unwrap_or(language);
        let phrases = language.phrases();
        let link = if item.source.is_empty() {
            phrases.read_on.to_owned()
        } else {
            put(phrases.read_at, &[("source", &item.source)])
        };
        let link = match item.reading_minutes.and_then(|minutes| usize::try_from(minutes).ok()) {
            Some(minutes) => {
                format!("{link} · {}", put(phrases.reading, &[("minutes", &language.number(minutes))]))
            }
            None => link,
        };
        Self {
            position: item.position,
            url: item.url.clone(),
            kicker: kicker(item, content, language),
            title: setting.polish(&item.title),
            summary: setting.polish(&item.summary),
            link: language.polish(&link),
            dir: if is_right_to_left(own) { "rtl" } else { "ltr" },
            lang: own.to_owned(),
            image: item.image.as_ref().map(|image| ImageView {
                url: image.url.clone(),
                alt: setting.polish(&image.alt),
                credit: image.credit.as_ref().map(|credit| put(phrases.photo, &[("credit", credit)])),
            }),
        }
    }
}

/// `PAYS · thème`.
fn kicker(item: &Item, content: &Content, language: Language) -> String {
    let country = item.countries.first().map(|code| language.country(code));
    let section = item
        .section
        .as_ref()
        .map(|section| content.newsletter.theme.sections.get(section).unwrap_or(section).clone());
    [country, section].into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// Two to four words for the menu: an editor's, or the first of the title.
fn label(item: &ItemView, content: &Content) -> String {
    let own = content
        .items
        .iter()
        .find(|known| known.position == item.position)
        .and_then(|known| known.label.clone());
    own.unwrap_or_else(|| {
        let mut words: Vec<&str> = item.title.split_whitespace().take(4).collect();
        while words.len() > 2 && words.last().is_some_and(|word| word.chars().count() <= 3) {
            words.pop();
        }
        words.join(" ").trim_end_matches([':', ',', ';', '-', '–', '\u{202F}', '\u{A0}']).to_owned()
    })
}

/// The lead's fact in at most sixty characters.
fn subject(content: &Content) -> String {
    if !content.subject.is_empty() {
        return content.subject.clone();
    }
    content
        .items
        .first()
        .map_or_else(|| content.newsletter.name.clone(), |lead| shortened(&lead.title, SUBJECT))
}

/// What stories two and three add.
fn preheader(content: &Content) -> String {
    if !content.preheader.is_empty() {
        return content.preheader.clone();
    }
    let next: Vec<String> =
        content.items.iter().skip(1).take(2).map(|item| shortened(&item.title, 44)).collect();
    shortened(&next.join(" · "), PREHEADER)
}

/// Cut between words, with an ellipsis where something is left out.
fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let cut: String = text.chars().take(longest - 1).collect();
    let kept = cut.rsplit_once(' ').map_or(cut.as_str(), |(kept, _)| kept);
    format!("{}…", kept.trim_end_matches([',', ';', ':', ' ', '.', '·']))
}

fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Without the indentation and the empty lines of the template.
fn tidy(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    for line in html.lines().map(str::trim).filter(|line| !line.is_empty()) {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// X2: lines of at most 72 columns; links stay whole. At most one empty line in a row.
fn wrapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 11 / 10);
    let mut blank = true;
    for line in text.lines() {
        if line.trim().is_empty() {
            if !blank {
                out.push('\n');
            }
            blank = true;
            continue;
        }
        blank = false;
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let mut width = 0;
        for word in line.split(' ').filter(|word| !word.is_empty()) {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > 72 {
                out.push('\n');
                width = 0;
            }
            if width == 0 {
                out.push_str(&indent);
                width = indent.len();
            } else {
                out.push(' ');
                width += 1;
            }
            out.push_str(word);
            width += length;
        }
        out.push('\n');
    }
    out
}
