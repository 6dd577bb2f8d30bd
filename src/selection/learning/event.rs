//! What an editor did to a line-up, one article at a time.

use std::str::FromStr;

use serde::Serialize;

use crate::articles::ArticleId;
use crate::selection::Given;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Put in, where the machine had not.
    Added,
    /// Taken out.
    Dropped,
    /// Allowed again after it was taken out.
    Restored,
    /// Put at another place.
    Moved,
    /// Held where it stood.
    Pinned,
    /// Given back to the machine.
    Freed,
    /// Given other words.
    Reworded,
    /// Given a news value or a lifetime, or neither any more.
    Valued,
}

impl What {
    const ALL: [Self; 8] = [
        Self::Added,
        Self::Dropped,
        Self::Restored,
        Self::Moved,
        Self::Pinned,
        Self::Freed,
        Self::Reworded,
        Self::Valued,
    ];

    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Dropped => "dropped",
            Self::Restored => "restored",
            Self::Moved => "moved",
            Self::Pinned => "pinned",
            Self::Freed => "freed",
            Self::Reworded => "reworded",
            Self::Valued => "valued",
        }
    }
}

impl FromStr for What {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|what| what.as_str() == text).ok_or(())
    }
}

/// One step of an editor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// What was done.
    pub what: What,
    /// To which article.
    pub article: ArticleId,
    /// Where it stood, 1 for the first.
    pub from: Option<i64>,
    /// Where it was put.
    pub to: Option<i64>,
    /// Of [`What::Valued`]: what was given.
    pub given: Given,
}

/// How an editor wants one article, before or after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish<'a> {
    /// The place it is pinned to; 0: in, wherever its points put it.
    pub pinned: Option<i64>,
    /// Whether it is out.
    pub removed: bool,
    /// Its own words, in any form that tells whether they changed.
    pub words: &'a str,
    /// Its news value and lifetime.
    pub given: Given,
}

/// The steps from one wish to another, for an article that stood at `position`.
pub fn steps(article: ArticleId, position: Option<i64>, before: Wish<'_>, after: Wish<'_>) -> Vec<Event> {
    let mut out = Vec::new();
    let given = Given::default();
    let mut step = |what, to| out.push(Event { what, article, from: position, to, given });
    let to = after.pinned.filter(|place| *place > 0);
    match (before.removed, after.removed) {
        (false, true) => step(What::Dropped, None),
        (true, false) if after.pinned.is_none() => step(What::Restored, None),
        _ => {}
    }
    if !after.removed && before.pinned != after.pinned {
        match after.pinned {
            None => step(What::Freed, None),
            Some(_) if position.is_none() => step(What::Added, to),
            Some(_) if to.is_some() && to != position => step(What::Moved, to),
            Some(_) => step(What::Pinned, to),
        }
    }
    if before.words != after.words {
        step(What::Reworded, None);
    }
    if before.given != after.given {
        let given = after.given;
        out.push(Event { what: What::Valued, article, from: position, to: None, given });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wish_is_told_as_what_it_does() {
        let none = Wish::default();
        let pin = |place| Wish { pinned: Some(place), ..none };
        let out = Wish { removed: true, ..none };
        let words = Wish { words: "x", ..none };
        let valued = Wish { given: Given { value: Some(4), lifetime: None }, ..none };
        let cases = [
            (None, none, pin(2), vec![What::Added]),
            (Some(5), none, pin(2), vec![What::Moved]),
            (Some(2), none, pin(2), vec![What::Pinned]),
            (Some(2), none, pin(0), vec![What::Pinned]),
            (Some(2), pin(2), none, vec![What::Freed]),
            (Some(2), none, out, vec![What::Dropped]),
            (Some(2), pin(2), out, vec![What::Dropped]),
            (None, out, none, vec![What::Restored]),
            (None, out, pin(1), vec![What::Added]),
            (Some(3), none, words, vec![What::Reworded]),
            (None, none, valued, vec![What::Valued]),
            (Some(3), valued, none, vec![What::Valued]),
            (Some(3), pin(3), pin(3), vec![]),
        ];
        for (position, before, after, expected) in cases {
            let told: Vec<What> =
                steps(ArticleId(1), position, before, after).into_iter().map(|event| event.what).collect();
            assert_eq!(told, expected, "{position:?} {before:?} {after:?}");
        }
        for what in What::ALL {
            assert_eq!(what.as_str().parse(), Ok(what));
        }
    }
}
