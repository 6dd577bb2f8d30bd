//! The rehearsal: the real edition to the real list, on a scratch ledger, into a sink of our own.
//!
//! The house that it is about is only looked at: its database is to be opened read-only, its relays are greeted and
//! given nothing. Everything else is the real thing (freezing, planning, claiming, signing, the wire), so what is
//! measured is what this machine can do; when the last reader has the mail hangs on the relays too, and is computed.

mod copy;
mod forecast;
mod freeze;
mod judge;
mod report;
mod sink;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;

use super::stage::{self, Stage};
use super::{Error, House, Result, lock};
use crate::config::Newsletter;
use crate::delivery::plan::{self, Plan};
use crate::delivery::{self, Engine, Mode};
use crate::editions::{self, Edition, EditionId, EditionState, NewRevision, Who, schedule};
use crate::lifecycle::Shutdown;

use forecast::{Forecast, Slot};
use freeze::Frozen;
use sink::Scales;

pub use report::{Fault, RelayFigures, Report, Share, Weight};

/// How often it is said how far the sending is.
const TOLD_EVERY: Duration = Duration::from_secs(3);

/// What is rehearsed.
#[derive(Clone, Debug, Default)]
pub struct Rehearsal {
    /// The edition's date; the next lock's where `None`.
    pub date: Option<Date>,
    /// So many made-up readers in place of the real list.
    pub subscribers: Option<u32>,
    /// A PostgreSQL server for the scratch ledger; a SQLite file where `None`.
    pub postgres: Option<String>,
}

/// Rehearses a morning of this house; the refusal says why there is none. `say` hears how far it is.
pub async fn rehearse(
    house: &House,
    newsletter: &Newsletter,
    wanted: &Rehearsal,
    shutdown: &Shutdown,
    say: &(dyn Fn(&str) + Sync),
) -> Result<std::result::Result<Report, String>> {
    let edition = match find(house, newsletter, wanted.date).await? {
        Ok(edition) => edition,
        Err(refused) => return Ok(Err(refused)),
    };
    say(&format!("{}, edition of {}: what would go out", newsletter.name, edition.date));
    let frozen = tokio::select! {
        frozen = freeze::freeze(house, newsletter, &edition) => frozen?,
        () = shutdown.draining() => return Ok(Err(interrupted())),
    };
    let scales = Arc::new(Scales::default());
    let sink = stage::sink::open(scales.clone())
        .await
        .map_err(|error| Error::Start(format!("the rehearsal's sink: {error}")))?;
    let config = copy::configuration(&house.config, newsletter, sink);
    let stage = Stage::over(config, wanted.postgres.as_deref()).await?;
    // Struck whatever happens: a schema on somebody's server must not stay behind.
    let played = play(house, newsletter, &edition, &frozen, wanted, &stage, &scales, shutdown, say).await;
    stage.strike().await?;
    played
}

fn interrupted() -> String {
    "interrupted: nothing of it is left behind".to_owned()
}

/// The edition, as it stands or as it will be opened.
async fn find(
    house: &House,
    newsletter: &Newsletter,
    date: Option<Date>,
) -> Result<std::result::Result<Edition, String>> {
    let date = match date {
        Some(date) => date,
        None => match schedule::next_locks(newsletter, house.clock.civil(), 1)?.first() {
            Some(due) => due.date,
            None => return Ok(Err(format!("the rule of {} has no lock to come", newsletter.id))),
        },
    };
    let found = editions::store::find(&mut house.db.read().await?, &newsletter.id, date).await?;
    let Some(edition) = found else {
        return Ok(Ok(Edition::to_come(&newsletter.id, date, schedule::lock_for(newsletter, date)?)));
    };
    Ok(match edition.state {
        EditionState::Open | EditionState::Locked | EditionState::Sending | EditionState::Held => Ok(edition),
        EditionState::Sent => Err(format!("the edition of {date} is sent already: name a date to come")),
        state => Err(format!("the edition of {date} is {state}: name a date to come")),
    })
}

