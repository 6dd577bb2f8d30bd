//! What is said: items and the editors' words, leftovers, lengths, repetitions, the newsroom's own list.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::{Asked, Findings, Ran};
use crate::mail::content::{Content, Item};
use crate::mail::item::TITLE;
use crate::mail::language::Language;
use crate::mail::plain;
use crate::mail::view::{BRIEF_FROM, count};
use crate::selection::text::fold;

/// Two titles with so much in common tell the same story.
const SAME_TITLE: f64 = 0.6;
const OPENING_WORDS: usize = 50;
const LABEL_WORDS: usize = 5;
/// Of all items together: a mail that is finished in five minutes.
const WORDS: usize = 1_200;
/// So many of a line-up's items and more may come from one source only when there is no other.
const SAME_SOURCE: usize = 4;

pub(super) fn check(content: &Content, asked: &Asked<'_>, findings: &mut Findings) {
    let items = &content.items;
    if items.is_empty() {
        findings.error("items", "line-up", "is empty: pin an article, or skip the day");
    } else if items.len() < asked.items {
        findings.warn("items", "line-up", format!("{} items instead of {}", items.len(), asked.items));
    }
    for item in items {
        one(item, findings);
    }
    together(items, "has no source: readers want to know who says it", findings, |item| {
        item.source.trim().is_empty()
    });
    together(items, "has no country", findings, |item| {
        item.countries.is_empty() && item.section.as_ref().is_none_or(String::is_empty)
    });
    together(items, "has no date", findings, |item| item.published_at.is_none());
    whole(items, findings);
    repeated(content, asked.before, findings);
    around(content, findings);
    let said = said(content);
    leftovers(content, &said, findings);
    for word in asked.avoid {
        let wanted = padded(&fold(word));
        for (place, text) in said.iter().filter(|_| !wanted.trim().is_empty()) {
            if padded(&fold(text)).contains(&wanted) {
                findings.warn(
                    "avoid",
                    place.as_str(),
                    format!("{word:?} is on the newsroom's list: say it otherwise"),
                );
            }
        }
    }
}

/// One item by itself.
fn one(item: &Item, findings: &mut Findings) {
    let place = format!("item {}", item.position);
    let (title, summary) = (plain::line(&item.title), plain::line(&item.summary));
    if title.is_empty() {
        findings.error("items", place.as_str(), "has no title: write one or take another");
    }
    if !title.is_empty() && count(&title) == 0 {
        findings.warn("items", place.as_str(), format!("the title {title:?} has no word: say what happened"));
    }
    if title.chars().count() > TITLE {
        findings.warn(
            "length",
            place.as_str(),
            format!("a title of {} characters; 70 are read at a glance", title.chars().count()),
        );
    }
    for (what, text) in [("title", &title), ("text", &summary)] {
        if let Some(pair) = unpaired(text) {
            findings.warn(
                "typography",
                place.as_str(),
                format!("of {pair} in the {what} one is missing: was it cut?"),
            );
        }
    }
    let words = count(&summary);
    if words == 0 {
        findings.warn("items", place.as_str(), "has no text; write one or take another");
    }
    let most = match item.position {
        1 => 130,
        position if position < BRIEF_FROM => 80,
        _ => 40,
    };
    if words > most {
        findings.warn("length", place.as_str(), format!("{words} words; at most {most} there"));
    }
    if plain::page(&item.url).is_none() {
        findings.error(
            "M19",
            place.as_str(),
            format!("{:?} is no page: readers would end up elsewhere", item.url),
        );
    }
    if let Some(label) = item.label.as_deref().filter(|label| count(label) > LABEL_WORDS) {
        findings.warn(
            "length",
            place.as_str(),
            format!("the menu's label {label:?} is long; two to four words"),
        );
    }
    if let Some(image) = &item.image
        && !image.alt.trim().is_empty()
        && image.alt.trim() == item.title.trim()
    {
        findings.warn("M7", place.as_str(), "the picture's words only repeat the title: say what it shows");
    }
}

