//! Section 2.8: the text part says what the HTML part says.

use super::{Findings, page};
use crate::mail::content::Content;
use crate::mail::plain;
use crate::mail::prepared::SLOT;
use crate::mail::render::{COLUMNS, Rendered, columns};

pub(super) fn check(content: &Content, rendered: &Rendered, findings: &mut Findings) {
    let flat = unspaced(&page::plain(&rendered.text));
    let titles = page::elements(&page::pieces(&rendered.html), "h2");
    let mut from = 0;
    for (at, (_, title)) in titles.iter().enumerate() {
        // The number stands inside the heading of a short item.
        let title = title
            .split_once(' ')
            .filter(|(number, _)| number.parse::<u32>().is_ok())
            .map_or(title.as_str(), |(_, rest)| rest.trim());
        let title = unspaced(title);
        match flat[from..].find(&title) {
            Some(found) => from += found + title.len(),
            None => findings.error(
                "X1",
                "text part",
                format!("title {} of the HTML part is not there in its order", at + 1),
            ),
        }
    }
    if titles.len() != content.items.len() {
        findings.error(
            "X3",
            "text part",
            format!("{} titles for {} items", titles.len(), content.items.len()),
        );
    }
    for (nth, item) in content.items.iter().enumerate() {
        if plain::page(&item.url).is_some_and(|url| !rendered.text.lines().any(|line| line == url)) {
            findings.error(
                "X1",
                "text part",
                format!("the link of item {} is not there on a line of its own", nth + 1),
            );
        }
    }
    let publisher = plain::line(&content.newsletter.publisher);
    if !flat.contains(&unspaced(&page::plain(&publisher))) {
        findings.error("X1", "text part", "it does not say who publishes it");
    }
    if !rendered.text.contains(&format!("/u/{SLOT}")) {
        findings.error("X1", "text part", "it does not say how to unsubscribe");
    }
    for line in rendered.text.lines().filter(|line| columns(line) > COLUMNS) {
        if line.trim().contains(' ') || !line.contains("://") {
            findings.error("X2", "text part", format!("a line is longer than {COLUMNS} columns: {line:?}"));
        }
    }
    for mark in ["&amp;", "&lt;", "&gt;", "&quot;", "&nbsp;", "&#"] {
        if rendered.text.contains(mark) {
            findings.warn("X3", "text part", format!("{mark} is left over from a page: write the character"));
        }
    }
    if rendered.text.contains(['\u{200B}', '\u{FEFF}', '\u{2060}']) {
        findings.error("X3", "text part", "it has characters that nobody sees");
    }
}

/// Without blanks: a line may end in the middle of a very long word.
fn unspaced(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}
