//! An edition as one reader gets it: as it stands before the lock, and out of the frozen bytes after it.
//!
//! Pure reading. The rule a newcomer would break: what a reader has got is shown as they got it, whatever was
//! corrected since (P6); only what nobody has yet is the newest.

use jiff::ZonedDateTime;
use mail_parser::MessageParser;

use super::content::{findings, load, signer};
use super::{House, Result};
use crate::clock::{time_zone, timestamp};
use crate::config::{Newsletter, values};
use crate::delivery::{self, DeliveryId, store::Found};
use crate::editions::{self, Edition};
use crate::mail::preflight::Finding;
use crate::mail::{self, Consent, Content, Language, Personal, Prepared, Rendered};
use crate::readers::store::{Subscriber, Subscription};
use crate::readers::{self, Address, SubscriberId, SubscriptionId};

/// An edition as a reader would see it.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The subject.
    pub subject: String,
    /// The HTML part, filled in.
    pub html: String,
    /// The text part, filled in.
    pub text: String,
    /// The bytes of the wire, not dot-stuffed.
    pub eml: Vec<u8>,
    /// What is to be looked at before it goes out.
    pub findings: Vec<Finding>,
}

/// Who it is shown for, as far as they are known.
#[derive(Default)]
struct Reader {
    address: Option<Address>,
    subscriber: Option<Subscriber>,
    subscription: Option<Subscription>,
    delivery: Option<Found>,
}

/// What the mail is made of.
struct Made {
    content: Content,
    language: Language,
    rendered: Rendered,
    prepared: Prepared,
    /// Whether these are the bytes of a revision.
    frozen: bool,
}

/// Shows an edition as this address gets it, or a sample reader. Two calls give the same bytes.
pub async fn preview(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    address: Option<&str>,
) -> Result<std::result::Result<Preview, String>> {
    show(house, newsletter, edition, address, true).await
}

/// The same for a copy that goes from hand to hand: its links end nobody's subscription.
pub(super) async fn preview_copy(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    address: &str,
) -> Result<std::result::Result<Preview, String>> {
    show(house, newsletter, edition, Some(address), false).await
}

/// `own_links`: they are the reader's, where there is one.
async fn show(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    address: Option<&str>,
    own_links: bool,
) -> Result<std::result::Result<Preview, String>> {
    let reader = match address.map(|text| (text, text.parse::<Address>())) {
        Some((text, Err(error))) => return Ok(Err(format!("{text:?} {error}"))),
        Some((_, Ok(address))) => reader(house, newsletter, edition, address).await?,
        None => Reader::default(),
    };
    let made = made(house, newsletter, edition, &reader).await?;
    let whose = reader.subscription.as_ref().filter(|_| own_links);
    let subscription = SubscriptionId(whose.map_or(0, |wish| wish.id));
    let delivery = DeliveryId(reader.delivery.as_ref().map_or(0, |delivery| delivery.id));
    let token = house.links.subscription_token(subscription);
    let message_id = delivery::message_id(&house.links, delivery, newsletter.domain());
    let sample = format!("lecteur@{}", newsletter.domain());
    let consent = reader.consent(edition);
    let personal = Personal {
        address: reader.address.as_ref().map_or(sample.as_str(), Address::as_str),
        message_id: &message_id,
        date: &reader.date(newsletter, edition),
        subscription_token: &token,
        consent: &consent,
    };
    let signer = signer(house, newsletter).map_err(|error| super::Error::Start(error.to_string()))?;
    let mut eml = Vec::new();
    made.prepared.fill(&personal, signer.as_ref(), &mut eml)?;
    let findings = findings(house, newsletter, &made.content, &[(made.language, &made.rendered)]).await?;
    let Rendered { subject, mut html, mut text, .. } = made.rendered.filled(&token, &consent);
    // A later version of the house may render the same words otherwise.
    if let Some(message) = made.frozen.then(|| MessageParser::default().parse(&eml)).flatten() {
        let part = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.replace("\r\n", "\n"));
        html = part(message.body_html(0)).unwrap_or(html);
        text = part(message.body_text(0)).unwrap_or(text);
    }
    Ok(Ok(Preview { subject, html, text, eml, findings }))
}

