//! One look of the clock at every newsletter and every edition that is not over.
//!
//! Idempotent, and safe for several daemons at once: each step is a conditional move in its own transaction, so a
//! second daemon, a restart or a kill between two steps finds the work done or does it. What is due is found by
//! date from the rule and from the rows, never from a timer that fired.

mod troubles;
mod undone;

use std::time::Duration;

use jiff::Timestamp;

use super::alert::{self, Cause};
use super::lock::{self, Locked};
use super::{House, Result, store, warm_up};
use crate::articles::poll;
use crate::clock::timestamp;
use crate::config::{Approval, Newsletter};
use crate::db::Conn;
use crate::delivery;
use crate::editions::store::Live;
use crate::editions::{self, Edition, EditionState, Who, schedule};
pub use troubles::Troubles;
use undone::Steps;
pub use undone::{Failure, Undone};

/// How often the line-up of an open edition is refreshed.
const REFRESH: Duration = Duration::from_secs(300);
/// A relay that is down for less is not worth waking anybody.
const RELAY_DOWN: Duration = Duration::from_secs(60);
/// Nor is a receiving provider that had less mail of ours than this.
const WORTH_TELLING: i64 = 100;
/// After a long absence only the newest locks are looked at one by one: the older ones are history.
const LOOK_BACK: usize = 7;

/// Does everything that is due now. A step that fails keeps none of the others from being done: one odd article or row
/// is one newsletter's trouble, and no other's morning.
///
/// # Errors
/// What could not be done.
pub async fn tick(house: &House) -> std::result::Result<(), Undone> {
    let mut steps = Steps::default();
    for newsletter in house.config.newsletters.values() {
        let opened = open_due(house, newsletter).await;
        if steps.took(Some(&newsletter.id), "its next editions", opened)?.is_some() {
            steps.wrote();
        }
    }
    let live = editions::store::list_live(&mut house.db.read().await?).await?;
    for edition in live {
        let Some(newsletter) = house.config.newsletters.get(edition.newsletter()) else {
            if let Live::Edition(edition) = edition {
                let ended = end_alone(house, &edition).await;
                steps.took(
                    None,
                    format_args!("the edition of {} of {}", edition.date, edition.newsletter),
                    ended,
                )?;
            }
            continue;
        };
        match edition {
            Live::Edition(edition) => {
                let advanced = advance(house, newsletter, &edition).await;
                steps.took(
                    Some(&newsletter.id),
                    format_args!("the edition of {}", edition.date),
                    advanced,
                )?;
            }
            Live::Unreadable(_, error) => {
                steps.took(Some(&newsletter.id), "an edition", Err::<(), _>(error))?;
            }
        }
    }
    steps.took(None, "relays that take nothing", watch_relays(house).await)?;
    steps.took(None, "providers that take nothing", watch_providers(house).await)?;
    steps.took(None, "feeds that bring nothing", watch_feeds(house).await)?;
    steps.end()
}

/// Raises the alarms about relays that take nothing.
async fn watch_relays(house: &House) -> Result<()> {
    let mut conn = house.db.read().await?;
    let now = shared(house, &mut conn).await?;
    let relays = delivery::relay::store::list(&mut conn).await?;
    drop(conn);
    let down = |relay: delivery::relay::store::Known| {
        let since = relay.down_since.map(timestamp)?;
        let lasts = passed(since, now) >= RELAY_DOWN;
        lasts.then(|| Cause::RelayDown(relay.name, since, relay.reason.unwrap_or_default()))
    };
    raise_for_all(house, relays.into_iter().filter_map(down).collect()).await
}

/// The time by which daemons note what takes nothing. A process that does not send hears it from nobody else.
async fn shared(house: &House, conn: &mut Conn) -> Result<Timestamp> {
    Ok(timestamp(delivery::shared_clock(conn, &house.clock).await?))
}

/// Raises the alarms about receiving providers that take nothing.
async fn watch_providers(house: &House) -> Result<()> {
    let mut conn = house.db.read().await?;
    let now = shared(house, &mut conn).await?;
    let rows = delivery::pace::store::list(&mut conn).await?;
    drop(conn);
    let mut causes = Vec::new();
    for row in rows.into_iter().filter(|row| !row.provider.is_empty()) {
        let Some(since) = row.down_since.map(timestamp) else { continue };
        // One small domain out of reach is that domain's own trouble.
        let many = row.accepted + row.deferred + row.rejected >= WORTH_TELLING;
        if many && passed(since, now) >= RELAY_DOWN {
            let name = format!("{} (through {})", row.provider, row.relay);
            causes.push(Cause::ProviderDown(name, since, row.reason.unwrap_or_default()));
        }
    }
    raise_for_all(house, causes).await
}

