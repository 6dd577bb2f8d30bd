//! The bytes of one delivery: prepared once per revision and language, filled in per subscriber.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::{Offset, TimeZone};
use tokio::sync::Mutex;

use super::ledger::{Claimed, Release};
use super::protocol::{self, Sending};
use super::reply::Reply;
use super::session::Envelope;
use super::{DeliveryId, Error, Result};
use crate::clock::{time_zone, timestamp};
use crate::config::{Config, Newsletter};
use crate::db::Db;
use crate::mail::dkim::Signer;
use crate::mail::{self, Personal, Prepared};
use crate::readers::SubscriptionId;
use crate::readers::links::Links;

/// The Message-ID of a delivery, with its angle brackets: it never depends on revision or attempt.
pub fn message_id(links: &Links, delivery: DeliveryId, domain: &str) -> String {
    format!("<m.{}@{domain}>", links.delivery_token(delivery.0))
}

type Key = (i64, i64, String);

/// Makes the bytes.
#[derive(Debug)]
pub(super) struct Composer {
    db: Db,
    config: Arc<Config>,
    links: Links,
    signers: HashMap<String, Signer>,
    /// Few at a time: the revisions of the editions that are being sent, in each of their languages.
    prepared: Mutex<HashMap<Key, Arc<Prepared>>>,
}

/// One message, ready to go.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) release: Release,
    pub(super) envelope: Envelope,
    pub(super) body: Vec<u8>,
    /// What stands against it whatever the relay says: there is no body then.
    pub(super) unfit: Option<Reply>,
}

/// The keys that mails are signed with, by domain.
pub(super) fn signers(config: &Config) -> Result<HashMap<String, Signer>> {
    let mut signers = HashMap::new();
    for (domain, dkim) in &config.dkim {
        use secrecy::ExposeSecret as _;
        let signer = Signer::new(&dkim.domain, &dkim.selector, dkim.key.expose_secret().as_bytes())
            .map_err(|error| Error::Relay(format!("dkim.{domain}.key_file: {error}")))?;
        signers.insert(domain.clone(), signer);
    }
    Ok(signers)
}

impl Composer {
    pub(super) fn new(db: Db, config: Arc<Config>, links: Links) -> Result<Self> {
        let signers = signers(&config)?;
        Ok(Self { db, config, links, signers, prepared: Mutex::default() })
    }

    /// The bytes of this delivery: the newest approved revision, or what a doubtful one carried before.
    pub(super) async fn compose(
        &self,
        held: &Claimed,
        sending: &Sending,
        newsletter: &Newsletter,
        relay: &str,
        civil: i64,
        now: i64,
    ) -> Result<Composed> {
        let before = held.before.as_ref();
        let revision = before.filter(|_| held.doubtful).map_or(sending.revision, |before| before.revision);
        let wanted = held.language.as_deref().unwrap_or(&newsletter.language);
        let (prepared, language) = self.prepared(held.edition, revision, wanted, newsletter).await?;
        let (date_at, date_offset) = match before {
            Some(before) => (before.date_at, before.date_offset),
            None => (civil, offset(held, newsletter, civil)),
        };
        let release = Release {
            delivery: held.id,
            number: held.tries + 1,
            at: now,
            relay: relay.to_owned(),
            address: held.address.clone(),
            revision,
            language,
            date_at,
            date_offset,
            consent: held.consent.written(),
        };
        let mut body = Vec::with_capacity(prepared.len() + 2048);
        let zone = Offset::from_seconds(i32::try_from(date_offset).unwrap_or(0))
            .map_or(TimeZone::UTC, TimeZone::fixed);
        let personal = Personal {
            address: &held.address,
            message_id: &message_id(&self.links, held.id, newsletter.domain()),
            date: &timestamp(date_at).to_zoned_datetime(zone),
            subscription_token: &self.links.subscription_token(SubscriptionId(held.subscription)),
            consent: &held.consent,
        };
        let unfit = match prepared.fill(&personal, self.signers.get(newsletter.domain()), &mut body) {
            Ok(()) => None,
            // No later try could be better: the reader's own words would end the header or name somebody else.
            Err(error @ mail::Error::Unfit(_)) => Some(Reply::new(553, &error.to_string())),
            Err(error) => {
                let message = error.to_string();
                return Err(Error::Message { edition: held.edition, revision, message });
            }
        };
        let domain = self.config.bounces.domain.as_deref().unwrap_or(newsletter.domain());
        let from = format!("b.{}@{domain}", self.links.delivery_token(held.id.0));
        Ok(Composed { release, envelope: Envelope { from, to: wire_address(&held.address) }, body, unfit })
    }

    /// The prepared bytes in this language, or in the newsletter's where there are none.
    async fn prepared(
        &self,
        edition: i64,
        revision: i64,
        language: &str,
        newsletter: &Newsletter,
    ) -> Result<(Arc<Prepared>, String)> {
        for language in [language, &newsletter.language] {
            let key = (edition, revision, language.to_owned());
            let mut cache = self.prepared.lock().await;
            if let Some(found) = cache.get(&key) {
                return Ok((found.clone(), key.2));
            }
            let mut conn = self.db.read().await?;
            if let Some(bytes) = protocol::rendering(&mut conn, edition, revision, language).await? {
                let prepared = Prepared::from_bytes(&bytes).map_err(|error| Error::Message {
                    edition,
                    revision,
                    message: error.to_string(),
                })?;
                let prepared = Arc::new(prepared);
                if cache.len() > 64 {
                    cache.clear();
                }
                cache.insert(key.clone(), prepared.clone());
                return Ok((prepared, key.2));
            }
        }
        Err(Error::Message { edition, revision, message: "nothing was rendered".to_owned() })
    }
}

/// The recipient's offset from UTC, in seconds, for the Date.
fn offset(held: &Claimed, newsletter: &Newsletter, civil: i64) -> i64 {
    let zone = held.timezone.as_deref().and_then(time_zone).unwrap_or_else(|| newsletter.timezone.clone());
    i64::from(zone.to_offset(timestamp(civil)).seconds())
}

/// The address as it stands in RCPT: the domain in A-labels.
pub(super) fn wire_address(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => {
            format!("{local}@{}", crate::config::domain(domain).unwrap_or_else(|_| domain.to_owned()))
        }
        None => address.to_owned(),
    }
}
