//! What a delivery waits for that is not final: the true cause, in words. Who asks sees what a daemon would see.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::{House, Result, words};
use crate::clock::timestamp;
use crate::config::Newsletter;
use crate::db::Conn;
use crate::delivery::pace::Providers;
use crate::delivery::store::Found;
use crate::delivery::{self, DeliveryState, pace, relay};
use crate::editions::{Edition, EditionState};
use crate::readers::Address;

/// What stands between an owed delivery and its relay.
pub(super) async fn waits(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    owed: &Found,
    address: &Address,
    zone: &TimeZone,
) -> Result<Vec<String>> {
    let at = |ms: i64| words::instant(timestamp(ms), zone);
    let (now, civil) = (house.clock.now_ms(), house.clock.civil_ms());
    if let Some(told) = rests(newsletter, edition) {
        return Ok(vec![told]);
    }
    if owed.deadline <= civil {
        return Ok(vec![
            "Its deadline has passed: the next daemon that looks ends it, and sends nothing.".to_owned(),
        ]);
    }
    let mut out = Vec::new();
    let fresh = owed.state == DeliveryState::Planned.as_str();
    let clock = if fresh { civil } else { now };
    let put_off = owed.next_at > if fresh { owed.due_at } else { 0 } && owed.next_at > clock;
    if fresh && !put_off && owed.next_at > civil {
        out.push(format!("It waits for its hour: {}.", at(owed.due_at)));
    } else if put_off && owed.tries > 0 {
        out.push(format!("Its next try is at {}.", at(owed.next_at)));
    } else if put_off {
        out.push(format!(
            "It was put off until {}: whoever would take it takes no more before then.",
            at(owed.next_at)
        ));
    }
    out.extend(nobody_sends(house, newsletter, edition).await?);
    out.extend(relays(house, newsletter, Some(address.as_str()), zone).await?);
    if out.is_empty() {
        out.push("It is due, and leaves when its turn comes.".to_owned());
    }
    Ok(out)
}

/// What keeps all of an edition from leaving, whatever its relays do; `None` where nothing does.
pub(super) async fn stop(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
) -> Result<Option<String>> {
    match rests(newsletter, edition) {
        Some(told) => Ok(Some(told)),
        None => nobody_sends(house, newsletter, edition).await,
    }
}

/// That an edition is not being sent, and what ends that.
fn rests(newsletter: &Newsletter, edition: &Edition) -> Option<String> {
    let reason = edition.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let of = format!("{} --date {}", newsletter.id, edition.date);
    match edition.state {
        EditionState::Sending => None,
        EditionState::Held => Some(format!(
            "It waits because its edition is held{reason}: nothing leaves until `matinale edition resume {of}`."
        )),
        EditionState::Locked => Some(format!(
            "It waits for its edition to be sent: it is locked, and the clock of `matinale serve` or `matinale edition send \
             {of}` begins."
        )),
        state => Some(format!("Its edition is {state}: nothing of it is sent any more.")),
    }
}