/// Raises the alarms about feeds that bring nothing.
async fn watch_feeds(house: &House) -> Result<()> {
    let now = house.clock.now();
    let silent = poll::list_silent(&mut house.db.read().await?, &house.config, now).await?;
    let cause = |feed: poll::Silent| {
        let why = feed.last_error.unwrap_or_else(|| "It answers, and brings nothing new.".to_owned());
        Cause::FeedSilent(feed.name, feed.since, why)
    };
    raise_for_all(house, silent.into_iter().map(cause).collect()).await
}

async fn raise_for_all(house: &House, causes: Vec<Cause>) -> Result<()> {
    if causes.is_empty() {
        return Ok(());
    }
    let mut tx = house.db.write().await?;
    for cause in &causes {
        alert::raise_for_all(&mut tx, &house.config, None, cause, house.clock.now()).await?;
    }
    Ok(tx.commit().await?)
}

/// Opens the editions whose locks have passed since the last look, and the next one to come.
async fn open_due(house: &House, newsletter: &Newsletter) -> Result<()> {
    let now = house.clock.civil();
    let seen = store::seen_until(&mut house.db.read().await?, &newsletter.id).await?;
    // Before the first look nothing was promised to anybody.
    let mut due = match seen {
        Some(seen) => schedule::locks_between(newsletter, seen, now)?,
        None => Vec::new(),
    };
    if due.len() > LOOK_BACK {
        tracing::warn!(newsletter.id = %newsletter.id, missed = due.len(), "away for long: only the newest locks are kept");
        due.drain(..due.len() - LOOK_BACK);
    }
    due.extend(schedule::next_locks(newsletter, now, 1)?);
    let mut tx = house.db.write().await?;
    for due in &due {
        let edition =
            editions::store::open(&mut tx, &newsletter.id, due.date, due.lock, house.clock.now()).await?;
        if edition.state == EditionState::Open && edition.lock_at != due.lock {
            editions::store::set_lock(&mut tx, edition.id, due.lock).await?;
        }
    }
    store::see_until(&mut tx, &newsletter.id, now).await?;
    tx.commit().await?;
    Ok(())
}

