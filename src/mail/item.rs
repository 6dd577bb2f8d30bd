//! An item as the templates show it, and its line in the menu.

use std::collections::BTreeMap;

use super::content::{Content, Item, Newsletter};
use super::language::{Language, put};
use super::plain;
use super::proposed::{SUBJECT, first_words};
use super::tongue::{Named, Tongue};
use super::view::Links;

/// The longest title that is read without a warning, in characters; a text of that length is one where there is none.
pub(super) const TITLE: usize = 120;

pub(super) struct ItemView {
    pub(super) position: u32,
    pub(super) url: String,
    pub(super) kicker: String,
    pub(super) title: String,
    pub(super) summary: String,
    /// What the link says, in the reader's language.
    pub(super) link: Named,
    /// What it is about, and in which language; where another link says the same, or nothing says where it goes.
    pub(super) about: Option<(String, String)>,
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
    pub(super) credit: Option<Named>,
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
        let own_page = plain::page(&item.url).filter(|url| !newsletter.has_page(url));
        let link = match source.as_str() {
            _ if own_page.is_none() => Named::alone(phrases.browser),
            "" => Named::alone(phrases.read_on),
            source => {
                Named::new(phrases.read_at, "{source}", language.polish(source, newsletter.theme.french))
            }
        };
        let (title, summary) = match (set(&item.title), set(&item.summary)) {
            (title, summary) if !title.is_empty() => (title, summary),
            (_, summary) => headed(summary, &[&source, &host(&item.url), &plain::line(&newsletter.name)]),
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
                        .map(|credit| Named::new(phrases.photo, "{credit}", plain::line(credit))),
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
}

/// The menu: an editor's label, or country and theme, for readers look for their own; the first words of the title
/// where those would not tell an item from another.
pub(super) fn menu(views: &[ItemView], content: &Content, language: Language) -> Vec<MenuLine> {
    let named: Vec<(String, String)> =
        content.items.iter().map(|item| country_and_theme(item, &content.newsletter, language)).collect();
    let told: Vec<String> = named
        .iter()
        .map(|(country, theme)| {
            let there = named.iter().filter(|(other, _)| other == country).count();
            // Where most of the day is about one country, its name says nothing.
            let common = there > 1 && there * 2 > named.len();
            capitalised(&joined(if common { "" } else { country }, theme))
        })
        .collect();
    views
        .iter()
        .zip(&content.items)
        .zip(&told)
        .map(|((view, item), place)| {
            let given = item.label.as_deref().map(plain::line).filter(|label| !label.is_empty());
            let alone = told.iter().filter(|other| *other == place).count() == 1;
            let (label, lang) = match given {
                Some(given) => (given, view.lang.as_str()),
                None if alone && !place.is_empty() => (place.clone(), language.tag()),
                None => (first_words(&view.title), view.lang.as_str()),
            };
            MenuLine { position: view.position, held: held(&label), label, lang: lang.to_owned() }
        })
        .collect()
}

/// A text without title, as heading and text: a heading is never empty, and nothing stands twice that has room once.
fn headed(summary: String, otherwise: &[&str]) -> (String, String) {
    if summary.is_empty() {
        let named = otherwise.iter().find(|name| !name.is_empty()).copied().unwrap_or_default();
        (named.to_owned(), summary)
    } else if summary.chars().count() <= TITLE {
        (summary, String::new())
    } else {
        (plain::shortened(&summary, SUBJECT), summary)
    }
}

/// Whose page this is, as its address says.
fn host(url: &str) -> String {
    url::Url::parse(url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned)).unwrap_or_default()
}

