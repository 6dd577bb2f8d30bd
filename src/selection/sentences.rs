//! Whole sentences of a text in French, English, Arabic or Portuguese: never cut after an abbreviation, an initial or
//! a number, nor inside a quotation.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::text::fold;

static ABBREVIATIONS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("data/abbreviations.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect()
});

/// The sentences of one paragraph, trimmed; what follows the last end stands last, ended or not.
pub fn split(paragraph: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut quotes = 0_usize;
    let mut rest = paragraph.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '«' | '“' => quotes += 1,
            '»' | '”' => quotes = quotes.saturating_sub(1),
            _ => {}
        }
        if !is_end(c) || rest.peek().is_some_and(|(_, next)| is_end(*next)) {
            continue;
        }
        let after = at + c.len_utf8();
        let (end, closed) = closing(&paragraph[after..]);
        let end = after + end;
        if quotes > closed || !opens(&paragraph[end..]) || (c == '.' && shortens(&paragraph[start..at])) {
            continue;
        }
        while rest.peek().is_some_and(|(at, _)| *at < end) {
            rest.next();
        }
        quotes = 0;
        out.push(paragraph[start..end].trim());
        start = end;
    }
    out.push(paragraph[start..].trim());
    out.retain(|sentence| !sentence.is_empty());
    out
}

/// Whether a sentence is whole: it ends as one.
pub fn is_whole(sentence: &str) -> bool {
    sentence.trim_end_matches(|c: char| c.is_whitespace() || is_closer(c)).ends_with(is_end)
}

fn is_end(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '؟' | '۔')
}

fn is_closer(c: char) -> bool {
    matches!(c, '»' | '”' | '’' | '"' | '\'' | ')' | ']')
}

/// How many bytes of closing quotes and brackets follow an end, French spaces before them among it, and how many
/// quotations they close.
fn closing(text: &str) -> (usize, usize) {
    let (mut end, mut closed) = (0, 0);
    for (at, c) in text.char_indices() {
        if is_closer(c) {
            // A straight or raised one that opens the next word closes nothing.
            if end < at && matches!(c, '\'' | '’' | '"') {
                break;
            }
            end = at + c.len_utf8();
            closed += usize::from(matches!(c, '»' | '”'));
        } else if !c.is_whitespace() {
            break;
        }
    }
    (end, closed)
}

/// Whether what follows begins a sentence: a space, and then no small letter.
fn opens(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return true };
    first.is_whitespace()
        && text
            .chars()
            .find(|c| c.is_alphanumeric() || matches!(c, ',' | ';' | ':' | '-' | '–' | '—'))
            .is_none_or(|c| c.is_alphanumeric() && !c.is_lowercase() || matches!(c, '-' | '–' | '—'))
}

/// Whether a full stop after this text only shortens its last word.
fn shortens(text: &str) -> bool {
    let word = text
        .rsplit(|c: char| {
            c.is_whitespace() || matches!(c, '(' | '[' | '«' | '“' | '"' | '\'' | '’' | '-' | '/')
        })
        .next()
        .unwrap_or_default();
    let mut letters = word.chars();
    match (letters.next(), letters.next()) {
        // "J. Doe", "د. أحمد"; a sentence may end in a number of one digit.
        (Some(only), None) if only.is_alphabetic() => true,
        // "1. Premièrement".
        _ if !word.is_empty() && text.trim() == word && word.chars().all(char::is_numeric) => true,
        // "U.S. Senate", "S.E. le président".
        _ if word.contains('.') => word.split('.').all(|part| part.chars().count() <= 1),
        _ => ABBREVIATIONS.contains(fold(word).as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_they_end_in_four_languages() {
        let cases: &[&[&str]] = &[
            &["M. Diop a rencontré le Dr. Ba à St. Louis.", "Le vote aura lieu le 3 déc. 2026."],
            &["Le prix monte de 2.5 points.", "« C’est trop ! » dit-il.", "Et après ?"],
            &["« Nous partons. Tout de suite. »", "Le ministre s’est tu."],
            &["Le budget atteint 12.", "Il en fallait 15."],
            &["Il a cité J. F. Kennedy, l’O.N.U. et la loi n° 12.", "Puis il est parti…", "Sans un mot."],
            &[
                "The U.S. Senate met Gen. Haftar.",
                "He said: “No. Never.”",
                "Mrs. Obi left at 5 p.m. on Monday.",
            ],
            &["1. Premier point.", "2. Deuxième point."],
            &["قال د. أحمد إن الاتفاق جاهز.", "هل يوقعه الطرفان؟", "لا أحد يعرف."],
            &["O Sr. Costa chegou a Luanda no dia 3.", "A Dra. Lima ficou em Maputo."],
            &["Sans point final"],
        ];
        for expected in cases {
            assert_eq!(split(&expected.join(" ")), *expected);
        }
    }

    #[test]
    fn what_has_no_end_is_not_whole() {
        assert!(is_whole("Il est parti. »"));
        assert!(is_whole("Vraiment\u{a0}?"));
        assert!(!is_whole("Lire aussi"));
        assert!(!is_whole("Il a dit que,"));
    }
}
