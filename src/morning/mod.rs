//! The rooms joined: lock, tick, correct, alert, serve, demo, rehearse, drill.
//!
//! Composes the rooms, in one transaction where it must. Owns the tables `clock`, `alarm` and `alarm_copy`. The
//! rule a newcomer would break: what a room decides stays in that room; here it is only brought together.

pub mod alert;
mod content;
pub mod dead;
pub mod demo;
pub mod doctor;
pub mod drill;
mod ears;
pub mod inbox;
pub mod learn;
pub mod line_up;
mod links;
pub mod lock;
mod pictures;
pub mod prefer;
pub mod preview;
pub mod rehearse;
pub mod replay;
pub mod retry;
pub mod send;
pub mod serve;
pub mod settle;
pub mod stage;
pub mod store;
pub mod stories;
pub mod tick;
pub mod waits;
mod warm_up;
pub mod why;
pub mod words;

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use crate::clock::{Clock, Random};
use crate::config::Config;
use crate::db::Db;
use crate::readers::links::Links;
use crate::{db, delivery, editions, mail};

/// What the rooms need to work together; cheap to clone.
#[derive(Clone, Debug)]
pub struct House {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub db: Db,
    /// The times.
    pub clock: Clock,
    /// Random numbers.
    pub random: Random,
    /// The links in mails.
    pub links: Links,
}

/// What can go wrong where rooms meet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Db(#[from] db::Error),
    /// The lock rule.
    #[error(transparent)]
    Schedule(#[from] editions::schedule::Error),
    /// The mail could not be made; what and where is said.
    #[error("the mail: {0}")]
    Mail(#[from] mail::Error),
    /// The delivery engine.
    #[error("delivery: {0}")]
    Delivery(#[from] delivery::Error),
    /// Something of the daemon cannot start.
    #[error("{0}")]
    Start(String),
    /// Somebody renamed or removed a newsletter of which an edition is under way: only they can say what becomes of it.
    #[error(
        "the configuration has no [newsletter.{0}] any more: {1} of its deliveries wait for it, and end at their deadline"
    )]
    Unconfigured(String, i64),
    /// A part of the daemon ended unasked, and the rest with it.
    #[error("a part of the daemon broke (the log says which); start it again")]
    Broke,
}

/// What the morning's functions give back.
pub type Result<T> = std::result::Result<T, Error>;

impl House {
    /// What a message of our own needs to find its way.
    fn with(&self) -> delivery::With<'_> {
        delivery::With { config: &self.config, db: &self.db, clock: &self.clock, random: &self.random }
    }

    /// Puts the rooms' needs together.
    pub fn new(config: Config, db: Db, clock: Clock, random: Random) -> Self {
        let links = Links::new(config.secret.expose_secret().as_bytes());
        Self { config: Arc::new(config), db, clock, random, links }
    }
}
