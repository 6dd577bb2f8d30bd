//! The whole story of one delivery, or of why there is none, in words on one screen.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{House, Result, waits, words};
use crate::config::Newsletter;
use crate::delivery::{self, Attempt, Record};
use crate::editions::{self, EditionState};
use crate::readers::{self, Address, SubscriberId};

/// Tells the story, a sentence a line.
pub async fn why(
    house: &House,
    newsletter: &Newsletter,
    date: Date,
    address: &Address,
) -> Result<Vec<String>> {
    let mut conn = house.db.read().await?;
    let mut out = Vec::new();
    let subscriber = readers::store::find(&mut conn, address).await?;
    let suppression = readers::store::find_suppression(&mut conn, &house.links, address).await?;
    let zone = subscriber
        .as_ref()
        .and_then(|subscriber| subscriber.timezone.as_deref())
        .and_then(crate::clock::time_zone)
        .unwrap_or_else(|| newsletter.timezone.clone());
    let at = |ms: i64| words::instant(crate::clock::timestamp(ms), &zone);
    match &subscriber {
        None => out.push(format!("Nobody with the address {address} is known.")),
        Some(subscriber) => {
            let wish = readers::store::subscriptions(&mut conn, subscriber.id, subscriber.id)
                .await?
                .into_iter()
                .find(|wish| wish.newsletter == newsletter.id);
            out.push(match wish {
                None => format!("{address} never subscribed to {}.", newsletter.name),
                Some(wish) => match (wish.status.as_str(), wish.ended_at) {
                    ("active", _) => format!("{address} is subscribed to {}.", newsletter.name),
                    ("ended", Some(ended)) => format!(
                        "{address} said goodbye to {} on {} ({}).",
                        newsletter.name,
                        at(ended),
                        wish.ended_by.as_deref().unwrap_or("by another door")
                    ),
                    (status, _) => {
                        format!("The subscription of {address} to {} is {status}.", newsletter.name)
                    }
                },
            });
        }
    }
    if let Some(suppression) = suppression {
        let note = suppression.note.map(|note| format!(": {note}")).unwrap_or_default();
        out.push(format!(
            "The address is suppressed since {} ({}{note}).",
            at(suppression.since),
            suppression.reason
        ));
    }
    let Some(edition) = editions::store::find(&mut conn, &newsletter.id, date).await? else {
        out.push(format!("There is no edition of {date}."));
        return Ok(out);
    };
    let reason = edition.reason.clone().map(|reason| format!(": {reason}")).unwrap_or_default();
    out.push(format!("The edition of {date} is {}{reason}.", edition.state));
    let record = match &subscriber {
        Some(subscriber) => {
            let (id, domain) = (SubscriberId(subscriber.id), newsletter.domain());
            delivery::store::find_record(&mut conn, edition.id, id, &house.links, domain).await?
        }
        None => None,
    };
    let pruned = delivery::prune::pruned_at(&mut conn, edition.id).await?;
    let owed = match &subscriber {
        Some(subscriber) => {
            delivery::store::find_one(&mut conn, edition.id, SubscriberId(subscriber.id)).await?
        }
        None => None,
    };
    drop(conn);
    let waiting = owed.filter(|owed| matches!(owed.state.as_str(), "planned" | "deferred"));
    match record {
        Some(record) => {
            tell(&record, &zone, &mut out);
            if record.state == "uncertain" {
                out.push(settling(newsletter, date, address));
            }
        }
        None if edition.state == EditionState::Open => {
            out.push("Nothing is planned yet: deliveries are planned at the lock.".to_owned());
        }
        None if edition.locked_at.is_none() => {
            out.push(
                "It owes nobody a delivery: deliveries are planned at the lock, and it was never locked."
                    .to_owned(),
            );
        }
        None if pruned.is_some() => out.push(format!(
            "Its ledger was reduced to counts on {}: what became of a single delivery is not known any more.",
            at(pruned.unwrap_or_default())
        )),
        None => out.push(
            "It owes this address no delivery: at its lock there was no active, unsuppressed subscription."
                .to_owned(),
        ),
    }
    if let Some(owed) = waiting {
        out.extend(waits::waits(house, newsletter, &edition, &owed, address, &zone).await?);
    }
    Ok(out)
}

/// How a person ends doubt about one delivery.
fn settling(newsletter: &Newsletter, date: Date, address: &Address) -> String {
    let settle = format!("matinale delivery settle {} --date {date} --to {address}", newsletter.id);
    format!("To end that: `{settle} --accepted` where it is known to have arrived, or `{settle} --resend`.")
}

fn tell(record: &Record, zone: &TimeZone, out: &mut Vec<String>) {
    let at = |text: &str| text.parse().map_or_else(|_| text.to_owned(), |at| words::instant(at, zone));
    out.push(format!(
        "The delivery was due at {}, and not after {}.",
        at(&record.due_at),
        at(&record.deadline)
    ));
    if record.attempts.is_empty() {
        out.push("No try was made.".to_owned());
    }
    for (attempt, number) in record.attempts.iter().zip(1..) {
        out.push(format!("Try {number}, {}, through {}: {}", at(&attempt.at), attempt.relay, said(attempt)));
    }
    let end = match record.state.as_str() {
        "accepted" => "It was accepted by the relay.",
        "rejected" => "It was refused for good.",
        "withdrawn" => "It was withdrawn before it left: no stays no.",
        "expired" => "It expired: yesterday's morning news is not delivered tonight.",
        "uncertain" => "Nobody knows whether it arrived.",
        "claimed" => "A daemon is about to send it.",
        // What it waits for is told behind.
        _ => "",
    };
    if !end.is_empty() {
        out.push(end.to_owned());
    }
    if let Some(bounced) = &record.bounced_at {
        out.push(format!("A bounce came back at {}.", at(bounced)));
    }
    if let Some(complained) = &record.complained_at {
        out.push(format!("A complaint came back at {}.", at(complained)));
    }
    out.push(format!("Message-ID: {}", record.message_id));
}

fn said(attempt: &Attempt) -> String {
    let words = match (attempt.code, attempt.text.as_deref()) {
        (Some(code), Some(text)) => format!(" ({code} {})", text.replace('\n', " ")),
        _ => String::new(),
    };
    match attempt.outcome.as_deref() {
        Some("accepted") => format!("accepted{words}"),
        Some("deferred") => format!("deferred, not refused{words}"),
        Some("rejected") => format!("rejected{words}"),
        Some("uncertain") if attempt.code.is_some() => format!(
            "uncertain, the daemon was believed dead before an answer; when the answer came, it was sent again already: the reader may have it twice{words}"
        ),
        Some("uncertain") => "uncertain, the connection or the daemon was lost before an answer".to_owned(),
        _ => "open, on the wire".to_owned(),
    }
}