/// That no daemon is running, where none is.
async fn nobody_sends(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<Option<String>> {
    let host = house.config.delivery.host.as_deref();
    if delivery::others_alive(&house.db, &house.clock, host).await? > 0 {
        return Ok(None);
    }
    Ok(Some(format!(
        "No daemon is running: nothing is sent until `matinale serve` or `matinale edition send {} --date {}` does.",
        newsletter.id, edition.date
    )))
}

/// The newsletter's relays that are given nothing now, or not for everybody, each with the reason; empty where all do.
///
/// Of the receiving providers those that there are rules for are told one by one, and the others together. With a reader's
/// `address` only its own provider is told, where somebody knows which that is: the troubles of others are not its own.
pub async fn relays(
    house: &House,
    newsletter: &Newsletter,
    address: Option<&str>,
    zone: &TimeZone,
) -> Result<Vec<String>> {
    let at = |ms: i64| words::instant(timestamp(ms), zone);
    let mut conn = house.db.read().await?;
    let now = delivery::shared_clock(&mut conn, &house.clock).await?;
    let known = relay::store::list(&mut conn).await?;
    let mut troubles = troubles(house, newsletter, &mut conn, now, zone).await?;
    drop(conn);
    let providers =
        Providers::load(house.config.delivery.providers_file.as_deref()).map_err(delivery::Error::Rules)?;
    let own = match address {
        // Nobody is asked about a domain where that would tell nothing apart.
        Some(address) if troubles.iter().any(|trouble| !trouble.provider.is_empty()) => {
            let of = (&house.db, &house.clock, &house.random);
            delivery::provider_of(of, &house.config, &providers, address).await
        }
        _ => None,
    };
    if let Some(own) = &own {
        troubles.retain(|trouble| trouble.provider.is_empty() || trouble.provider == *own);
    }
    let mut out = Vec::new();
    for name in &newsletter.relays {
        let one = known.iter().find(|known| known.name == *name);
        let reason = one.and_then(|one| one.reason.as_deref());
        let paused = one.and_then(|one| one.paused_until).filter(|until| *until > now);
        if let Some(until) = paused {
            let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            out.push(format!(
                "Relay {name} is paused until {}{why}; `matinale relay resume {name}` ends that.",
                at(until)
            ));
        } else if let Some(since) = one.and_then(|one| one.down_since) {
            out.push(format!(
                "Relay {name} has been left alone since {} ({}); it is tried again and again.",
                at(since),
                reason.unwrap_or("no reason known")
            ));
        }
        let of_it = troubles.iter().filter(|trouble| trouble.relay == *name);
        let (alone, others): (Vec<&Trouble>, Vec<&Trouble>) =
            of_it.partition(|trouble| own.is_some() || pace::stands_alone(&trouble.provider, &providers));
        out.extend(alone.into_iter().map(|trouble| trouble.told.clone()));
        let names = |stopped: bool| -> BTreeSet<&str> {
            let of_these = others.iter().filter(|trouble| trouble.stopped == stopped);
            of_these.map(|trouble| trouble.provider.as_str()).collect()
        };
        let (stopped, troubled) = (names(true), names(false));
        let counted = [
            ("sends nothing just now to", stopped.len()),
            ("has had trouble with", troubled.difference(&stopped).count()),
        ];
        let told: Vec<String> = counted
            .iter()
            .filter(|(_, many)| *many > 0)
            .map(|(what, many)| format!("{what} {many}"))
            .collect();
        if !told.is_empty() {
            out.push(format!(
                "Relay {name} {} of the smaller receiving providers; `matinale relay list` tells which.",
                told.join(" and ")
            ));
        }
    }
    Ok(out)
}

/// Why one receiving provider, or everybody behind a relay, is given nothing, or less than it could be.
struct Trouble {
    relay: String,
    /// Empty for the relay as a whole.
    provider: String,
    /// Nothing at all is sent just now.
    stopped: bool,
    told: String,
}

async fn troubles(
    house: &House,
    newsletter: &Newsletter,
    conn: &mut Conn,
    now: i64,
    zone: &TimeZone,
) -> Result<Vec<Trouble>> {
    let at = |ms: i64| words::instant(timestamp(ms), zone);
    let today = house.clock.civil().to_zoned_datetime(TimeZone::UTC).date().to_string();
    let mut out = Vec::new();
    for row in pace::store::list(conn).await?.into_iter().filter(|row| newsletter.relays.contains(&row.relay))
    {
        let name = &row.relay;
        let to = |word| {
            if row.provider.is_empty() { String::new() } else { format!(" {word} {}", row.provider) }
        };
        let suspended = row.suspended_until.filter(|until| *until > now);
        let told = if let Some(until) = suspended {
            let said = row.reply.as_deref().map(|said| format!(" ({said})")).unwrap_or_default();
            format!("Relay {name} sends nothing{} until {}{said}.", to("to"), at(until))
        } else if let Some(since) = row.down_since {
            let why = row.reason.as_deref().unwrap_or("no reason known");
            format!("Relay {name} has had trouble{} since {} ({why}).", to("with"), at(since))
        } else {
            continue;
        };
        out.push(Trouble { relay: row.relay, provider: row.provider, stopped: suspended.is_some(), told });
    }
    let spent = pace::store::warm_list(conn, &today).await?.into_iter().filter(|day| day.taken >= day.cap);
    out.extend(spent.map(|day| {
        let told = format!(
            "Relay {} warms up: {} had today's {} mails, and has more tomorrow (UTC).",
            day.relay, day.provider, day.cap
        );
        Trouble { relay: day.relay, provider: day.provider, stopped: true, told }
    }));
    Ok(out)
}
