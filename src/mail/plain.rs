//! Text and links from outside, fit to stand in a mail.
//!
//! Escaping is the templates' work. Here goes what no escaping cures: line breaks in what is one line, marks that
//! turn the direction of everything after them, invisible characters, the mark of our own places, and addresses
//! that are no page.

use super::prepared::{CONSENT, SLOT};

/// One line of text: control characters and runs of blanks become one space, what nobody sees is gone.
pub(super) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = true;
    for c in text.chars() {
        if c == ' ' || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            if !blank {
                out.push(' ');
            }
            blank = true;
        } else if !is_invisible(c) {
            out.push(c);
            blank = false;
        }
    }
    if blank {
        out.truncate(out.trim_end_matches(' ').len());
    }
    // Whoever writes the mark of a place would read one subscriber's link in the mail.
    while let Some((at, mark)) = [SLOT, CONSENT].iter().find_map(|mark| Some((out.find(mark)?, mark))) {
        out.replace_range(at..at + mark.len(), "");
    }
    out
}

/// Whether most of its letters are written from right to left; `None` where it has no letters.
pub(super) fn runs_right_to_left(text: &str) -> Option<bool> {
    let (mut right, mut left) = (0_usize, 0_usize);
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        match c {
            '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}' => right += 1,
            _ => left += 1,
        }
    }
    (right + left > 0).then_some(right > left)
}

/// Embeddings, overrides and isolates (whoever opens one need not close it), soft hyphens, zero-width spaces,
/// byte-order marks, tags. Joiners stay: emoji and some scripts are written with them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{200B}' | '\u{2060}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}'
        | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{E0000}'..='\u{E007F}')
}

/// Cut between words, with an ellipsis where something is left out.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let cut: String = text.chars().take(longest - 1).collect();
    let kept = cut.rsplit_once(' ').map_or(cut.as_str(), |(kept, _)| kept);
    format!("{}…", kept.trim_end_matches([',', ';', ':', ' ', '.', '·', '\u{202F}', '\u{A0}']))
}

/// The address of a page, in ASCII without blanks; `None` where it is none.
pub(super) fn page(url: &str) -> Option<String> {
    let url = url::Url::parse(&line(url)).ok()?;
    let page = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    page.then(|| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_line_stays_one_line_and_turns_nothing_around() {
        let cases = [
            ("a\r\nBcc: b", "a Bcc: b"),
            ("  a \t b  ", "a b"),
            ("x\u{202E}evil\u{2066}y", "xevily"),
            ("zero\u{200B}width\u{FEFF}", "zerowidth"),
            ("12\u{202F}000\u{A0}km", "12\u{202F}000\u{A0}km"),
            ("👩\u{200D}🌾", "👩\u{200D}🌾"),
            ("", ""),
        ];
        for (given, clean) in cases {
            assert_eq!(line(given), clean, "{given:?}");
        }
    }

    #[test]
    fn p10_nobody_else_writes_the_mark_of_our_places() {
        let (half, rest) = SLOT.split_at(7);
        assert_eq!(line(&format!("a{SLOT}b")), "ab");
        assert_eq!(line(&format!("{half}{SLOT}{rest}")), "");
        assert_eq!(line(&format!("{half}{CONSENT}{rest}{CONSENT}")), "");
        assert_eq!(page(&format!("https://a.example/?t={SLOT}")).unwrap(), "https://a.example/?t=");
    }

    #[test]
    fn l3_a_text_runs_as_most_of_its_letters_do() {
        for (text, right_to_left) in [
            ("مدينة طرابلس (Tripoli) تستقبل 3 وفود", Some(true)),
            ("«\u{202F}مدينة\u{202F}», a play from Tripoli", Some(false)),
            ("62 ٪", None),
        ] {
            assert_eq!(runs_right_to_left(text), right_to_left, "{text}");
        }
    }

    #[test]
    fn m19_an_address_is_a_page_or_nothing() {
        assert_eq!(page("https://a.example/é b").unwrap(), "https://a.example/%C3%A9%20b");
        for wrong in ["javascript:alert(1)", "data:text/html,x", "/path", "mailto:a@b.example", ""] {
            assert_eq!(page(wrong), None, "{wrong}");
        }
    }
}
