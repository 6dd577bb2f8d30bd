//! French typography as a profile (L1, L2): spaces that belong to a mark become spaces that do not break.
//!
//! U+202F before `;` `!` `?` and inside « », U+00A0 before `:`, U+202F between the thousands of a number, U+00A0
//! before its unit. Idempotent, so it may be applied to text that has it already. It mends what a writer meant
//! and adds no mark: a `:` or `?` without a space before it is left alone inside a URL, a time, a ratio, a number.

pub(super) const THIN: char = '\u{202F}';
pub(super) const FIRM: char = '\u{A0}';

/// Sets a French text, with this space before a colon.
pub fn french_with(text: &str, colon: char) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for piece in pieces(text) {
        if stays_as_it_is(piece) || is_quoted_code(piece) {
            out.push_str(piece);
        } else {
            let start = out.len();
            set(piece, colon, &mut out);
            // A mark at the beginning may have put another space in the place of the last one.
            let start = out.floor_char_boundary(start);
            let numbers = units(&out[start..]);
            out.replace_range(start.., &numbers);
        }
    }
    out
}

/// What stands between backticks, with them.
fn is_quoted_code(piece: &str) -> bool {
    piece.len() > 1 && piece.starts_with('`') && piece.ends_with('`')
}

/// Pieces of text that stay as they are, and the stretches between them.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    // Whatever stands between two backticks is one piece.
    let mut quoted = text.split('`');
    let mut at = quoted.next().map_or(0, str::len);
    found.extend(words(&text[..at]));
    while let Some(inside) = quoted.next() {
        let Some(after) = quoted.next() else {
            found.extend(words(&text[at..]));
            break;
        };
        let end = at + inside.len() + 2;
        found.push(&text[at..end]);
        found.extend(words(&text[end..end + after.len()]));
        at = end + after.len();
    }
    found
}

fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        if stays_as_it_is(bare) {
            if start < at {
                found.push(&text[start..at]);
            }
            found.push(&text[at..at + bare.len()]);
            start = at + bare.len();
        }
        at += word.len();
    }
    if start < text.len() {
        found.push(&text[start..]);
    }
    found
}

/// An address, a piece of code: what is copied, and works as it is written or not at all.
fn stays_as_it_is(word: &str) -> bool {
    !word.contains(is_space)
        && !word.contains(char::is_whitespace)
        && (word.contains("://")
            || word.starts_with("www.")
            || word.contains('@')
            || word.starts_with("mailto:")
            || is_code(word))
}

/// `foo();`, `a::b`, `x=1;`, `&amp;`, `<b>`, `{name}`, `--flag`: marks that no French word has inside.
fn is_code(word: &str) -> bool {
    let entity = word.starts_with('&') && word.len() > 2 && word.contains(';');
    let marks = ["()", "::", "{", "}", "\\", "</", "/>", "=\"", "_"];
    let assigned = word.contains('=') && word.chars().any(char::is_alphanumeric);
    let tag = word.starts_with('<') && word.contains('>');
    entity || assigned || tag || word.starts_with("--") || marks.iter().any(|mark| word.contains(mark))
}

fn set(text: &str, colon: char, out: &mut String) {
    let chars: Vec<char> = text.chars().collect();
    let mut index = 0;
    while index < chars.len() {
        let c = chars[index];
        let before = out.chars().next_back();
        match c {
            ';' | '!' | '?' if ends_a_word(&chars, index) => {
                space_before(out, before, THIN);
                out.push(c);
            }
            ':' if ends_a_word(&chars, index) => {
                space_before(out, before, colon);
                out.push(c);
            }
            '»' => {
                space_before(out, before, THIN);
                out.push(c);
            }
            '«' => {
                out.push(c);
                let opened = index;
                while chars.get(index + 1).is_some_and(|next| is_space(*next)) {
                    index += 1;
                }
                // A link that stays as it is may follow the last space here.
                if index + 1 < chars.len() || index > opened {
                    out.push(THIN);
                }
            }
            '\'' if before.is_some_and(char::is_alphabetic)
                && chars.get(index + 1).is_some_and(|next| next.is_alphabetic()) =>
            {
                out.push('’');
            }
            _ => out.push(c),
        }
        index += 1;
    }
}

/// A mark at the end of a word, or in a run of marks; not the one inside `12:30`, `a?b` or `:)`.
fn ends_a_word(chars: &[char], index: usize) -> bool {
    chars[index + 1..]
        .iter()
        .find(|c| !matches!(c, '!' | '?' | '…' | '.' | ';' | ':'))
        .is_none_or(|next| is_space(*next) || matches!(next, '»' | ')' | ']' | '”' | '"' | ',' | '’'))
}

