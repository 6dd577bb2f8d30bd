//! What a delivery waits for that is not final: the true cause, in words. Who asks sees what a daemon would see.

use jiff::tz::TimeZone;

use super::{House, Result, words};
use crate::clock::timestamp;
use crate::config::Newsletter;
use crate::delivery::store::Found;
use crate::delivery::{self, DeliveryState, pace, relay};
use crate::editions::{Edition, EditionState};

/// What stands between an owed delivery and its relay.
pub(super) async fn waits(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    owed: &Found,
    zone: &TimeZone,
) -> Result<Vec<String>> {
    let at = |ms: i64| words::instant(timestamp(ms), zone);
    let (now, civil) = (house.clock.now_ms(), house.clock.civil_ms());
    let reason = edition.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    match edition.state {
        EditionState::Sending => {}
        EditionState::Held => {
            return Ok(vec![format!(
                "It waits because its edition is held{reason}: nothing leaves until `matinale edition resume`."
            )]);
        }
        EditionState::Locked => {
            return Ok(vec![
                "It waits for its edition to be sent: it is locked, and the clock of `matinale serve` or `matinale edition send` begins."
                    .to_owned(),
            ]);
        }
        state => return Ok(vec![format!("Its edition is {state}: nothing of it is sent any more.")]),
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
    let host = house.config.delivery.host.as_deref();
    if delivery::others_alive(&house.db, &house.clock, host).await? == 0 {
        out.push(
            "No daemon is running: nothing is sent until `matinale serve` or `matinale edition send` does."
                .to_owned(),
        );
    }
    out.extend(relays(house, newsletter, zone).await?);
    if out.is_empty() {
        out.push("It is due, and leaves when its turn comes.".to_owned());
    }
    Ok(out)
}

/// The newsletter's relays that are given nothing now, or not for everybody, each with the reason; empty where all do.
pub async fn relays(house: &House, newsletter: &Newsletter, zone: &TimeZone) -> Result<Vec<String>> {
    let at = |ms: i64| words::instant(timestamp(ms), zone);
    let mut conn = house.db.read().await?;
    let now = delivery::shared_clock(&mut conn, &house.clock).await?;
    let known = relay::store::list(&mut conn).await?;
    let paces = pace::store::list(&mut conn).await?;
    let today = house.clock.civil().to_zoned_datetime(TimeZone::UTC).date().to_string();
    let warm = pace::store::warm_list(&mut conn, &today).await?;
    drop(conn);
    let mut out = Vec::new();
    for name in &newsletter.relays {
        let one = known.iter().find(|known| known.name == *name);
        let reason = one.and_then(|one| one.reason.as_deref());
        let paused = one.and_then(|one| one.paused_until).filter(|until| *until > now);
        if let Some(until) = paused {
            let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            out.push(format!(
                "Relay {name} is paused until {}{why}; `matinale relay resume` ends that.",
                at(until)
            ));
        } else if let Some(since) = one.and_then(|one| one.down_since) {
            out.push(format!(
                "Relay {name} has been left alone since {} ({}); it is tried again and again.",
                at(since),
                reason.unwrap_or("no reason known")
            ));
        }
        for row in paces.iter().filter(|row| row.relay == *name) {
            let to = |word| {
                if row.provider.is_empty() { String::new() } else { format!(" {word} {}", row.provider) }
            };
            if let Some(until) = row.suspended_until.filter(|until| *until > now) {
                let said = row.reply.as_deref().map(|said| format!(" ({said})")).unwrap_or_default();
                out.push(format!("Relay {name} sends nothing{} until {}{said}.", to("to"), at(until)));
            } else if let Some(since) = row.down_since {
                let why = row.reason.as_deref().unwrap_or("no reason known");
                out.push(format!("Relay {name} has had trouble{} since {} ({why}).", to("with"), at(since)));
            }
        }
        for day in warm.iter().filter(|day| day.relay == *name && day.taken >= day.cap) {
            out.push(format!(
                "Relay {name} warms up: {} had today's {} mails, and has more tomorrow (UTC).",
                day.provider, day.cap
            ));
        }
    }
    Ok(out)
}
