//! In which language a text is, how it runs, and where its lines begin on a page of another.

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
