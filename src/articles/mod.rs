//! The article store, and everything that fills it: feeds, the push interface, imports.
//!
//! Owns [`Article`], what makes two URLs the same article ([`canonical`]), what counts as a change
//! ([`fingerprint`]), the tables `article`, `feed`, `picture` and `picture_source`, and the cleaning of whatever comes from outside. Leaves to
//! `selection` which article is worth a place, and to `editions` what an editor makes of it.
//!
//! Whatever the door, an article comes in as a [`Draft`] (what was said, field by field), is made a clean one by
//! [`Draft::check`] and kept by [`store::upsert`]. The rule a newcomer would break: nothing reaches the store but
//! through a checked draft, for this is where markup, control characters and page furniture end.

pub mod article;
pub mod canonical;
pub mod draft;
pub mod fetch;
pub mod fingerprint;
pub mod formats;
pub mod guard;
pub mod import;
pub mod ingest;
pub mod picture;
pub mod poll;
pub mod push;
pub mod store;
pub mod text;

pub use article::{Article, ArticleId, Lifetime};
pub use draft::{Clean, Defaults, Draft, Refused};
