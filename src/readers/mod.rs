//! Readers: who they are, what they wished for and since when, and who must not be written to.
//!
//! Owns the tables `subscriber`, `subscription` and `suppression`, and the links that mails carry.
//! The rule a newcomer would break: no stays no (P4). Nothing but the reader's own act makes an ended subscription
//! active again, and nothing at all that an import brings.

mod address;
pub mod copy;
pub mod import;
pub mod links;
pub mod sample;
pub mod store;

use serde::{Deserialize, Serialize};

pub use address::{Address, AddressError, is_local_part};

/// A subscriber's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubscriberId(pub i64);

/// A subscription's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubscriptionId(pub i64);

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Asked for, and not yet confirmed.
    Pending,
    /// Wanted.
    Active,
    /// Not wanted any more.
    Ended,
}

impl Status {
    /// The word in tables and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Ended => "ended",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "pending" => Ok(Self::Pending),
            "active" => Ok(Self::Active),
            "ended" => Ok(Self::Ended),
            _ => Err(()),
        }
    }
}
