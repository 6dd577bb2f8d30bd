//! `edition send`: locks if need be and delivers in this process, as one more daemon.

use std::sync::Arc;

use jiff::civil::Date;

use super::{House, Result, content, line_up, lock, preview, words};
use crate::clock::timestamp;
use crate::config::Newsletter;
use crate::delivery::{self, Counts, DeliveryId, Engine, Mode, Untaken};
use crate::editions::{self, Edition, EditionState, Who};
use crate::lifecycle::Shutdown;
use crate::mail::notice::Notice;

/// How an edition is sent.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Until every delivery is final, instead of one pass.
    pub wait: bool,
    /// Due times are ignored.
    pub now: bool,
    /// Although it was missed.
    pub late: bool,
    /// The civil clock was set by hand: it jumps to what is due next.
    pub civil: bool,
}

/// The engine of this house.
pub(super) fn engine(house: &House) -> Result<Engine> {
    Ok(Engine::new(
        Arc::clone(&house.config),
        house.db.clone(),
        house.clock.clone(),
        house.random.clone(),
        house.links.clone(),
    )?)
}

/// Sends an edition; the refusal says why not.
pub async fn send(
    house: &House,
    newsletter: &Newsletter,
    date: Date,
    how: How,
    shutdown: &Shutdown,
) -> Result<std::result::Result<Counts, String>> {
    // Before anything is locked: what cannot be sent is better told while the line-up can still be changed.
    let engine = engine(house)?;
    let edition = match house.db.unless_lost(prepare(house, newsletter, date, how)).await? {
        Ok(edition) => edition,
        Err(refused) => return Ok(Err(refused)),
    };
    let mode =
        Mode { edition: Some(edition.id), now: how.now, once: !how.wait, jump: how.civil, unrecorded: false };
    engine.see_through(mode, shutdown).await?;
    house.db.answered_at_length(close(house, &edition)).await.map(Ok)
}

/// The edition of this date, on its way.
async fn prepare(
    house: &House,
    newsletter: &Newsletter,
    date: Date,
    how: How,
) -> Result<std::result::Result<Edition, String>> {
    if how.civil
        && delivery::others_alive(&house.db, &house.clock, house.config.delivery.host.as_deref()).await? > 0
    {
        return Ok(Err("another daemon is alive: --at moves the clock of this process alone".to_owned()));
    }
    let who = Who::command_line();
    let mut edition = line_up::look(house, newsletter, date).await?;
    if matches!(edition.state, EditionState::Open | EditionState::Missed | EditionState::Skipped) {
        let warnings = match freeze(house, newsletter, &edition, how, &who).await? {
            Ok(warnings) => warnings,
            Err(refused) => return Ok(Err(refused)),
        };
        edition = line_up::look(house, newsletter, date).await?;
        lock::log(&edition, &warnings);
    }
    match edition.state {
        EditionState::Locked => {
            lock::set_state(house, &edition, EditionState::Sending, None, &who).await?;
        }
        EditionState::Sending => {}
        EditionState::Sent => return Ok(Err(format!("the edition of {date} is sent already"))),
        state => return Ok(Err(format!("the edition of {date} is {state}"))),
    }
    Ok(Ok(edition))
}

/// Locks an edition that is not locked yet; gives what should be looked at. The refusal says why not, and keeps nothing of a
/// date that is to have none.
async fn freeze(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    how: How,
    who: &Who,
) -> Result<std::result::Result<Vec<String>, String>> {
    let date = edition.date;
    if how.civil && house.clock.civil() < edition.lock_at {
        house.clock.set_civil(edition.lock_at);
    }
    let due = !edition.is_to_come() || editions::schedule::is_due(newsletter, date)?;
    let missed = edition.state == EditionState::Missed
        || (edition.state == EditionState::Open && lock::is_missed(newsletter, edition, &house.clock));
    if missed && !how.late {
        if !due {
            let id = &newsletter.id;
            return Ok(Err(format!(
                "{id} has no edition of {date}, which is past; to send one all the same: --late"
            )));
        }
        miss(house, edition, who).await?;
        return Ok(Err(format!("the edition of {date} was missed; to send it all the same: --late")));
    }
    let decides = due && house.clock.civil() >= edition.lock_at;
    let locked = lock::lock_or_refuse(house, newsletter, edition, who, decides).await?;
    Ok(locked.map(|frozen| frozen.warnings))
}

