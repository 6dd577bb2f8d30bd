//! What files of rules about replies have in common: which replies a rule is about, and where a fault in it stands.
//!
//! A rule that can fit nothing, or that fits everything, is an error: the one has no effect, the other has too much, and
//! neither would be seen before a morning.

use std::ops::{Range, RangeInclusive};

use super::reply::{Reply, enhanced};

/// What a rule calls the enhanced code of a reply that has none.
const NONE: &str = "none";

/// Which replies a rule is about: every part that is given must fit.
#[derive(Clone, Debug, Default)]
pub(super) struct Fits {
    /// Basic codes; 4 or 5 for a whole class.
    codes: Vec<u16>,
    enhanced: Vec<Enhanced>,
    /// Words, in lower case.
    text: Vec<String>,
}

/// An enhanced code, as a rule has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Enhanced {
    /// The reply has none.
    Missing,
    Whole(String),
    /// Ends with a dot.
    Beginning(String),
    /// The first two numbers, which end with a dot, and what the last one lies between.
    Between(String, RangeInclusive<u16>),
}

impl Fits {
    /// # Errors
    /// What could fit nothing or fits everything, with its key.
    pub(super) fn new(codes: Vec<u16>, enhanced: &[String], text: &[String]) -> Result<Self, String> {
        if let Some(code) = codes.iter().find(|code| !matches!(**code, 4 | 5 | 400..=599)) {
            return Err(format!(
                "codes: {code} is neither 4 or 5, for a whole class, nor between 400 and 599"
            ));
        }
        let enhanced: Vec<Enhanced> =
            enhanced.iter().map(|code| Enhanced::read(code)).collect::<Result<_, _>>()?;
        let text: Vec<String> = text.iter().map(|words| words.to_lowercase()).collect();
        if text.iter().any(|words| words.trim().is_empty()) {
            return Err("text: words that are empty fit every reply".to_owned());
        }
        if codes.is_empty() && enhanced.is_empty() && text.is_empty() {
            return Err(
                "fits every reply: text, enhanced or codes (4 or 5 for all of a class) is missing".to_owned()
            );
        }
        Ok(Self { codes, enhanced, text })
    }

    /// Whether this reply is meant; `text` is its words.
    pub(super) fn fit(&self, reply: &Reply, text: &str) -> bool {
        let code = |code: &u16| if *code < 10 { reply.code / 100 == *code } else { reply.code == *code };
        (self.codes.is_empty() || self.codes.iter().any(code))
            && (self.enhanced.is_empty()
                || self.enhanced.iter().any(|known| known.fits(reply.enhanced.as_deref())))
            && (self.text.is_empty() || self.text.iter().any(|words| text.contains(words)))
    }
}

impl Enhanced {
    fn read(text: &str) -> Result<Self, String> {
        let of_a_refusal = |code: &str| enhanced(code).is_some() && code.starts_with(['4', '5']);
        let known = if text == NONE {
            Some(Self::Missing)
        } else if text.ends_with('.') {
            // What it would begin.
            let whole =
                if text.matches('.').count() == 1 { format!("{text}1.1") } else { format!("{text}1") };
            of_a_refusal(&whole).then(|| Self::Beginning(text.to_owned()))
        } else if let Some((first, last)) = text.split_once('-') {
            let parts = first.rfind('.').map(|dot| first.split_at(dot + 1));
            parts.filter(|(two, _)| of_a_refusal(first) && of_a_refusal(&format!("{two}{last}"))).and_then(
                |(two, first)| {
                    let between = first.parse().ok()?..=last.parse().ok()?;
                    (!between.is_empty()).then(|| Self::Between(two.to_owned(), between))
                },
            )
        } else {
            of_a_refusal(text).then(|| Self::Whole(text.to_owned()))
        };
        known.ok_or_else(|| {
            format!(
                "enhanced: {text:?} is no whole code (\"5.1.1\"), no beginning of one that ends with a dot \
                 (\"5.1.\"), no range of them (\"5.7.606-649\") and not {NONE:?}"
            )
        })
    }

    fn fits(&self, code: Option<&str>) -> bool {
        match (self, code) {
            (Self::Missing, code) => code.is_none(),
            (_, None) => false,
            (Self::Whole(known), Some(code)) => known == code,
            (Self::Beginning(known), Some(code)) => code.starts_with(known),
            (Self::Between(two, between), Some(code)) => code
                .strip_prefix(two.as_str())
                .and_then(|last| last.parse().ok())
                .is_some_and(|last| between.contains(&last)),
        }
    }
}

/// A fault with the line that it stands on.
pub(super) fn at(text: &str, span: Range<usize>, why: &str) -> String {
    let line = text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(codes: &[u16], enhanced: &[&str], text: &[&str]) -> Result<Fits, String> {
        let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        Fits::new(codes.to_vec(), &owned(enhanced), &owned(text))
    }

    #[test]
    fn p10_what_fits_nothing_or_everything_is_no_rule() {
        assert!(of(&[], &[], &[]).unwrap_err().contains("fits every reply"));
        assert!(of(&[5], &[], &["", "full"]).unwrap_err().starts_with("text: words that are empty"));
        for code in [0, 2, 3, 6, 55, 250, 399, 600] {
            assert!(of(&[4, code], &[], &[]).unwrap_err().contains(&format!("codes: {code} is")), "{code}");
        }
        let wrong = ["", "5", "5.7", "5.7.1.", ".", "x.", "5.x.", "2.1.5", "5.7.1234", "6.1.1", "5.7.9-7"];
        for code in wrong {
            let told = of(&[5], &[code], &[]).unwrap_err();
            assert!(told.starts_with(&format!("enhanced: {code:?} is no")), "{told}");
        }
        for code in ["5.7.606-", "5.7.606-x", "5.7-9", "5.7.-9", "-", "5.7.1-5.7.2"] {
            assert!(of(&[5], &[code], &[]).is_err(), "{code}");
        }
    }

    #[test]
    fn p10_a_rule_fits_what_it_says() {
        let fits = |known: &str, text: &str| {
            let reply = Reply::new(550, text);
            of(&[], &[known], &[]).unwrap().fit(&reply, &reply.words())
        };
        assert!(fits("none", "no") && !fits("none", "5.1.1 no"));
        assert!(fits("5.1.1", "5.1.1 no") && !fits("5.1.1", "5.1.10 no") && !fits("5.1.1", "no"));
        assert!(fits("5.1.", "5.1.10 no") && !fits("5.1.", "5.11.1 no"));
        assert!(fits("5.", "5.11.1 no") && !fits("4.", "5.1.1 no"));
        for (code, expected) in [(605, false), (606, true), (611, true), (649, true), (650, false)] {
            assert_eq!(fits("5.7.606-649", &format!("5.7.{code} no")), expected, "{code}");
        }
        assert!(!fits("5.7.606-649", "5.1.611 no") && !fits("5.7.606-649", "no"));
        let reply = Reply::new(452, "4.2.2 Box FULL");
        let fit = |codes: &[u16]| of(codes, &[], &["full"]).unwrap().fit(&reply, "4.2.2 box full");
        assert!(fit(&[4]) && fit(&[452]) && fit(&[552, 452]) && !fit(&[5]) && !fit(&[450]));
    }
}