#[expect(
    clippy::too_many_arguments,
    reason = "what is looked at, and where it is tried; a struct would have one use"
)]
async fn play(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    frozen: &Frozen,
    wanted: &Rehearsal,
    stage: &Stage,
    scales: &Arc<Scales>,
    shutdown: &Shutdown,
    say: &(dyn Fn(&str) + Sync),
) -> Result<std::result::Result<Report, String>> {
    copy::readers(house, newsletter, wanted.subscribers, stage, shutdown, say).await?;
    if shutdown.is_draining() {
        return Ok(Err(interrupted()));
    }
    let lock_at = instant_of_lock(edition, house.clock.civil());
    stage.house.clock.set_civil(lock_at);
    let start = Instant::now();
    let (trial, planned) = plan(stage, newsletter, edition, frozen, lock_at).await?;
    let plan_time = start.elapsed();
    say(&format!("{planned} deliveries planned in {:.2} s", plan_time.as_secs_f64()));
    let start = Instant::now();
    send(stage, trial, planned, scales, shutdown, say).await?;
    let send_time = start.elapsed();
    if shutdown.is_draining() {
        return Ok(Err(interrupted()));
    }
    let mut conn = stage.house.db.read().await?;
    let counts = delivery::store::counts(&mut conn, trial).await?;
    let (weighed, rate) = (scales.weighed(), scales.rate());
    let relays = tokio::select! {
        relays = judge::relays(house, newsletter) => relays?,
        () = shutdown.draining() => return Ok(Err(interrupted())),
    };
    // Of a morning under way only what is owed still: who has it already is not written to again.
    let under_way = edition.locked_at.is_some() && wanted.subscribers.is_none();
    let (slots, served) =
        if under_way { owed(house, edition).await? } else { (store::slots(&mut conn, trial).await?, 0) };
    let now = house.clock.civil();
    let due_at = slots.first().map(|slot| crate::clock::timestamp(slot.due_at).max(now));
    let forecast = Forecast::of(&slots, &judge::paces(&relays, rate, now));
    let mut report = Report {
        newsletter: newsletter.name.clone(),
        date: edition.date.to_string(),
        state: edition.state,
        lock_at: lock_at.to_string(),
        zone: newsletter.timezone.iana_name().unwrap_or("UTC").to_owned(),
        items: frozen.items,
        candidates: frozen.candidates,
        renderings: frozen.renderings.iter().map(|(tag, _)| tag.clone()).collect(),
        made_up: wanted.subscribers.is_some(),
        readers: planned,
        served,
        languages: store::languages(&mut conn, trial, &newsletter.language).await?,
        zones: store::zones(&mut conn, trial, newsletter.timezone.iana_name().unwrap_or("UTC")).await?,
        providers: store::providers(&mut conn, trial).await?,
        bytes_least: weighed.least,
        bytes_mean: weighed.mean(),
        bytes_most: weighed.most,
        signed: house.config.dkim.contains_key(newsletter.domain()),
        plan_seconds: plan_time.as_secs_f64(),
        sent: weighed.count,
        send_seconds: send_time.as_secs_f64(),
        rate,
        peak_memory: peak_memory(),
        relays,
        capacity: forecast.per_second,
        due_at,
        first_at: forecast.first.map(crate::clock::timestamp),
        last_at: forecast.last.map(crate::clock::timestamp),
        late: forecast.late,
        faults: Vec::new(),
    };
    let unfit = store::unfit(&mut conn, trial).await?;
    drop(conn);
    report.faults = judge::faults(house, newsletter, edition, frozen, &report, &counts, &unfit);
    Ok(Ok(report))
}

/// What an edition that is locked owes still, and how many it owes nothing any more.
async fn owed(house: &House, edition: &Edition) -> Result<(Vec<Slot>, i64)> {
    let mut conn = house.db.read().await?;
    let slots = store::owed(&mut conn, edition.id).await?;
    let all = delivery::store::counts(&mut conn, edition.id).await?.total();
    let left: i64 = slots.iter().map(|slot| slot.count).sum();
    Ok((slots, all - left))
}

/// When it is locked: when it was, or when it will be, or now where that has passed.
fn instant_of_lock(edition: &Edition, now: Timestamp) -> Timestamp {
    match edition.locked_at {
        Some(locked) => locked,
        None if edition.lock_at < now => now,
        None => edition.lock_at,
    }
}

/// Freezes and plans as the lock does, in one transaction.
async fn plan(
    stage: &Stage,
    newsletter: &Newsletter,
    edition: &Edition,
    frozen: &Frozen,
    lock_at: Timestamp,
) -> Result<(EditionId, i64)> {
    let house = &stage.house;
    let (who, now) = (Who::command_line(), house.clock.now());
    let mut tx = house.db.write().await?;
    let trial = editions::store::open(&mut tx, &newsletter.id, edition.date, edition.lock_at, now).await?;
    let revision = NewRevision {
        number: 1,
        who: &who,
        why: "rehearsal",
        content: &frozen.content,
        renderings: &frozen.renderings,
    };
    editions::store::freeze(&mut tx, trial.id, &revision, now).await?;
    let plan = Plan {
        edition: trial.id,
        newsletter: &newsletter.id,
        morning: lock::morning_of(newsletter, edition, lock_at),
        hour: newsletter.send_at,
        zone: &newsletter.timezone,
    };
    let planned = plan::plan(&mut tx, &plan).await?;
    tx.commit().await?;
    Ok((trial.id, planned))
}

async fn send(
    stage: &Stage,
    trial: EditionId,
    planned: i64,
    scales: &Scales,
    shutdown: &Shutdown,
    say: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    stage.start(trial).await?;
    let house = &stage.house;
    let engine = Engine::new(
        house.config.clone(),
        house.db.clone(),
        house.clock.clone(),
        house.random.clone(),
        house.links.clone(),
    )?;
    let mode = Mode { edition: Some(trial), now: true, ..Mode::default() };
    let mut sending = Box::pin(engine.run_edition(mode, shutdown));
    loop {
        tokio::select! {
            ended = &mut sending => return Ok(ended?),
            () = tokio::time::sleep(TOLD_EVERY) => {
                say(&format!("{} of {planned} sent, {:.0}/s", scales.weighed().count, scales.rate()));
            }
        }
    }
}

/// The most memory that this process has held, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_ascii_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
}
