//! Text as the selection compares it: folded, cut into words, stemmed by language.
//!
//! Owns folding (case, accents, Arabic letter forms), word cutting with French and Portuguese elision, and
//! stemming. Leaves weights to `stories`. A newcomer would fold before looking at capitals: names are told
//! by their capital, so [`words`] looks first and folds afterwards.

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use super::stopwords;

/// The languages the selection stems; every other is compared by whole words and letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tongue {
    /// English.
    English,
    /// French.
    French,
    /// Arabic.
    Arabic,
    /// Portuguese.
    Portuguese,
    /// Anything else.
    Other,
}

impl Tongue {
    /// The tongue of a BCP 47 tag; where none is given, of the text itself.
    pub fn of(tag: Option<&str>, text: &str) -> Self {
        match tag.map(|tag| tag.split(['-', '_']).next().unwrap_or_default().to_lowercase()).as_deref() {
            Some("fr") => Self::French,
            Some("en") => Self::English,
            Some("ar") => Self::Arabic,
            Some("pt") => Self::Portuguese,
            Some("") | None => Self::detect(text),
            Some(_) => Self::Other,
        }
    }

    fn detect(text: &str) -> Self {
        match whatlang::detect_lang(text) {
            Some(whatlang::Lang::Eng) => Self::English,
            Some(whatlang::Lang::Fra) => Self::French,
            Some(whatlang::Lang::Ara) => Self::Arabic,
            Some(whatlang::Lang::Por) => Self::Portuguese,
            _ => Self::Other,
        }
    }

    /// The stemmer of this language, where there is one.
    pub fn stemmer(self) -> Option<Stemmer> {
        let algorithm = match self {
            Self::English => Algorithm::English,
            Self::French => Algorithm::French,
            Self::Arabic => Algorithm::Arabic,
            Self::Portuguese => Algorithm::Portuguese,
            Self::Other => return None,
        };
        Some(Stemmer::create(algorithm))
    }
}

/// One word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Folded: lower case, no accents, no elision.
    pub folded: String,
    /// Whether it began with a capital in the text.
    pub capital: bool,
    /// Whether it opens a sentence, where a capital says nothing.
    pub opens: bool,
}

/// Lower case without accents; Arabic without vowels, tatweel and the variants of alef, ya and ta marbuta, digits as everywhere.
pub fn fold(text: &str) -> String {
    text.nfkd()
        .filter(|c| !is_combining_mark(*c) && *c != '\u{640}')
        .flat_map(char::to_lowercase)
        .filter(|c| !is_combining_mark(*c))
        .map(|c| match c {
            'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
            'ى' | 'ئ' => 'ي',
            'ؤ' => 'و',
            'ة' => 'ه',
            'œ' | 'ø' => 'o',
            'æ' => 'a',
            'ł' => 'l',
            'ß' => 's',
            'ı' => 'i',
            '’' | '‘' | 'ʼ' | '`' => '\'',
            '٠'..='٩' => latin_digit(c, '٠'),
            '۰'..='۹' => latin_digit(c, '۰'),
            c => c,
        })
        .collect()
}

fn latin_digit(digit: char, zero: char) -> char {
    char::from_digit(u32::from(digit) - u32::from(zero), 10).unwrap_or(digit)
}

/// The words of a text in order, elisions cut off, possessives dropped.
pub fn words(text: &str, tongue: Tongue) -> Vec<Word> {
    let mut out = Vec::new();
    let mut opens = true;
    for part in text.split_word_bounds() {
        let Some(first) = part.chars().next() else { continue };
        if !first.is_alphanumeric() {
            if matches!(first, '.' | '!' | '?' | ':' | '\n' | '«' | '“' | '"') {
                opens = true;
            }
            continue;
        }
        let capital = part.chars().find(|c| c.is_alphabetic()).is_some_and(char::is_uppercase);
        let folded = fold(part);
        let mut body = folded.as_str();
        let mut capital = capital;
        if let Some((head, tail)) = body.split_once('\'') {
            if tail == "s" || tail.is_empty() {
                body = head;
            } else if matches!(tongue, Tongue::French | Tongue::Portuguese | Tongue::Other) && head.len() <= 7
            {
                // "l'ONU", "qu'Haftar", "aujourd'hui": what follows the apostrophe carries the meaning.
                capital = part
                    .split(['\'', '’'])
                    .nth(1)
                    .and_then(|t| t.chars().next())
                    .is_some_and(char::is_uppercase);
                body = tail;
            }
        }
        let body: String = body.chars().filter(|c| c.is_alphanumeric() || *c == '.').collect();
        let body = body.trim_matches('.');
        if !body.is_empty() {
            // "U.N." and "UN" are one word.
            let body =
                if body.chars().any(char::is_numeric) { body.to_owned() } else { body.replace('.', "") };
            out.push(Word { folded: body, capital, opens });
        }
        opens = false;
    }
    out
}

/// The stem of a folded word; numbers stay as they are.
pub fn stem(folded: &str, tongue: Tongue, stemmer: Option<&Stemmer>) -> String {
    if folded.chars().any(char::is_numeric) {
        return folded.to_owned();
    }
    let bare = match tongue {
        // The article grown onto the noun; kept where too little would remain.
        Tongue::Arabic => ["وال", "بال", "لل", "ال"]
            .iter()
            .find_map(|prefix| folded.strip_prefix(prefix).filter(|rest| rest.chars().count() >= 3))
            .unwrap_or(folded),
        _ => folded,
    };
    stemmer.map_or_else(|| bare.to_owned(), |stemmer| stemmer.stem(bare).into_owned())
}

/// Whether a folded word says nothing about the event in any of the four languages.
pub fn is_stopword(folded: &str) -> bool {
    stopwords::contains(folded)
}

/// The sentences of a text, trimmed, empty ones dropped.
pub fn sentences(text: &str) -> Vec<&str> {
    text.unicode_sentences()
        .flat_map(|sentence| sentence.split('\n'))
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
        .collect()
}

/// The first sentences of a text, trimmed, empty ones dropped; no more of it is read than they take.
pub fn first_sentences(text: &str, count: usize) -> impl Iterator<Item = &str> {
    text.unicode_sentences()
        .flat_map(|sentence| sentence.split('\n'))
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
        .take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn french_elisions_are_cut_and_capitals_kept() {
        let words = words("L'ONU dénonce l’attaque d'Haftar", Tongue::French);
        let folded: Vec<_> = words.iter().map(|w| (w.folded.as_str(), w.capital)).collect();
        assert_eq!(folded, [("onu", true), ("denonce", false), ("attaque", false), ("haftar", true)]);
    }

    #[test]
    fn arabic_letter_forms_are_one() {
        assert_eq!(fold("الأُمَّة"), fold("الامه"));
        assert_eq!(fold("٢٠ ألفا"), fold("20 الفا"));
    }

    #[test]
    fn possessives_and_initials_are_dropped() {
        let words = words("Sudan's U.N. envoy", Tongue::English);
        let folded: Vec<_> = words.iter().map(|w| w.folded.as_str()).collect();
        assert_eq!(folded, ["sudan", "un", "envoy"]);
    }
}
