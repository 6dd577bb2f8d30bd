//! An item as the templates show it, and its line in the menu.

use std::collections::BTreeMap;

use super::content::{Item, Newsletter};
use super::language::{Language, put};
use super::plain;
use super::proposed::{SUBJECT, first_words};
use super::tongue::Tongue;
use super::view::Links;

pub(super) struct ItemView {
    pub(super) position: u32,
    pub(super) url: String,
    pub(super) kicker: String,
    pub(super) title: String,
    pub(super) summary: String,
    /// What the link says, in the reader's language.
    pub(super) link: String,
    /// What it is about, in the item's language; where another link says the same, or nothing says where it goes.
    pub(super) about: Option<String>,
    /// How long it takes to read there.
    pub(super) reading: Option<String>,
    /// The item's own language.
    pub(super) lang: String,
    /// How its title runs, and its text.
    pub(super) heading: Tongue,
    pub(super) body: Tongue,
    pub(super) image: Option<ImageView>,
}

pub(super) struct ImageView {
    pub(super) url: String,
    pub(super) alt: String,
    /// How its words run, where they stand in its place.
    pub(super) dir: &'static str,
    pub(super) align: &'static str,
    pub(super) credit: Option<String>,
}

pub(super) struct MenuLine {
    pub(super) position: u32,
    pub(super) label: String,
    /// The same, kept on one line where it is short.
    pub(super) held: String,
    pub(super) lang: String,
}

impl ItemView {
    pub(super) fn new(item: &Item, newsletter: &Newsletter, language: Language, links: &Links) -> Self {
        let tongue = Tongue::new(item.language_or(newsletter), language);
        let setting = Language::of(&tongue.lang);
        let set = |text: &str| {
            let text = plain::line(text);
            setting.map_or_else(|| text.clone(), |language| language.polish(&text, newsletter.theme.french))
        };
        let phrases = language.phrases();
        let source = plain::line(&item.source);
        // What has no page of its own is read where the whole edition is, and the link says so.
        let own_page = plain::page(&item.url).filter(|url| !is_page_of_ours(url, newsletter));
        let link = match source.as_str() {
            _ if own_page.is_none() => phrases.browser.to_owned(),
            "" => phrases.read_on.to_owned(),
            source => language.polish(&put(phrases.read_at, &[("source", source)]), newsletter.theme.french),
        };
        let (title, summary) = (set(&item.title), set(&item.summary));
        let title = match (title.as_str(), summary.as_str()) {
            ("", "") => source.clone(),
            // A heading is never empty.
            ("", summary) => plain::shortened(summary, SUBJECT),
            _ => title,
        };
        Self {
            position: item.position,
            url: own_page.unwrap_or_else(|| links.browser.clone()),
            kicker: kicker(item, newsletter, language),
            link,
            about: None,
            reading: item
                .reading_minutes
                .and_then(|minutes| usize::try_from(minutes).ok())
                .map(|minutes| put(phrases.reading, &[("minutes", &language.number(minutes))])),
            image: item.image.as_ref().and_then(|image| {
                let alt = set(&image.alt);
                Some(ImageView {
                    url: plain::page(&image.url)?,
                    dir: tongue.of(&alt).dir,
                    align: tongue.of(&alt).align,
                    alt,
                    credit: image
                        .credit
                        .as_ref()
                        .map(|credit| put(phrases.photo, &[("credit", &plain::line(credit))])),
                })
            }),
            heading: tongue.of(&title),
            body: tongue.of(&summary),
            lang: tongue.lang,
            title,
            summary,
        }
    }
}

impl MenuLine {
    /// Its number as it stands in a list: units below units.
    pub(super) fn numbered(&self) -> String {
        format!("{:>4}.", self.position)
    }

    /// Two to four words: an editor's, or the first of the title.
    pub(super) fn new(view: &ItemView, item: &Item) -> Self {
        let own = item.label.as_deref().map(plain::line).filter(|label| !label.is_empty());
        let label = own.unwrap_or_else(|| first_words(&view.title));
        Self { position: view.position, held: held(&label), label, lang: view.lang.clone() }
    }
}

/// Whether this is the page of one of this newsletter's own editions.
pub(super) fn is_page_of_ours(url: &str, newsletter: &Newsletter) -> bool {
    let pages = format!("{}/e/{}/", newsletter.public_url, newsletter.id);
    url.starts_with(&pages)
}

/// M4: no two links say the same, and each says where it goes.
pub(super) fn distinguish(items: &mut [ItemView], menu: &[MenuLine], vague: &[&str]) {
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for item in items.iter() {
        *said.entry(item.link.clone()).or_default() += 1;
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (item, line) in items.iter_mut().zip(menu) {
        if said[&item.link] > 1 || vague.contains(&item.link.as_str()) {
            let again = taken.entry(format!("{}\0{}", item.link, line.label)).or_default();
            *again += 1;
            item.about = Some(if *again > 1 {
                format!("{} ({})", line.label, item.position)
            } else {
                line.label.clone()
            });
        }
    }
}

/// `PAYS · thème`.
fn kicker(item: &Item, newsletter: &Newsletter, language: Language) -> String {
    let country = item.countries.first().map(|code| language.country(&plain::line(code)));
    let section = item
        .section
        .as_ref()
        .map(|section| plain::line(newsletter.theme.sections.get(section).unwrap_or(section)));
    [country, section].into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// A few words that no line ends in the middle of.
pub(super) fn held(label: &str) -> String {
    if label.chars().count() <= 28 { label.replace(' ', "\u{A0}") } else { label.to_owned() }
}