/// The line-up as a whole.
fn whole(items: &[Item], findings: &mut Findings) {
    let words: usize = items.iter().map(|item| count(&item.title) + count(&item.summary)).sum();
    if words > WORDS {
        findings.warn(
            "length",
            "line-up",
            format!("{words} words together; 800 to 1,100 are read to the end"),
        );
    }
    let mut sources: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        *sources.entry(item.source.trim()).or_default() += 1;
    }
    for (source, many) in sources.into_iter().filter(|(source, _)| !source.is_empty()) {
        if many > SAME_SOURCE && many * 2 > items.len() {
            findings.warn("mix", "line-up", format!("{many} of {} items come from {source}", items.len()));
        }
    }
}

/// Marks that come in pairs, and stand alone in what was cut.
fn unpaired(text: &str) -> Option<&'static str> {
    [('«', '»', "« »"), ('“', '”', "“ ”"), ('(', ')', "( )")]
        .into_iter()
        .find(|(open, close, _)| text.matches(*open).count() != text.matches(*close).count())
        .map(|(_, _, pair)| pair)
}

/// What is missing in several items, told once.
fn together(items: &[Item], what: &str, findings: &mut Findings, missing: impl Fn(&Item) -> bool) {
    let positions: Vec<String> =
        items.iter().filter(|item| missing(item)).map(|item| item.position.to_string()).collect();
    if !positions.is_empty() {
        let place = if positions.len() == 1 { "item" } else { "items" };
        findings.warn("source", format!("{place} {}", positions.join(", ")), what);
    }
}

fn repeated(content: &Content, before: &[Ran], findings: &mut Findings) {
    let items = &content.items;
    // Two texts without a page of their own are both read on the edition's.
    let same_page = |one: &str, other: &str| one == other && !content.newsletter.has_page(one);
    for (at, item) in items.iter().enumerate() {
        let place = format!("item {}", item.position);
        for earlier in &items[..at] {
            if same_page(&earlier.url, &item.url) {
                findings.error(
                    "twice",
                    place.as_str(),
                    format!("leads to the same page as item {}: take another", earlier.position),
                );
            } else if alike(&earlier.title, &item.title) {
                findings.warn(
                    "twice",
                    place.as_str(),
                    format!("tells the story of item {}: take another", earlier.position),
                );
            }
        }
        if let Some(ran) =
            before.iter().find(|ran| same_page(&ran.url, &item.url) || alike(&ran.title, &item.title))
        {
            findings.warn(
                "twice",
                place.as_str(),
                format!("was in the edition of {}: {:?}", ran.date, ran.title),
            );
        }
        let country = |item: &Item| item.countries.first().cloned();
        let same = at
            .checked_sub(1)
            .map(|before| country(&items[before]))
            .is_some_and(|before| before.is_some() && before == country(item));
        if same {
            findings.warn("mix", place.as_str(), "the same country twice in a row: move one");
        }
    }
}

/// Whether two titles share most of their longer words.
fn alike(one: &str, other: &str) -> bool {
    let words = |title: &str| -> BTreeSet<String> {
        fold(title)
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| word.chars().count() > 3)
            .map(ToOwned::to_owned)
            .collect()
    };
    let (one, other) = (words(one), words(other));
    let shared = one.intersection(&other).count();
    let all = one.union(&other).count();
    #[expect(clippy::cast_precision_loss, reason = "titles have few words")]
    let share = shared as f64 / all.max(1) as f64;
    shared >= 2 && share >= SAME_TITLE
}

/// The parts around the items.
fn around(content: &Content, findings: &mut Findings) {
    if content.newsletter.publisher.trim().is_empty() {
        findings.warn(
            "footer",
            "publisher",
            "is not configured; the mail owes its readers a name and an address",
        );
    }
    if let Some(opening) = &content.opening {
        let words = count(&opening.text);
        if words > OPENING_WORDS {
            findings.warn("length", "opening", format!("{words} words; at most {OPENING_WORDS}"));
        }
        if opening.signature.trim().is_empty() {
            findings.warn("opening", "opening", "nobody signs it: give a signature");
        }
    }
    if let Some(sponsor) = &content.sponsor
        && (sponsor.name.trim().is_empty() || sponsor.text.trim().is_empty())
    {
        findings.error(
            "sponsor",
            "sponsor",
            "a partner's message says whose it is, and something: name and text",
        );
    }
    let yesterday = content.date.yesterday().ok();
    let language = Language::first_of([content.newsletter.language.as_str()]);
    for (place, text) in editors(content) {
        if let Some(day) = yesterday.filter(|day| names(&text, *day, language)) {
            findings.warn(
                "leftover",
                place,
                format!("names yesterday, {day}: is it left over from the last edition?"),
            );
        }
    }
}

