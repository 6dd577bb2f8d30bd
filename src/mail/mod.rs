//! The mail: editions and notices as HTML and text, headers, MIME, signature.
//!
//! Pure: no clock, no database, no network. A [`Content`] says what a revision says; [`render`] says it in one
//! language; [`Prepared`] is that as bytes, with places for the few personal parts, filled in for each subscriber.
//! The rule a newcomer would break: whatever comes from outside reaches a page or a header only through escaping,
//! and a header only without line breaks.

mod around;
mod consent;
pub mod content;
pub mod dkim;
mod encode;
mod item;
pub mod language;
pub mod notice;
mod plain;
pub mod preflight;
mod prepared;
mod proposed;
mod render;
mod tongue;
mod typography;
mod view;

pub use consent::Consent;
pub use content::Content;
pub(crate) use item::kicker;
pub use language::Language;
pub use prepared::{Message, Personal, Prepared, SLOT};
pub use render::{Rendered, render};
pub(crate) use view::BRIEF_FROM;

/// Why a mail cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The template failed; it never does with what [`Content`] can hold.
    #[error("the template: {0}")]
    Template(String),
    /// The prepared bytes are not ours, or of another version.
    #[error("the prepared bytes cannot be read: {0}")]
    Prepared(String),
    /// What is personal could not stand in its place: this part of it. It is not told itself, it may be an address.
    #[error("its {0} is unfit for its place in a mail")]
    Unfit(&'static str),
    /// The key signs nothing.
    #[error("the DKIM key: {0}")]
    Key(String),
}
