//! What stands where editors wrote nothing: the subject, the first line, the menu's labels, out of the titles.

use std::ops::RangeInclusive;

use super::content::Content;
use super::plain;
use crate::selection::stopwords;
use crate::selection::text::fold;

/// The longest proposed subject, in characters.
pub(super) const SUBJECT: usize = 60;
/// How long a preheader is to be, in characters: it says enough beside a subject, and is shown whole.
pub(super) const PREHEADER: RangeInclusive<usize> = 40..=90;
/// Between two titles of a proposed preheader.
pub(super) const JOINT: &str = " · ";
/// The longest label of the menu that is made of a title, in characters.
const LABEL: usize = 40;

/// The editors' subject, or the lead's fact in at most sixty characters.
pub(super) fn subject(content: &Content, lead: Option<&str>, own: &impl Fn(&str) -> String) -> String {
    let given = own(&content.subject);
    if !given.is_empty() {
        return given;
    }
    match lead.filter(|title| !title.is_empty()) {
        Some(title) => plain::shortened(title, SUBJECT),
        None => own(&content.newsletter.name),
    }
}

/// The editors' preheader, or what the stories after the lead add: the second, the third where it has room, and only
/// where that says too little, what comes after.
pub(super) fn preheader<'a>(
    content: &Content,
    titles: impl Iterator<Item = &'a str>,
    own: &impl Fn(&str) -> String,
) -> String {
    let given = own(&content.preheader);
    if !given.is_empty() {
        return given;
    }
    let length = |text: &str| text.chars().count();
    let mut titles = titles.filter(|title| !title.is_empty());
    let first = titles.next().unwrap_or_default();
    // Whole titles only: the mail shows this line too, and there a cut is a blemish.
    let mut line = plain::shortened(first, *PREHEADER.end());
    for (after, next) in titles.enumerate() {
        // The third story belongs here; a later one only where the line would say too little without it.
        let wanted = after == 0 || length(&line) < *PREHEADER.start();
        if wanted && length(&line) + length(JOINT) + length(next) <= *PREHEADER.end() {
            line = format!("{line}{JOINT}{next}");
        }
    }
    line
}

/// The first words of a title, four at most, not ending on one that asks for the next; a mark is no word.
pub(super) fn first_words(title: &str) -> String {
    let blank = |c: char| matches!(c, ' ' | '\u{A0}');
    let is_word = |word: &str| word.chars().any(char::is_alphanumeric);
    let asks = |word: &str| {
        let small = word.chars().count() <= 3 && !word.chars().any(char::is_uppercase);
        !is_word(word) || small || stopwords::contains(&fold(word))
    };
    let (mut end, mut seen) = (0, 0);
    for word in title.split_inclusive(blank) {
        seen += usize::from(is_word(word));
        if seen > 4 {
            break;
        }
        end += word.len();
    }
    let mut kept = title[..end].trim_end_matches(blank);
    // A short title is whole as it is.
    while kept.len() < title.len()
        && let Some((before, _)) = kept.rsplit_once(blank).filter(|(_, last)| asks(last))
    {
        kept = before.trim_end_matches(blank);
    }
    let kept = kept.trim_end_matches([':', ',', ';', '.', '-', '–', '—', '«', '\u{202F}', '\u{A0}', ' ']);
    let label = closed(kept);
    // One long word is no label.
    if label.chars().count() > LABEL { plain::shortened(&label, LABEL) } else { label }
}

/// Without the marks of a pair that was cut in two.
fn closed(label: &str) -> String {
    let mut out = label.to_owned();
    for (open, close) in [('«', '»'), ('“', '”'), ('(', ')'), ('[', ']')] {
        if out.matches(open).count() != out.matches(close).count() {
            out.retain(|c| c != open && c != close);
        }
    }
    out.trim_matches(['\u{202F}', '\u{A0}', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_of_the_menu_does_not_end_on_nothing() {
        for (title, label) in [
            ("RDC\u{A0}: le chef de l’armée démis", "RDC\u{A0}: le chef"),
            ("RDC\u{A0}: le gouvernement de Kinshasa", "RDC\u{A0}: le gouvernement"),
            ("RDC\u{A0}: la paix, à quel prix", "RDC\u{A0}: la paix"),
            ("RDC\u{A0}: ils en ont assez", "RDC"),
            ("Le prix du riz", "Le prix du riz"),
            ("Le franc CFA vacille encore", "Le franc CFA vacille"),
            ("Le prix du riz double en un mois", "Le prix"),
            (
                "«\u{202F}Nous voulons vivre ici\u{202F}», disent-ils",
                "«\u{202F}Nous voulons vivre ici\u{202F}»",
            ),
            ("Le «\u{202F}grand retour\u{202F}» du train", "Le «\u{202F}grand retour\u{202F}»"),
            ("Pluie", "Pluie"),
            ("", ""),
            (": :", ""),
        ] {
            assert_eq!(first_words(title), label, "{title}");
        }
    }

    #[test]
    fn a_proposed_first_line_is_made_of_whole_titles() {
        let content: Content = serde_json::from_value(serde_json::json!({
            "newsletter": {
                "id": "m", "name": "M", "language": "fr", "list_id": "m.example.org", "from_name": "M",
                "from_address": "m@example.org", "public_url": "https://example.org"
            },
            "date": "2026-11-24", "items": []
        }))
        .unwrap();
        let long = "x ".repeat(35);
        let long = long.trim();
        let second = "A second title that says enough on its own";
        let own = ToOwned::to_owned;
        for (titles, line) in [
            (vec!["Two", "Three", "Four"], "Two · Three · Four".to_owned()),
            (vec![second, "A third one", "Four"], format!("{second} · A third one")),
            (vec![long, "A third title too long for the room that is left", "Four"], long.to_owned()),
            (vec!["Two", long, "Four", "Five"], format!("Two · {long}")),
            (vec![long, long], long.to_owned()),
            (vec!["", "Three"], "Three".to_owned()),
            (vec![], String::new()),
        ] {
            assert_eq!(preheader(&content, titles.into_iter(), &|text: &str| own(text)), line);
        }
        let endless = "word ".repeat(30);
        let cut = preheader(&content, [endless.as_str()].into_iter(), &|text: &str| own(text));
        assert!(cut.ends_with('…') && PREHEADER.contains(&cut.chars().count()), "{cut}");
    }
}
