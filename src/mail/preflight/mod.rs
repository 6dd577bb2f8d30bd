//! Preflight: what is wrong with an edition before it goes out, told by rule, place and how to mend it.
//!
//! Pure: it reads a content, its renderings and what the newsroom asked for. An error stops the lock, so only what
//! would harm readers or the sender's name is one; what an editor should look at is a warning. The rule a newcomer
//! would break: an edition that locks by itself at five in the morning must not be stopped by a matter of taste.

mod headers;
mod html;
mod page;
mod text;
mod words;

use std::fmt;

use jiff::civil::Date;

use super::content::{Content, Newsletter};
use super::language::Language;
use super::prepared::Prepared;
use super::render::Rendered;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It must not go out like this.
    Error,
    /// Somebody should look at it.
    Warning,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// The requirement's number, or the name of the newsroom's own rule.
    pub rule: &'static str,
    /// Where: an item, the subject, a part of the mail.
    pub place: String,
    /// What is wrong, and how to mend it.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
        };
        write!(f, "{weight}: {}: {} [{}]", self.place, self.message, self.rule)
    }
}

/// An item of an edition that went out before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// When.
    pub date: Date,
    /// Its address.
    pub url: String,
    /// Its title.
    pub title: String,
}

/// What the newsroom asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// How many items an edition has.
    pub items: usize,
    /// Words that it does not want to see.
    pub avoid: &'a [String],
    /// What the last editions brought.
    pub before: &'a [Ran],
    /// The newsletter as the edition before had it.
    pub last: Option<&'a Newsletter>,
}

/// Everything that is found in an edition and its renderings: errors first, each told once.
pub fn check(content: &Content, renderings: &[(Language, &Rendered)], asked: &Asked<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    words::check(content, asked, &mut findings);
    for (language, rendered) in renderings {
        headers::check(content, rendered, &Prepared::new(rendered, content), asked.last, &mut findings);
        html::check(content, rendered, *language, &mut findings);
        text::check(content, rendered, &mut findings);
    }
    let mut out = findings.0;
    out.sort_by_key(|finding| finding.weight);
    out
}

/// Whether one of these stops the lock.
pub fn stops(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.weight == Weight::Error)
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, rule: &'static str, place: impl Into<String>, message: impl Into<String>) {
        self.add(Weight::Error, rule, place.into(), message.into());
    }

    fn warn(&mut self, rule: &'static str, place: impl Into<String>, message: impl Into<String>) {
        self.add(Weight::Warning, rule, place.into(), message.into());
    }

    fn add(&mut self, weight: Weight, rule: &'static str, place: String, message: String) {
        let finding = Finding { weight, rule, place, message };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }
}