fn space_before(out: &mut String, before: Option<char>, space: char) {
    match before {
        Some(c) if is_space(c) => {
            while out.chars().next_back().is_some_and(is_space) {
                out.pop();
            }
            // A mark that opens a text or follows another mark stands as it is.
            if !out.is_empty() {
                out.push(space);
            }
        }
        Some('!' | '?' | '(' | '[' | '«' | '.' | '…' | '/') | None => {}
        Some(_) => out.push(space),
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{A0}' | '\u{202F}' | '\u{2009}')
}

/// Thousands and units: `12 000 km` does not break.
fn units(text: &str) -> String {
    const UNITS: [&str; 20] = [
        "%",
        "‰",
        "€",
        "$",
        "£",
        "F",
        "FCFA",
        "km",
        "m",
        "cm",
        "kg",
        "t",
        "h",
        "min",
        "s",
        "°C",
        "MW",
        "GW",
        "millions",
        "milliards",
    ];
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    for (index, &c) in chars.iter().enumerate() {
        let after_digit = index > 0 && chars[index - 1].is_ascii_digit();
        if !(is_space(c) && after_digit) {
            out.push(c);
            continue;
        }
        let next: String =
            chars[index + 1..].iter().take_while(|c| !c.is_whitespace() && !is_space(**c)).collect();
        let bare = next.trim_end_matches([',', '.', ';', ')', '!', '?']);
        if is_thousands(&chars, index) {
            out.push(THIN);
        } else if bare == "h" || UNITS.contains(&bare) {
            out.push(FIRM);
        } else {
            out.push(c);
        }
    }
    out
}

/// One to three digits, the space, then exactly three digits: a number, and not a year beside another.
fn is_thousands(chars: &[char], space: usize) -> bool {
    let before = chars[..space].iter().rev().take_while(|c| c.is_ascii_digit()).count();
    let after = chars[space + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
    let led = space > before && chars[space - before - 1].is_alphanumeric();
    (1..=3).contains(&before) && after == 3 && !led
}

#[cfg(test)]
mod tests {
    use super::*;

    fn french(text: &str) -> String {
        french_with(text, FIRM)
    }

    #[test]
    fn l1_a_house_may_want_the_thin_space_before_a_colon_too() {
        let set = french_with("Cacao : « oui » ; https://a.example/?x : `a : b`", THIN);
        assert_eq!(
            set,
            "Cacao\u{202F}: «\u{202F}oui\u{202F}»\u{202F}; https://a.example/?x\u{202F}: `a : b`"
        );
        assert_eq!(french_with(&set, THIN), set);
    }

    #[test]
    fn l1_spaces_of_french_marks_do_not_break() {
        let cases = [
            ("Qui gouverne ?", "Qui gouverne\u{202F}?"),
            ("Qui gouverne?", "Qui gouverne\u{202F}?"),
            ("Enfin !!", "Enfin\u{202F}!!"),
            ("Cacao : la hausse", "Cacao\u{A0}: la hausse"),
            ("Cacao: la hausse", "Cacao\u{A0}: la hausse"),
            ("il dit «oui»", "il dit «\u{202F}oui\u{202F}»"),
            ("il dit « oui » ; puis non", "il dit «\u{202F}oui\u{202F}»\u{202F}; puis non"),
            ("l'or du Mali", "l’or du Mali"),
            ("12 000 km et 62 %", "12\u{202F}000\u{A0}km et 62\u{A0}%"),
            ("« Vraiment ? »", "«\u{202F}Vraiment\u{202F}?\u{202F}»"),
        ];
        for (plain, set) in cases {
            assert_eq!(french(plain), set, "{plain}");
        }
    }

    #[test]
    fn l1_times_links_and_ratios_are_left_alone() {
        for text in [
            "à 12:30",
            "https://a.example/x?y=1;z=2!",
            "écrire à a@b.example",
            "un rapport 3:1",
            "en 2025 ou 2026",
            "(!)",
            "`if a ? b : c;`",
            "`12 000 km`",
            "&amp; &#x3c; &nbsp;",
            "foo(); bar::baz();",
            "<b>a</b> --force x=1; {name}",
        ] {
            assert_eq!(french(text), text);
        }
        assert_eq!(french("« https://a.example » ?"), "«\u{202F}https://a.example\u{202F}»\u{202F}?");
        assert_eq!(french("voir https://a.example/?q=1 : ici"), "voir https://a.example/?q=1\u{A0}: ici");
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 4000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn l1_whatever_is_written_is_set_once_and_says_the_same(text in "([a-zA-Zé0-9 \u{A0}\u{202F}«»;:!?'’().,%`&=<>_-]|https://a\\.b/\\?c;d!|12:30| [«»;:!?] | 12 000 km ){0,24}") {
            let once = french(&text);
            proptest::prop_assert_eq!(french(&once), once.clone(), "{:?}", text);
            // Nothing but spaces and apostrophes is touched.
            let bare = |text: &str| text.replace('\'', "’").chars().filter(|c| !is_space(*c)).collect::<String>();
            proptest::prop_assert_eq!(bare(&once), bare(&text));
        }

        #[test]
        fn l1_links_times_and_code_come_through_whole(
            before in "[a-zé«»;:!? ]{0,12}",
            kept in "https?://[a-z]{1,8}\\.example/[a-z;:!?=&%0-9/]{0,20}|[01][0-9]:[0-5][0-9]|[a-z.]{1,8}@[a-z]{1,8}\\.example|`[a-z;:!? ]{1,12}`|&[a-z]{2,5};|[a-z]{1,6}\\(\\);",
            after in "( [a-zé«»;:!? ]{0,12})?",
        ) {
            let set = french(&format!("{before} {kept}{after}"));
            proptest::prop_assert!(set.contains(&kept), "{:?} in {:?}", kept, set);
        }
    }

    #[test]
    fn l1_setting_twice_changes_nothing() {
        for text in [
            "Qui ? « Moi » : 12 000 !",
            " «  « https://a.b/?c;d!",
            " 12 000 km ;: : ",
            "a : b ; c ! d ?",
            "?",
            " : ",
            "«»",
            "« »",
            "1 000 000 €",
            "x ?! y",
        ] {
            let once = french(text);
            assert_eq!(french(&once), once, "{text:?}");
        }
    }
}
