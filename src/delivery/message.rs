//! The bytes of one delivery: prepared once per revision and language, filled in per subscriber.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::tz::{Offset, TimeZone};
use tokio::sync::oneshot;

use super::ledger::{Claimed, Release};
use super::protocol::Sending;
use super::reply::Reply;
use super::session::Envelope;
use super::signing::Signing;
use super::{DeliveryId, Error, Result};
use crate::clock::{time_zone, timestamp};
use crate::config::{Config, Newsletter};
use crate::db::Db;
use crate::editions::{self, EditionId};
use crate::mail::dkim::Signer;
use crate::mail::{self, Message, Personal, Prepared};
use crate::readers::SubscriptionId;
use crate::readers::links::Links;

/// The Message-ID of a delivery, with its angle brackets: it never depends on revision or attempt.
pub fn message_id(links: &Links, delivery: DeliveryId, domain: &str) -> String {
    message_id_of(&links.delivery_token(delivery.0), domain)
}

fn message_id_of(token: &str, domain: &str) -> String {
    format!("<m.{token}@{domain}>")
}

/// The return path of a delivery: on the bounces' domain, or else on the newsletter's own.
pub fn return_path(config: &Config, links: &Links, delivery: DeliveryId, newsletter: &Newsletter) -> String {
    return_path_of(&links.delivery_token(delivery.0), config, newsletter)
}

fn return_path_of(token: &str, config: &Config, newsletter: &Newsletter) -> String {
    let domain = config.bounces.domain.as_deref().unwrap_or(newsletter.domain());
    format!("b.{token}@{domain}")
}

/// Bytes: more than the headers of most have, signed.
const HEAD: usize = 4096;

type Key = (i64, i64, String);
/// The message, or why what is personal cannot stand in it.
type Signed = std::result::Result<Message, mail::Error>;

/// Makes the bytes.
#[derive(Debug)]
pub(super) struct Composer {
    db: Db,
    config: Arc<Config>,
    links: Links,
    signers: Arc<Signers>,
    signing: Signing,
    /// Few at a time: the revisions of the editions that are being sent, in each of their languages.
    prepared: Mutex<Renderings>,
    /// Whoever reads one: all connections begin with the same.
    reading: tokio::sync::Mutex<()>,
}

/// `None`: there is no such rendering, and never will be, for a revision is frozen with all of them.
type Renderings = HashMap<Key, Option<Arc<Prepared>>>;

/// What a delivery's bytes are made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) held: &'a Claimed,
    pub(super) sending: &'a Sending,
    pub(super) newsletter: &'a Newsletter,
    /// Through which relay.
    pub(super) relay: &'a str,
    /// The civil time, in milliseconds.
    pub(super) civil: i64,
    /// Real time, in milliseconds.
    pub(super) now: i64,
}

impl Wanted<'_> {
    /// The newest approved revision, or what a doubtful one carried before.
    fn revision(&self) -> i64 {
        let before = self.held.before.as_ref().filter(|_| self.held.doubtful);
        before.map_or(self.sending.revision, |before| before.revision)
    }

    /// The languages that fit: the reader's, or else the newsletter's.
    fn languages(&self) -> [&str; 2] {
        let own = self.newsletter.language.as_str();
        [self.held.language.as_deref().unwrap_or(own), own]
    }

    fn key(&self, language: &str) -> Key {
        (self.held.edition, self.revision(), language.to_owned())
    }
}

/// One message, ready to go.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) release: Release,
    pub(super) envelope: Envelope,
    /// `None` while it is being signed, and where it is unfit.
    message: Option<Message>,
    /// What stands against it whatever the relay says: there is no body then.
    pub(super) unfit: Option<Reply>,
    /// A little more than it will have, where it is not there yet.
    size: usize,
    signing: Option<oneshot::Receiver<Signed>>,
}

impl Composed {
    /// Waits for the signature. Without it the envelope may go ahead, but nothing of the body.
    ///
    /// # Errors
    /// [`Error::Message`]: it came to nothing, and so would another.
    pub(super) async fn signed(&mut self, edition: i64) -> Result<()> {
        let Some(signing) = self.signing.take() else { return Ok(()) };
        let told = |message: String| Error::Message { edition, revision: self.release.revision, message };
        let signed = signing.await.map_err(|error| told(error.to_string()))?;
        self.message = Some(signed.map_err(|error| told(error.to_string()))?);
        Ok(())
    }

