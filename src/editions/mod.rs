//! Editions and their states, the line-up, what editors decided, what was frozen and when.
//!
//! Owns the tables `edition`, `item`, `decision`, `edition_event`, `revision` and `rendering`. Leaves choosing to
//! [`crate::selection`] and words on paper to the mail. The rule a newcomer would break: no automatic step writes
//! `decision` (P8); the machine writes `item`, and reads `decision` first.

pub mod edit;
mod line_up;
pub mod schedule;
mod state;
pub mod store;
mod words;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use edit::Document;
pub use line_up::{Decision, Item, LineUp, Place};
pub use state::{EditionState, NotAllowed};
pub use store::NewRevision;
pub use words::{AgendaLine, CorrectionLine, EditionWords, ItemWords, KeyFigure, LighterItem, Sponsor};

/// An edition's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EditionId(pub i64);

/// One newsletter on one local date.
#[derive(Clone, Debug)]
pub struct Edition {
    /// Its id.
    pub id: EditionId,
    /// The newsletter's id in the configuration.
    pub newsletter: String,
    /// The civil date it bears.
    pub date: Date,
    /// The edition that this one is an erratum to.
    pub corrects: Option<EditionId>,
    /// Where it stands in its life.
    pub state: EditionState,
    /// Where a held edition goes back to.
    pub held_from: Option<EditionState>,
    /// The newest approved revision; 0 while nothing is frozen.
    pub revision: i64,
    /// Rises with every change.
    pub version: i64,
    /// When it locks.
    pub lock_at: Timestamp,
    /// The editors' words around the items.
    pub words: EditionWords,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<Timestamp>,
    /// Why it is held, skipped, missed or cancelled.
    pub reason: Option<String>,
    /// When the line-up was last refreshed.
    pub refreshed_at: Option<Timestamp>,
    /// When it was locked.
    pub locked_at: Option<Timestamp>,
    /// When its last delivery became final.
    pub sent_at: Option<Timestamp>,
}

impl Edition {
    /// An edition that nobody has opened yet, as it will begin; it has no id of its own and stands in no table.
    pub fn to_come(newsletter: &str, date: Date, lock_at: Timestamp) -> Self {
        Self {
            id: EditionId(0),
            newsletter: newsletter.to_owned(),
            date,
            corrects: None,
            state: EditionState::Open,
            held_from: None,
            revision: 0,
            // That of a row that was just made: a document of it is taken by the edition that is opened then.
            version: 1,
            lock_at,
            words: EditionWords::default(),
            approved_by: None,
            approved_at: None,
            reason: None,
            refreshed_at: None,
            locked_at: None,
            sent_at: None,
        }
    }

    /// Whether nobody has opened it yet.
    pub fn is_to_come(&self) -> bool {
        self.id == EditionId(0)
    }
}

/// Who did something to an edition: a person's name, or `clock` and the like for the machine's own steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who(pub String);

impl Who {
    /// The daemon's clock.
    pub fn clock() -> Self {
        Self("clock".to_owned())
    }

    /// Whoever is at the command line: `$USER` would name the operating system's idea of them.
    pub fn command_line() -> Self {
        Self("command line".to_owned())
    }
}