async fn advance(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<()> {
    match edition.state {
        EditionState::Open => advance_open(house, newsletter, edition).await,
        EditionState::Locked => start_sending(house, edition).await,
        EditionState::Sending => {
            watch_making(house, newsletter, edition).await?;
            finish(house, Some(newsletter), edition).await
        }
        EditionState::Held => raise(house, newsletter, &held(house, edition).await?).await,
        _ => Ok(()),
    }
}

/// An edition of a newsletter that the configuration no longer has. Nothing of it leaves; what it owes ends at its
/// deadline, unless the newsletter is there again before. Nobody is owed anything of an open one, and a held one rests
/// as somebody wanted it to.
async fn end_alone(house: &House, edition: &Edition) -> Result<()> {
    match edition.state {
        // Deadlines are only looked at of what is being sent.
        EditionState::Locked => start_sending(house, edition).await?,
        EditionState::Sending => finish(house, None, edition).await?,
        _ => return Ok(()),
    }
    let counts = delivery::store::counts(&mut house.db.read().await?, edition.id).await?;
    let waiting = counts.planned + counts.claimed + counts.deferred;
    if waiting > 0 {
        return Err(super::Error::Unconfigured(edition.newsletter.clone(), waiting));
    }
    Ok(())
}

/// That it is held: event and reason are read together, for it may have gone on and be held anew since it was looked at.
async fn held(house: &House, edition: &Edition) -> Result<Cause> {
    let mut conn = house.db.read().await?;
    let what = Some(EditionState::Held.as_str());
    let event = editions::store::find_newest_event(&mut conn, edition.id, what).await?;
    let (event, why) = event.unwrap_or_default();
    let why = if why.is_empty() { "Somebody held it.".to_owned() } else { why };
    Ok(Cause::Held(edition.date, event, why))
}

async fn advance_open(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<()> {
    let now = house.clock.civil();
    if edition.lock_at > now {
        let due = edition.refreshed_at.is_none_or(|at| passed(at, house.clock.now()) >= REFRESH);
        if due {
            super::line_up::refresh(house, newsletter, edition).await?;
        }
        let near = passed(now, edition.lock_at) <= newsletter.remind;
        if newsletter.approval == Approval::Approve && edition.approved_at.is_none() && near {
            let why = format!(
                "It locks at {} and nobody has approved it.",
                super::words::instant(edition.lock_at, &newsletter.timezone)
            );
            raise(house, newsletter, &Cause::Unapproved(edition.date, why)).await?;
        }
        if near {
            let day = edition.lock_at.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
            warm_up::tell(house, newsletter, edition, day, &Who::clock()).await?;
        }
        return Ok(());
    }
    if passed(edition.lock_at, now) > newsletter.catch_up {
        let why = format!(
            "It was to lock at {} and nothing could be done for more than {}.",
            super::words::instant(edition.lock_at, &newsletter.timezone),
            super::words::duration(newsletter.catch_up)
        );
        return miss(house, newsletter, edition, why).await;
    }
    match lock::lock(house, newsletter, edition, &Who::clock(), true).await? {
        Locked::Done(frozen) => {
            lock::log(edition, &frozen.warnings);
            Ok(())
        }
        Locked::Raced | Locked::Skipped(_) | Locked::TooFew(_) => Ok(()),
        Locked::Preflight(why) => stopped(house, newsletter, edition, why).await,
        // C7: neither yesterday's nor an unapproved edition goes out. It waits for a late word until the
        // catch-up is over, and is missed then.
        Locked::Unapproved => {
            let why = format!(
                "Its lock at {} has passed.",
                super::words::instant(edition.lock_at, &newsletter.timezone)
            );
            raise(house, newsletter, &Cause::Unapproved(edition.date, why)).await
        }
    }
}

/// Says what the preflight stopped: once, and once more each time that somebody did something about it in vain.
async fn stopped(house: &House, newsletter: &Newsletter, edition: &Edition, why: String) -> Result<()> {
    let mut tx = house.db.write().await?;
    editions::store::hold_still(&mut tx, edition.id).await?;
    // Somebody was at it meanwhile: the next look finds what they left of it, and nothing that they mended.
    if editions::store::load(&mut tx, edition.id).await?.version != edition.version {
        return Ok(tx.rollback().await?);
    }
    let event = editions::store::find_newest_event(&mut tx, edition.id, None).await?;
    let event = event.map_or(0, |(event, _)| event);
    alert::raise(&mut tx, newsletter, &Cause::Preflight(edition.date, event, why), house.clock.now()).await?;
    Ok(tx.commit().await?)
}

async fn miss(house: &House, newsletter: &Newsletter, edition: &Edition, why: String) -> Result<()> {
    let mut tx = house.db.write().await?;
    let moved = editions::store::set_state(
        &mut tx,
        edition,
        EditionState::Missed,
        Some(&why),
        &Who::clock(),
        house.clock.now(),
    )
    .await?;
    if moved {
        alert::raise(&mut tx, newsletter, &Cause::Missed(edition.date, why), house.clock.now()).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn start_sending(house: &House, edition: &Edition) -> Result<()> {
    let mut tx = house.db.write().await?;
    editions::store::set_state(
        &mut tx,
        edition,
        EditionState::Sending,
        None,
        &Who::clock(),
        house.clock.now(),
    )
    .await?;
    tx.notify(delivery::CHANNEL).await?;
    tx.commit().await?;
    Ok(())
}

/// Raises the alarm about an edition of which no message can be made.
async fn watch_making(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<()> {
    let unmade = delivery::store::list_unmade(&mut house.db.read().await?).await?;
    match unmade.into_iter().find(|one| one.edition == edition.id.0) {
        Some(one) => raise(house, newsletter, &Cause::Unmade(edition.date, one.reason)).await,
        None => Ok(()),
    }
}

/// Marks an edition sent once each of its deliveries is final, and says so when readers went without: to everybody where
/// its newsletter is configured no more.
async fn finish(house: &House, newsletter: Option<&Newsletter>, edition: &Edition) -> Result<()> {
    // By indexes: to count is to read all of it, and this is asked each second of a morning.
    if !delivery::store::all_final(&mut house.db.read().await?, edition.id).await? {
        return Ok(());
    }
    let counts = delivery::store::counts(&mut house.db.read().await?, edition.id).await?;
    let mut tx = house.db.write().await?;
    let moved = editions::store::set_state(
        &mut tx,
        edition,
        EditionState::Sent,
        None,
        &Who::clock(),
        house.clock.now(),
    )
    .await?;
    // Somebody may have settled meanwhile that some of it is sent again.
    if moved && !delivery::store::all_final(&mut tx, edition.id).await? {
        tx.rollback().await?;
        return Ok(());
    }
    let without = counts.rejected + counts.expired + counts.uncertain;
    if moved && without * 50 > counts.total() {
        let why = format!(
            "Of {} deliveries {} were rejected, {} expired and {} stayed uncertain.",
            counts.total(),
            counts.rejected,
            counts.expired,
            counts.uncertain
        );
        let cause = Cause::Undelivered(edition.date, why);
        let (now, of) = (house.clock.now(), Some(edition.newsletter.as_str()));
        match newsletter {
            Some(newsletter) => alert::raise(&mut tx, newsletter, &cause, now).await?,
            None => alert::raise_for_all(&mut tx, &house.config, of, &cause, now).await?,
        };
    }
    tx.commit().await?;
    Ok(())
}

async fn raise(house: &House, newsletter: &Newsletter, cause: &Cause) -> Result<()> {
    let mut tx = house.db.write().await?;
    alert::raise(&mut tx, newsletter, cause, house.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// How much time lies between two instants; none where they stand the other way round.
fn passed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