async fn reader(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    address: Address,
) -> Result<Reader> {
    let mut conn = house.db.read().await?;
    let subscriber = readers::store::find(&mut conn, &address).await?;
    let (mut subscription, mut delivery) = (None, None);
    if let Some(subscriber) = &subscriber {
        let wishes = readers::store::subscriptions(&mut conn, subscriber.id, subscriber.id).await?;
        subscription = wishes.into_iter().find(|wish| wish.newsletter == newsletter.id);
        delivery = delivery::store::find_one(&mut conn, edition.id, SubscriberId(subscriber.id)).await?;
    }
    Ok(Reader { address: Some(address), subscriber, subscription, delivery })
}

impl Reader {
    /// What their mail says of their consent; a sample reader asked for it a year ago.
    fn consent(&self, edition: &Edition) -> Consent {
        match (&self.subscription, &self.delivery) {
            (_, Some(delivery)) if delivery.revision.is_some() => {
                delivery.consent.as_deref().map(Consent::read).unwrap_or_default()
            }
            (Some(wish), _) => {
                Consent::of(wish.consented_at.as_deref(), wish.confirmed_at, wish.consent_source.as_deref())
            }
            (None, _) => Consent::sample(edition.date.checked_sub(jiff::Span::new().years(1)).ok()),
        }
    }

    /// The Date of their mail: of its first release, else when it is due.
    fn date(&self, newsletter: &Newsletter, edition: &Edition) -> ZonedDateTime {
        let zone = self
            .subscriber
            .as_ref()
            .and_then(|subscriber| subscriber.timezone.as_deref())
            .and_then(time_zone)
            .unwrap_or_else(|| newsletter.timezone.clone());
        if let Some(delivery) = &self.delivery {
            return timestamp(delivery.date_at).to_zoned_datetime(zone);
        }
        let hour = self
            .subscription
            .as_ref()
            .and_then(|wish| wish.send_at.as_deref())
            .or_else(|| self.subscriber.as_ref().and_then(|subscriber| subscriber.send_at.as_deref()))
            .and_then(|hour| values::time_of_day(hour).ok())
            .unwrap_or(newsletter.send_at);
        let morning = super::lock::morning_of(newsletter, edition, edition.lock_at);
        delivery::due::instants(&morning, &zone, hour).due.to_zoned_datetime(zone)
    }
}

/// The mail in the reader's language: of the revision that they got or would get, else of the line-up as it stands.
async fn made(house: &House, newsletter: &Newsletter, edition: &Edition, reader: &Reader) -> Result<Made> {
    let carried = reader.delivery.as_ref().and_then(|got| Some((got.revision?, got.language.as_deref()?)));
    let own = reader.subscriber.as_ref().and_then(|subscriber| subscriber.language.as_deref());
    let wanted = carried.map(|(_, language)| language).or(own).unwrap_or(&newsletter.language);
    let language = Language::first_of([wanted, newsletter.language.as_str()]);
    let revision = carried.map_or(edition.revision, |(revision, _)| revision);
    let mut conn = house.db.read().await?;
    let content = match editions::store::find_content(&mut conn, edition.id, revision).await? {
        Some(text) => serde_json::from_str::<Content>(&text).ok(),
        None => None,
    };
    let mut bytes = None;
    for tag in [wanted, newsletter.language.as_str()] {
        if bytes.is_none() && content.is_some() {
            bytes = editions::store::find_rendering(&mut conn, edition.id, revision, tag).await?;
        }
    }
    let content = if let Some(content) = content {
        content
    } else {
        let proposal = super::line_up::propose(&mut conn, newsletter, edition).await?;
        drop(conn);
        load(house, newsletter, edition, &super::line_up::line_up_of(&proposal)).await?
    };
    let rendered = mail::render(&content, language)?;
    let frozen = bytes.and_then(|bytes| Prepared::from_bytes(&bytes).ok());
    Ok(Made {
        frozen: frozen.is_some(),
        prepared: frozen.unwrap_or_else(|| Prepared::new(&rendered, &content)),
        content,
        language,
        rendered,
    })
}