/// M4: no two links say the same, and each says where it goes: the title where nobody is named who has it, the menu's
/// words where one has several.
pub(super) fn distinguish(items: &mut [ItemView], menu: &[MenuLine], vague: &[&str]) {
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for item in items.iter() {
        *said.entry(item.link.to_string()).or_default() += 1;
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (item, line) in items.iter_mut().zip(menu) {
        let link = item.link.to_string();
        let (about, lang) = if vague.contains(&link.as_str()) {
            (plain::shortened(&item.title, SUBJECT), &item.lang)
        } else if said[&link] > 1 {
            (line.label.clone(), &line.lang)
        } else {
            continue;
        };
        let again = taken.entry(format!("{link}\0{about}")).or_default();
        *again += 1;
        let about = if *again == 1 { about } else { format!("{about} ({})", item.position) };
        item.about = Some((about, lang.clone()));
    }
}

/// The small line above a title.
pub(crate) fn kicker(item: &Item, newsletter: &Newsletter, language: Language) -> String {
    let (country, theme) = country_and_theme(item, newsletter, language);
    joined(&country, &theme)
}

/// The first country, and the theme as the newsletter names it; either may be empty.
fn country_and_theme(item: &Item, newsletter: &Newsletter, language: Language) -> (String, String) {
    let country = item.countries.first().map(|code| language.country(&plain::line(code)));
    let theme = item
        .section
        .as_ref()
        .map(|section| plain::line(newsletter.theme.sections.get(section).unwrap_or(section)));
    (country.unwrap_or_default(), theme.unwrap_or_default())
}

/// `PAYS · thème`.
fn joined(country: &str, theme: &str) -> String {
    [country, theme].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A few words that no line ends in the middle of.
pub(super) fn held(label: &str) -> String {
    if label.chars().count() <= 28 { label.replace(' ', "\u{A0}") } else { label.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::content::Content;
    use crate::mail::view::View;

    /// An English edition of these items.
    fn content(items: &[serde_json::Value]) -> Content {
        serde_json::from_value(serde_json::json!({
            "newsletter": {
                "id": "m", "name": "M", "language": "en", "list_id": "m.example.org", "from_name": "M",
                "from_address": "m@example.org", "public_url": "https://example.org"
            },
            "date": "2026-11-24", "items": items
        }))
        .unwrap()
    }

    #[test]
    fn an_item_without_title_has_a_heading_and_says_nothing_twice() {
        let names = ["", "press.example", "Morning"];
        let long = "word ".repeat(30);
        let cut = format!("{}…", ["word"; 11].join(" "));
        for (summary, heading, text) in [
            ("She lost her way.", "She lost her way.", ""),
            (long.trim(), cut.as_str(), long.trim()),
            ("", "press.example", ""),
        ] {
            assert_eq!(headed(summary.to_owned(), &names), (heading.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn m4_a_link_that_names_nobody_says_the_title_and_two_are_never_the_same() {
        let told = |items: &[(&str, &str)]| {
            let items: Vec<_> = items
                .iter()
                .enumerate()
                .map(|(at, (source, title))| {
                    let section = if at == 0 { "sport" } else { "culture" };
                    serde_json::json!({
                        "position": at + 1, "url": format!("https://a.example/{at}"), "title": title,
                        "countries": ["TN"], "section": section, "source": source,
                    })
                })
                .collect();
            let content = content(&items);
            let view = View::new(&content, Language::of("en").unwrap());
            let about = |item: &ItemView| item.about.clone().map(|(about, _)| about).unwrap_or_default();
            view.full.iter().map(about).collect::<Vec<_>>()
        };
        assert_eq!(told(&[("", "A cinema reopens"), ("A", "Rain")]), ["A cinema reopens", ""]);
        assert_eq!(told(&[("", "Rain"), ("", "Rain")]), ["Rain", "Rain (2)"]);
        assert_eq!(told(&[("A", "Rain"), ("A", "Sun")]), ["Sport", "Culture"]);
    }

    #[test]
    fn the_menu_tells_country_and_theme_and_never_the_same_twice() {
        let labels = |places: &[(&str, &str)]| {
            let items: Vec<_> = places
                .iter()
                .enumerate()
                .map(|(at, (country, section))| {
                    let title = format!("Word{at} two three four five");
                    serde_json::json!({
                        "position": at + 1, "url": format!("https://a.example/{at}"), "title": title,
                        "countries": [country], "section": section, "source": "A",
                    })
                })
                .collect();
            let content = content(&items);
            let view = View::new(&content, Language::of("en").unwrap());
            view.menu.iter().map(|line| line.label.clone()).collect::<Vec<_>>()
        };
        let (first, third) = ("Word0 two three four", "Word2 two three four");
        for (places, told) in [
            (
                &[("MA", "energy"), ("SN", ""), ("NG", "sport")][..],
                &["Morocco · energy", "Senegal", "Nigeria · sport"][..],
            ),
            (&[("MA", "sport"), ("SN", "sport"), ("MA", "sport")], &[first, "Senegal · sport", third]),
            (&[("MA", "energy"), ("MA", "sport"), ("SN", "sport")], &["Energy", "Sport", "Senegal · sport"]),
            (&[("", ""), ("", "sport")], &[first, "Sport"]),
            (&[("MA", "")], &["Morocco"]),
        ] {
            assert_eq!(labels(places), told);
        }
    }
}