    /// How many bytes the body has, or a little more.
    pub(super) fn size(&self) -> usize {
        self.message.as_ref().map_or(self.size, Message::len)
    }

    /// Its bytes, in pieces; none before it is signed.
    pub(super) fn pieces(&self) -> Vec<&[u8]> {
        self.message.as_ref().map(Message::pieces).unwrap_or_default()
    }
}

/// The keys that mails are signed with, by domain.
pub(super) type Signers = HashMap<String, Arc<Signer>>;

/// The keys, ready to sign.
///
/// # Errors
/// The first that cannot be used, with its key in the configuration.
pub(super) fn signers(config: &Config) -> Result<Signers> {
    let mut signers = HashMap::new();
    for (domain, dkim) in &config.dkim {
        use secrecy::ExposeSecret as _;
        let signer = Signer::new(&dkim.domain, &dkim.selector, dkim.key.expose_secret().as_bytes())
            .map_err(|error| Error::Relay(format!("dkim.{domain}.key_file: {error}")))?;
        signers.insert(domain.clone(), Arc::new(signer));
    }
    Ok(signers)
}

impl Composer {
    pub(super) fn new(db: Db, config: Arc<Config>, links: Links, signers: Arc<Signers>) -> Result<Self> {
        Ok(Self {
            db,
            config,
            links,
            signers,
            signing: Signing::start()?,
            prepared: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        })
    }

    /// The bytes of this delivery.
    pub(super) async fn compose(&self, wanted: Wanted<'_>) -> Result<Composed> {
        for language in wanted.languages() {
            let key = wanted.key(language);
            let known = self.known().get(&key).cloned();
            let found = match known {
                Some(known) => known,
                None => self.read(&key).await?,
            };
            if let Some(prepared) = found {
                return self.fill(wanted, &prepared, key.2);
            }
        }
        let (edition, revision) = (wanted.held.edition, wanted.revision());
        Err(Error::Message { edition, revision, message: "nothing was rendered".to_owned() })
    }

    /// The same where nothing has to be read for it; `None` where something has.
    pub(super) fn compose_at_once(&self, wanted: Wanted<'_>) -> Option<Result<Composed>> {
        for language in wanted.languages() {
            let key = wanted.key(language);
            let known = self.known().get(&key).cloned()?;
            if let Some(prepared) = known {
                return Some(self.fill(wanted, &prepared, key.2));
            }
        }
        None
    }

    fn fill(&self, wanted: Wanted<'_>, prepared: &Arc<Prepared>, language: String) -> Result<Composed> {
        let Wanted { held, newsletter, civil, now, .. } = wanted;
        let revision = wanted.revision();
        let before = held.before.as_ref();
        let (date_at, date_offset) = match before {
            Some(before) => (before.date_at, before.date_offset),
            None => (civil, offset(held, newsletter, civil)),
        };
        let release = Release {
            delivery: held.id,
            number: held.tries + 1,
            at: now,
            relay: wanted.relay.to_owned(),
            address: held.address.clone(),
            revision,
            language,
            date_at,
            date_offset,
            consent: held.consent.written(),
        };
        let zone = Offset::from_seconds(i32::try_from(date_offset).unwrap_or(0))
            .map_or(TimeZone::UTC, TimeZone::fixed);
        let token = self.links.delivery_token(held.id.0);
        let personal = Personal {
            address: &held.address,
            message_id: &message_id_of(&token, newsletter.domain()),
            date: &timestamp(date_at).to_zoned_datetime(zone),
            subscription_token: &self.links.subscription_token(SubscriptionId(held.subscription)),
            consent: &held.consent,
        };
        let size = prepared.len() + 2048;
        let (mut message, mut signing) = (None, None);
        let filled = if let Some(signer) = self.signers.get(newsletter.domain()) {
            let fits = personal.fits().map(drop);
            signing = fits.is_ok().then(|| self.sign(&personal, prepared.clone(), signer.clone()));
            fits
        } else {
            prepared
                .clone()
                .message(&personal, None, Vec::with_capacity(HEAD))
                .map(|made| message = Some(made))
        };
        let unfit = match filled {
            Ok(()) => None,
            // No later try could be better: the reader's own words would end the header or name somebody else.
            Err(error @ mail::Error::Unfit(_)) => Some(Reply::new(553, &error.to_string())),
            Err(error) => {
                let message = error.to_string();
                return Err(Error::Message { edition: held.edition, revision, message });
            }
        };
        let from = return_path_of(&token, &self.config, newsletter);
        let envelope = Envelope { from, to: wire_address(&held.address) };
        Ok(Composed { release, envelope, message, unfit, size, signing })
    }