/// Whether a text names this day, in words or in figures.
fn names(text: &str, day: Date, language: Language) -> bool {
    let text = fold(text);
    let words = language.date(day);
    let year = day.year().to_string();
    // "24 novembre", without weekday and year, whatever stands between them.
    let short: Vec<&str> = words.split(' ').skip(1).filter(|word| !word.contains(&year)).collect();
    let short = short.join(" ");
    let short = short.trim_end_matches(" de").trim();
    let in_words = padded(&text).contains(&padded(&fold(short)));
    let (d, m) = (day.day(), day.month());
    in_words || text.contains(&day.to_string()) || text.contains(&format!("{d:02}/{m:02}/{year}"))
}

/// What editors wrote around the items, and where.
fn editors(content: &Content) -> Vec<(&'static str, String)> {
    let mut out = vec![("subject", content.subject.clone()), ("preheader", content.preheader.clone())];
    if let Some(opening) = &content.opening {
        out.push(("opening", opening.text.clone()));
    }
    out.extend(content.agenda.iter().map(|line| ("agenda", line.text.clone())));
    out.extend(content.figure.iter().map(|figure| ("figure", figure.text.clone())));
    out.extend(
        content.lighter.iter().map(|lighter| ("lighter", format!("{} {}", lighter.title, lighter.text))),
    );
    out
}

/// Everything that is said, and where.
fn said(content: &Content) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> =
        editors(content).into_iter().map(|(place, text)| (place.to_owned(), text)).collect();
    for item in &content.items {
        let label = item.label.clone().unwrap_or_default();
        out.push((format!("item {}", item.position), format!("{} {} {label}", item.title, item.summary)));
    }
    if let Some(figure) = &content.figure {
        out.push(("figure".to_owned(), figure.value.clone()));
    }
    if let Some(sponsor) = &content.sponsor {
        out.push(("sponsor".to_owned(), format!("{} {} {}", sponsor.name, sponsor.text, sponsor.link_text)));
    }
    out.extend(content.corrections.iter().map(|line| ("corrections".to_owned(), line.text.clone())));
    out
}

/// What somebody meant to replace, and parts that say nothing.
fn leftovers(content: &Content, said: &[(String, String)], findings: &mut Findings) {
    for (place, text) in said {
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
        let mark = ["TODO", "TBD", "FIXME", "XXX", "XXXX"].into_iter().find(|mark| words.contains(mark));
        if let Some(mark) = mark {
            findings.error("leftover", place.as_str(), format!("{mark} is left over: write what is missing"));
        }
        if fold(text).contains("lorem ipsum") {
            findings.error("leftover", place.as_str(), "filler text is left over: write what is missing");
        }
        if ["{{", "}}", "{%", "[...]", "[…]"].iter().any(|mark| text.contains(mark)) {
            findings.warn(
                "leftover",
                place.as_str(),
                "has the marks of a template or of a cut: read it again",
            );
        }
    }
    let empty = [
        (
            "figure",
            content
                .figure
                .as_ref()
                .is_some_and(|part| part.value.trim().is_empty() || part.text.trim().is_empty()),
        ),
        ("agenda", content.agenda.iter().any(|part| part.text.trim().is_empty())),
        ("lighter", content.lighter.as_ref().is_some_and(|part| part.text.trim().is_empty())),
        ("corrections", content.corrections.iter().any(|part| part.text.trim().is_empty())),
        ("opening", content.opening.as_ref().is_some_and(|part| part.text.trim().is_empty())),
    ];
    for (place, _) in empty.into_iter().filter(|(_, empty)| *empty) {
        findings.warn("leftover", place, "is there and says nothing: fill it or take it away");
    }
}

/// Words with one blank around each, so that a whole word can be looked for.
fn padded(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    format!(" {} ", words.join(" "))
}
