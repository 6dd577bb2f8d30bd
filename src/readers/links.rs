//! The tokens in links, Message-IDs and return paths: opaque, made under one key, valid for as long as mails live.
//!
//! A token is lower-case base32 (some servers fold the case of local parts) of the id and 80 bits of HMAC-SHA-256
//! over the purpose and the id. The purpose inside keeps a token of one kind from opening another's door.

use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, Encoding};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::SubscriptionId;

const MAC: usize = 10;

/// Makes and reads tokens; cheap to clone. Never prints its key.
#[derive(Clone)]
pub struct Links(Arc<Hmac<Sha256>>);

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Links")
    }
}

impl Links {
    /// Links under this key.
    pub fn new(secret: &[u8]) -> Self {
        Self(Arc::new(Hmac::new_from_slice(secret).expect("HMAC takes keys of every length")))
    }

    /// The token in a subscriber's links for one newsletter.
    pub fn subscription_token(&self, id: SubscriptionId) -> String {
        self.token(b"subscription", id.0)
    }

    /// The subscription that a token belongs to; `None` for what we did not make.
    pub fn subscription_of(&self, token: &str) -> Option<SubscriptionId> {
        self.id(b"subscription", token).map(SubscriptionId)
    }

    /// The token in a delivery's Message-ID and return path.
    pub fn delivery_token(&self, delivery: i64) -> String {
        self.token(b"delivery", delivery)
    }

    /// The delivery that a token belongs to; `None` for what we did not make.
    pub fn delivery_of(&self, token: &str) -> Option<i64> {
        self.id(b"delivery", token)
    }

    /// The token that confirms a subscription.
    pub fn confirmation_token(&self, id: SubscriptionId) -> String {
        self.token(b"confirmation", id.0)
    }

    /// The subscription that a confirmation belongs to.
    pub fn confirmation_of(&self, token: &str) -> Option<SubscriptionId> {
        self.id(b"confirmation", token).map(SubscriptionId)
    }

    /// What stands for an address once its owner is erased: nobody can read it back without the key.
    pub fn key_hash(&self, key: &str) -> String {
        let mut mac = (*self.0).clone();
        mac.update(b"address\0");
        mac.update(key.as_bytes());
        encoding().encode(&mac.finalize().into_bytes()[..20])
    }

    fn mac(&self, purpose: &[u8], id: &[u8]) -> Hmac<Sha256> {
        let mut mac = (*self.0).clone();
        mac.update(purpose);
        mac.update(b"\0");
        mac.update(id);
        mac
    }

    fn token(&self, purpose: &[u8], id: i64) -> String {
        let bytes = id.to_be_bytes();
        let short = &bytes[usize::try_from(id.leading_zeros() / 8).unwrap_or(0).min(7)..];
        let mut out = short.to_vec();
        out.extend_from_slice(&self.mac(purpose, short).finalize().into_bytes()[..MAC]);
        encoding().encode(&out)
    }

    fn id(&self, purpose: &[u8], token: &str) -> Option<i64> {
        let bytes = encoding().decode(token.to_ascii_lowercase().as_bytes()).ok()?;
        let split = bytes.len().checked_sub(MAC).filter(|length| (1..=8).contains(length))?;
        let (short, mac) = bytes.split_at(split);
        self.mac(purpose, short).verify_truncated_left(mac).ok()?;
        let mut wide = [0; 8];
        wide[8 - short.len()..].copy_from_slice(short);
        Some(i64::from_be_bytes(wide))
    }
}

/// Base32 without padding, lower case.
fn encoding() -> &'static Encoding {
    static ENCODING: std::sync::OnceLock<Encoding> = std::sync::OnceLock::new();
    ENCODING.get_or_init(|| {
        let mut specification = BASE32_NOPAD.specification();
        specification.symbols = specification.symbols.to_ascii_lowercase();
        specification.encoding().expect("lower-case base32 is an encoding")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w2_a_token_opens_its_own_door_only() {
        let links = Links::new(b"key");
        for id in [0, 1, 255, 256, 1_000_000, i64::MAX] {
            let token = links.subscription_token(SubscriptionId(id));
            assert!(
                token.len() <= 32 && token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
                "{token}"
            );
            assert_eq!(links.subscription_of(&token), Some(SubscriptionId(id)));
            assert_eq!(links.subscription_of(&token.to_ascii_uppercase()), Some(SubscriptionId(id)));
            assert_eq!(links.delivery_of(&token), None);
            assert_eq!(Links::new(b"other").subscription_of(&token), None);
        }
    }

    #[test]
    fn w2_what_we_did_not_make_opens_nothing() {
        let links = Links::new(b"key");
        let token = links.delivery_token(42);
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(links.delivery_of(std::str::from_utf8(&forged).unwrap()), None);
        }
        for text in ["", "a", "zzzz", "../../etc", "é", &"a".repeat(1000)] {
            assert_eq!(links.delivery_of(text), None, "{text}");
        }
    }
}
