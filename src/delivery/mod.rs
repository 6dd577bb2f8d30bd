//! Deliveries: planned at the lock, claimed in batches, released one by one behind a commit, recorded for ever.
//!
//! Owns the ledger (`daemon`, `delivery`, `attempt`) and the wire. How the two keep step is the one rule of this
//! room: a connection writes the final dot of a body only after one commit that holds the outcome of its previous
//! message and an open attempt for this one (`protocol`). Whatever is killed, at most the open attempts are
//! uncertain, and the ledger names each of them.

pub mod classify;
mod commit;
mod dispatch;
pub mod due;
pub mod engine;
pub mod forecast;
mod ledger;
mod message;
mod mx;
pub mod names;
mod one;
pub mod pace;
pub mod plan;
pub mod probe;
mod protocol;
pub mod prune;
mod receiver;
pub mod relay;
pub mod reply;
pub mod retry;
mod rules;
mod session;
mod signing;
pub mod store;
mod worker;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use engine::{Engine, Mode};
pub use ledger::{Attempt, Record};
pub use message::{message_id, return_path};
pub use one::{Untaken, With, send_one};
pub use protocol::{others_alive, shared_clock};
pub use receiver::provider_of;

/// Daemons wake each other on this channel when there is something to send, or to stop.
pub const CHANNEL: &str = "matinale_delivery";

/// A delivery's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveryId(pub i64);

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Owed, and not yet tried.
    Planned,
    /// A daemon holds it.
    Claimed,
    /// A relay took it.
    Accepted,
    /// It will be tried again.
    Deferred,
    /// A relay refused it for good.
    Rejected,
    /// Unsubscribed or suppressed after planning, or the edition was cancelled.
    Withdrawn,
    /// Its deadline passed.
    Expired,
    /// Nobody knows whether it arrived.
    Uncertain,
}

impl DeliveryState {
    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Claimed => "claimed",
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Uncertain => "uncertain",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryState {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        [
            Self::Planned,
            Self::Claimed,
            Self::Accepted,
            Self::Deferred,
            Self::Rejected,
            Self::Withdrawn,
            Self::Expired,
            Self::Uncertain,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or(())
    }
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The relay took it.
    Accepted,
    /// Not now.
    Deferred,
    /// Not ever.
    Rejected,
    /// The dot may have left, and no answer was recorded.
    Uncertain,
}

impl Outcome {
    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Rejected => "rejected",
            Self::Uncertain => "uncertain",
        }
    }
}

/// How many deliveries of an edition stand in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Owed, and not yet tried.
    pub planned: i64,
    /// Held by a daemon.
    pub claimed: i64,
    /// Taken by a relay.
    pub accepted: i64,
    /// To be tried again.
    pub deferred: i64,
    /// Refused for good.
    pub rejected: i64,
    /// Not wanted any more.
    pub withdrawn: i64,
    /// Past their deadline.
    pub expired: i64,
    /// Nobody knows.
    pub uncertain: i64,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> i64 {
        self.planned
            + self.claimed
            + self.accepted
            + self.deferred
            + self.rejected
            + self.withdrawn
            + self.expired
            + self.uncertain
    }

    /// Each state's word and count, in the order of a delivery's life.
    pub fn by_state(&self) -> [(&'static str, i64); 8] {
        [
            ("planned", self.planned),
            ("claimed", self.claimed),
            ("accepted", self.accepted),
            ("deferred", self.deferred),
            ("rejected", self.rejected),
            ("withdrawn", self.withdrawn),
            ("expired", self.expired),
            ("uncertain", self.uncertain),
        ]
    }

    /// Whether nothing is left to do.
    pub fn all_final(&self) -> bool {
        self.planned + self.claimed + self.deferred == 0
    }

    /// `9,998 accepted, 2 rejected of 10,000`, in words.
    pub fn in_words(&self) -> String {
        let parts = [
            (self.accepted, "accepted"),
            (self.planned, "planned"),
            (self.claimed, "claimed"),
            (self.deferred, "deferred"),
            (self.rejected, "rejected"),
            (self.withdrawn, "withdrawn"),
            (self.expired, "expired"),
            (self.uncertain, "uncertain"),
        ];
        let told: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if told.is_empty() {
            "none planned".to_owned()
        } else {
            format!("{} of {}", told.join(", "), self.total())
        }
    }

    pub(crate) fn add(&mut self, state: DeliveryState, count: i64) {
        match state {
            DeliveryState::Planned => self.planned += count,
            DeliveryState::Claimed => self.claimed += count,
            DeliveryState::Accepted => self.accepted += count,
            DeliveryState::Deferred => self.deferred += count,
            DeliveryState::Rejected => self.rejected += count,
            DeliveryState::Withdrawn => self.withdrawn += count,
            DeliveryState::Expired => self.expired += count,
            DeliveryState::Uncertain => self.uncertain += count,
        }
    }
}

/// What can go wrong in this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Db(#[from] crate::db::Error),
    /// A relay that the newsletter names is not configured, or cannot be used.
    #[error("{0}")]
    Relay(String),
    /// The rules for replies or for providers do not parse.
    #[error("rules: {0}")]
    Rules(String),
    /// A revision's bytes cannot be had; its deliveries wait.
    #[error("the mail of edition {edition}, revision {revision}: {message}")]
    Message {
        /// The edition.
        edition: i64,
        /// The revision.
        revision: i64,
        /// What is wrong.
        message: String,
    },
    /// The operating system has no means left to wait for sockets.
    #[error("a thread for sending cannot be had: {0}")]
    Thread(std::io::Error),
    /// Another daemon declared this one dead and took its work over: it must stop.
    #[error("another daemon took this one's work over")]
    Fenced,
    /// Something that works for this life broke: it begins nothing more, and what that had in hand the ledger gives back.
    #[error("a part of the sending broke")]
    Broken,
}

/// What this room's functions give back.
pub type Result<T> = std::result::Result<T, Error>;
