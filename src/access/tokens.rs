//! Push tokens: made once, shown once, revoked by name.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::clock::Random;
use crate::db::{Conn, Result};

mod store;

pub use store::{list, revoke};

/// What every token begins with, so that a leaked one is found by those who look for leaks.
const PREFIX: &str = "matinale_";

/// A token as it is listed.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Token {
    /// Its name.
    pub name: String,
    /// Since when it exists, in milliseconds.
    pub created_at: i64,
    /// When it was used last, in milliseconds.
    pub last_used_at: Option<i64>,
    /// When it was revoked, in milliseconds.
    pub revoked_at: Option<i64>,
}

/// Makes a token of this name; the text is shown this once. `None` when the name is taken.
pub async fn create(conn: &mut Conn, name: &str, random: &Random, now: Timestamp) -> Result<Option<String>> {
    let token = format!("{PREFIX}{}", BASE32_NOPAD.encode(&random.bytes::<20>()).to_ascii_lowercase());
    Ok(store::insert(conn, name, &hash(&token), now).await?.then_some(token))
}

/// The name of the token that this text is; `None` for what we did not make, or revoked. Needs a connection that may
/// write, for the moment of its use is kept.
pub async fn verify(conn: &mut Conn, text: &str, now: Timestamp) -> Result<Option<String>> {
    // Found by its hash: how long that takes tells nothing about the token.
    store::used(conn, &hash(text), now).await
}

fn hash(token: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}