/// Keeps that an edition was missed, where it is still open.
async fn miss(house: &House, edition: &Edition, who: &Who) -> Result<()> {
    let now = house.clock.now();
    let mut tx = house.db.write().await?;
    let current = editions::store::load_or_open(&mut tx, edition, now).await?;
    if current.state == EditionState::Open {
        let (to, why) = (EditionState::Missed, Some("Its lock passed and nothing was done."));
        editions::store::set_state(&mut tx, &current, to, why, who, now).await?;
    }
    Ok(tx.commit().await?)
}

/// Where its deliveries stand; it is sent when all of them are final.
async fn close(house: &House, edition: &Edition) -> Result<Counts> {
    let counts = delivery::store::counts(&mut house.db.read().await?, edition.id).await?;
    if counts.all_final() {
        finish(house, edition).await?;
    }
    Ok(counts)
}

/// Marks an edition sent whose deliveries are all final.
async fn finish(house: &House, edition: &Edition) -> Result<()> {
    let mut tx = house.db.write().await?;
    let current = editions::store::load(&mut tx, edition.id).await?;
    if current.state == EditionState::Sending {
        let now = house.clock.now();
        editions::store::set_state(&mut tx, &current, EditionState::Sent, None, &Who::command_line(), now)
            .await?;
        // Somebody may have settled meanwhile that some of it is sent again.
        if !delivery::store::all_final(&mut tx, edition.id).await? {
            return Ok(tx.rollback().await?);
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Sends a marked copy to one address, outside the ledger, signed and with a return path as the edition's; the error says
/// of every way that was tried why it was not taken.
pub async fn test_copy(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    address: &str,
) -> Result<std::result::Result<(), String>> {
    let preview = match preview::preview_copy(house, newsletter, edition, address).await? {
        Ok(preview) => preview,
        Err(refused) => return Ok(Err(refused)),
    };
    let date = house.clock.civil().to_zoned_datetime(newsletter.timezone.clone());
    let notice = Notice {
        from_name: newsletter.from.name.as_deref().unwrap_or_default(),
        from_address: newsletter.from.email.as_ref(),
        to: address,
        message_id: &super::ears::message_id(house, newsletter.domain()),
        date: &date,
        subject: &format!("[Essai] {}", preview.subject),
        text: &preview.text,
    };
    let signer = content::signer(house, newsletter)?;
    let bytes = notice.to_bytes_with_html(&preview.html, signer.as_ref())?;
    // Of no delivery: what comes back is about nobody.
    let from = delivery::return_path(&house.config, &house.links, DeliveryId(0), newsletter);
    carry(house, newsletter, &from, address, &bytes).await
}

/// Gives a message of our own to the first of a newsletter's relays that takes mail.
async fn carry(
    house: &House,
    newsletter: &Newsletter,
    from: &str,
    to: &str,
    bytes: &[u8],
) -> Result<std::result::Result<(), String>> {
    let mut conn = house.db.read().await?;
    let now = delivery::shared_clock(&mut conn, &house.clock).await?;
    let known = delivery::relay::store::list(&mut conn).await?;
    drop(conn);
    let mut relays: Vec<_> =
        newsletter.relays.iter().filter_map(|name| house.config.relays.get(name)).collect();
    // Those that stand by come last.
    relays.sort_by_key(|relay| relay.weight == 0);
    let mut told = Vec::new();
    for relay in relays {
        let one = known.iter().find(|known| known.name == relay.name);
        if let Some(until) = one.and_then(|one| one.paused_until).filter(|until| *until > now) {
            let until = words::instant(timestamp(until), &newsletter.timezone);
            told.push(format!("relay {} is paused until {until}", relay.name));
            continue;
        }
        let Err(untaken) = delivery::send_one(house.with(), relay, from, to, bytes).await else {
            return Ok(Ok(()));
        };
        told.push(format!("relay {}: {untaken}", relay.name));
        if matches!(untaken, Untaken::Said(_)) {
            break;
        }
    }
    Ok(Err(told.join("; ")))
}