    /// Has it filled in and signed, by whoever has time.
    fn sign(
        &self,
        personal: &Personal<'_>,
        prepared: Arc<Prepared>,
        signer: Arc<Signer>,
    ) -> oneshot::Receiver<Signed> {
        let consent = personal.consent.clone();
        let (address, message_id) = (personal.address.to_owned(), personal.message_id.to_owned());
        let (date, token) = (personal.date.clone(), personal.subscription_token.to_owned());
        // Made here, where it is given back in the end.
        let head = Vec::with_capacity(HEAD);
        self.signing.hand(move || {
            let personal = Personal {
                address: &address,
                message_id: &message_id,
                date: &date,
                subscription_token: &token,
                consent: &consent,
            };
            prepared.message(&personal, Some(&signer), head)
        })
    }

    fn known(&self) -> MutexGuard<'_, Renderings> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the prepared bytes, and remembers them. Who waits for somebody that reads waits no longer than for the answer.
    async fn read(&self, key: &Key) -> Result<Option<Arc<Prepared>>> {
        self.db.answered(self.read_in_turn(key)).await
    }

    async fn read_in_turn(&self, key: &Key) -> Result<Option<Arc<Prepared>>> {
        let (edition, revision, language) = key;
        let _turn = self.reading.lock().await;
        if let Some(known) = self.known().get(key) {
            return Ok(known.clone());
        }
        let mut conn = self.db.read().await?;
        let found = editions::store::find_rendering(&mut conn, EditionId(*edition), *revision, language);
        let prepared = found.await?.map(|bytes| Prepared::from_bytes(&bytes)).transpose();
        let prepared = prepared.map_err(|error| {
            let message = error.to_string();
            Error::Message { edition: *edition, revision: *revision, message }
        })?;
        let prepared = prepared.map(Arc::new);
        let mut known = self.known();
        if known.len() > 64 {
            known.clear();
        }
        known.insert(key.clone(), prepared.clone());
        Ok(prepared)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::dkim::tests::broken_signer;
    use crate::mail::{Consent, Content, Language};

    #[tokio::test]
    async fn a3_what_cannot_be_signed_is_not_made_and_nothing_of_it_leaves() {
        let content: Content = serde_json::from_value(serde_json::json!({
            "newsletter": {
                "id": "test", "name": "Test", "language": "fr", "list_id": "test.example.org", "from_name": "Test",
                "from_address": "test@example.org", "public_url": "https://news.example.org"
            },
            "date": "2026-11-24",
            "items": []
        }))
        .unwrap();
        let rendered = mail::render(&content, Language::first_of(["fr"])).unwrap();
        let personal = Personal {
            address: "awa@example.org",
            message_id: "<m.1@example.org>",
            date: &timestamp(0).to_zoned_datetime(TimeZone::UTC),
            subscription_token: "token",
            consent: &Consent::default(),
        };
        let prepared = Prepared::new(&rendered, &content);
        let mut bytes = Vec::new();
        assert!(prepared.fill(&personal, Some(&broken_signer()), &mut bytes).is_err() && bytes.is_empty());
        let signed = Arc::new(prepared).message(&personal, Some(&broken_signer()), Vec::new());
        let (done, signing) = oneshot::channel();
        done.send(signed).unwrap();
        let mut composed = composed(signing);
        let told = composed.signed(7).await.unwrap_err();
        assert!(matches!(told, Error::Message { edition: 7, revision: 2, .. }), "{told}");
        assert!(told.to_string().contains("the DKIM key: signed nothing"), "{told}");
        assert!(composed.pieces().is_empty());
    }

    fn composed(signing: oneshot::Receiver<Signed>) -> Composed {
        let release = Release {
            delivery: DeliveryId(1),
            number: 1,
            at: 0,
            relay: "main".to_owned(),
            address: "awa@example.org".to_owned(),
            revision: 2,
            language: "fr".to_owned(),
            date_at: 0,
            date_offset: 0,
            consent: None,
        };
        let envelope = Envelope { from: "b.1@example.org".to_owned(), to: "awa@example.org".to_owned() };
        Composed { release, envelope, message: None, unfit: None, size: 0, signing: Some(signing) }
    }
}
