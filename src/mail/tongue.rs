//! In which language a text is, how it runs, and where its lines begin on a page of another.

use std::fmt;

use super::language::{Language, is_right_to_left};
use super::plain;

/// A language, how it runs, and where its lines begin when that is not where the page's begin.
#[derive(Clone)]
pub(super) struct Tongue {
    pub(super) lang: String,
    pub(super) dir: &'static str,
    pub(super) align: &'static str,
    /// The language of the page around it.
    page: Language,
}

impl Tongue {
    pub(super) fn new(tag: &str, page: Language) -> Self {
        let right_to_left = is_right_to_left(tag);
        let align = match (right_to_left, page.phrases().right_to_left) {
            (true, false) => "text-align:right;",
            (false, true) => "text-align:left;",
            _ => "",
        };
        Self { lang: tag.to_owned(), dir: if right_to_left { "rtl" } else { "ltr" }, align, page }
    }

    /// The same for this text: what is written in other letters than its language's runs as they do.
    pub(super) fn of(&self, text: &str) -> Self {
        match plain::runs_right_to_left(text) {
            Some(right_to_left) if right_to_left != (self.dir == "rtl") => {
                // Of a language that nobody named; the page's where that runs so.
                let fits = self.page.phrases().right_to_left == right_to_left;
                let tag = if fits { self.page.tag() } else { "und" };
                let dir = if right_to_left { "rtl" } else { "ltr" };
                let align = match (right_to_left, fits) {
                    (_, true) => "",
                    (true, false) => "text-align:right;",
                    (false, false) => "text-align:left;",
                };
                Self { lang: tag.to_owned(), dir, align, page: self.page }
            }
            _ => self.clone(),
        }
    }
}

/// A phrase of the reader's around a name that keeps its own order in it (L3).
#[derive(Clone)]
pub(super) struct Named {
    pub(super) before: String,
    pub(super) name: String,
    pub(super) after: String,
}

impl Named {
    /// The phrase with the name in this place of it; the phrase alone where it has no such place.
    pub(super) fn new(phrase: &str, place: &str, name: String) -> Self {
        match phrase.split_once(place) {
            Some((before, after)) => Self { before: before.to_owned(), name, after: after.to_owned() },
            None => Self::alone(phrase),
        }
    }

    /// A phrase that names nobody.
    pub(super) fn alone(phrase: &str) -> Self {
        Self { before: phrase.to_owned(), name: String::new(), after: String::new() }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.before, self.name, self.after)
    }
}
