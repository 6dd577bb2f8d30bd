//! Pruning: what is old is reduced to counts, so that the tables stay as fast as on the first day.
//!
//! Only of editions whose life is over and whose every delivery is final. Each step is a transaction of its own that
//! counts what it takes, so a summary says the same before, during and after, whenever it is interrupted. The rule a
//! newcomer would break: a step must be short, because a release waits for it in front of somebody's final dot.

mod store;

use std::time::{Duration, Instant};

use jiff::civil::{Date, Time};
use serde::Serialize;

use super::Result;
use crate::clock::Clock;
use crate::config::Retention;
use crate::db::Db;
use crate::editions::EditionId;
use crate::lifecycle::Shutdown;

pub use store::{Old, pruned_at};

/// The most deliveries of one step.
const MOST: i64 = 5_000;
const LEAST: i64 = 100;
const FIRST: i64 = 500;
/// A step that takes longer is followed by a smaller one.
const STEP: Duration = Duration::from_millis(25);

/// What a pruning took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Editions of which something was taken.
    pub editions: u64,
    /// Deliveries reduced to counts.
    pub deliveries: u64,
    /// Attempts reduced to counts.
    pub attempts: u64,
    /// Attempts that lost the relay's words and the address.
    pub words: u64,
    /// Rows of daemons that are long gone.
    pub daemons: u64,
    /// Rows of providers that nothing was heard of for as long, and of days of a warm-up.
    pub paces: u64,
    /// The longest of the steps, in milliseconds.
    pub longest_step_ms: u64,
}

/// What may be taken.
#[derive(Clone, Debug, Serialize)]
pub struct Due {
    /// Editions of which something is old, oldest first.
    pub editions: Vec<Old>,
    /// Those that are as old and not over: they are left alone.
    pub unfinished: Vec<Old>,
    /// Rows of daemons that are long gone.
    pub daemons: i64,
    /// Rows of providers that nothing was heard of for as long, and of days of a warm-up.
    pub paces: i64,
    /// Daemons that are gone and began before this moment, in milliseconds, and what is as old of the pace.
    before: i64,
    /// The same, as a date.
    before_day: String,
}

impl Due {
    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.editions.is_empty() && self.daemons == 0 && self.paces == 0
    }
}

/// What may be taken today.
pub async fn list(db: &Db, retention: Retention, today: Date) -> Result<Due> {
    let first_kept = |days: Option<u32>| {
        days.and_then(|days| today.checked_sub(jiff::Span::new().days(i64::from(days))).ok())
    };
    let text = |date: Option<Date>| date.map_or_else(|| "0000-00-00".to_owned(), |date| date.to_string());
    let (words, deliveries) = (first_kept(retention.words), first_kept(retention.deliveries));
    let (before_day, before) = (
        text(deliveries),
        deliveries
            .and_then(|date| jiff::tz::TimeZone::UTC.to_timestamp(date.to_datetime(Time::midnight())).ok())
            .map_or(0, jiff::Timestamp::as_millisecond),
    );
    let mut conn = db.read().await?;
    Ok(Due {
        editions: store::list_old(&mut conn, &text(words), &before_day).await?,
        unfinished: store::list_unfinished(&mut conn, &text(words), &before_day).await?,
        daemons: store::count_daemons(&mut conn, before).await?,
        paces: store::count_paces(&mut conn, &before_day, before).await?,
        before_day,
        before,
    })
}

/// Takes what is old until all of it is gone, or until told to stop; `say` hears how far it is.
///
/// # Errors
/// The database's; what was taken by then is counted, and the rest is taken the next time.
pub async fn prune(
    db: &Db,
    clock: &Clock,
    due: &Due,
    shutdown: &Shutdown,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Taken> {
    let mut broom = Broom {
        db,
        clock,
        shutdown,
        size: FIRST,
        longest: Duration::ZERO,
        taken: Taken::default(),
        left_alone: false,
    };
    for edition in &due.unfinished {
        say(&format!("{} {}: old, and not over: left alone", edition.newsletter, edition.date));
    }
    for edition in &due.editions {
        let before = broom.taken;
        broom.sweep(edition).await?;
        if std::mem::take(&mut broom.left_alone) {
            say(&format!("{} {}: goes on meanwhile: left alone", edition.newsletter, edition.date));
        }
        if shutdown.is_draining() {
            break;
        }
        broom.taken.editions += u64::from(before != broom.taken);
        say(&format!(
            "{} {}: {} deliveries and {} attempts reduced to counts, {} attempts without words",
            edition.newsletter,
            edition.date,
            broom.taken.deliveries - before.deliveries,
            broom.taken.attempts - before.attempts,
            broom.taken.words - before.words
        ));
    }
    if !shutdown.is_draining() {
        let mut tx = db.write().await?;
        broom.taken.daemons = store::forget_daemons(&mut tx, due.before).await?;
        broom.taken.paces = store::forget_paces(&mut tx, &due.before_day, due.before).await?;
        tx.commit().await?;
        broom.give_room_back().await?;
    }
    broom.taken.longest_step_ms = u64::try_from(broom.longest.as_millis()).unwrap_or(u64::MAX);
    Ok(broom.taken)
}

/// Takes in short steps.
struct Broom<'a> {
    db: &'a Db,
    clock: &'a Clock,
    shutdown: &'a Shutdown,
    /// How many deliveries the next step takes.
    size: i64,
    longest: Duration,
    taken: Taken,
    /// The edition at hand is not over any more.
    left_alone: bool,
}

impl Broom<'_> {
    async fn sweep(&mut self, edition: &Old) -> Result<()> {
        let id = EditionId(edition.id);
        let Some((mut first, end)) = store::bounds(&mut self.db.read().await?, id).await? else {
            return Ok(());
        };
        while first <= end {
            if self.shutdown.is_draining() {
                return Ok(());
            }
            let step = (first, end.min(first + self.size - 1));
            let mut tx = self.db.write().await?;
            let start = Instant::now();
            if !store::is_over(&mut tx, id).await? {
                self.left_alone = true;
                return Ok(());
            }
            if edition.reduce {
                let (deliveries, attempts) = store::reduce(&mut tx, id, step, self.clock.now_ms()).await?;
                self.taken.deliveries += deliveries;
                self.taken.attempts += attempts;
            } else {
                self.taken.words += store::silence(&mut tx, id, step).await?;
            }
            tx.commit().await?;
            first = step.1 + 1;
            self.rest(start.elapsed()).await;
        }
        if !edition.reduce {
            let mut tx = self.db.write().await?;
            store::mark_silent(&mut tx, id, self.clock.now_ms()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Learns from a step, and leaves the writer to others for as long as it took.
    async fn rest(&mut self, took: Duration) {
        self.longest = self.longest.max(took);
        self.size = if took > STEP { (self.size / 2).max(LEAST) } else { (self.size * 5 / 4).min(MOST) };
        tokio::time::sleep(took).await;
    }

    /// Pages that nothing stands on any more go back to the file system, some at a time; on PostgreSQL its own vacuum
    /// does that.
    async fn give_room_back(&mut self) -> Result<()> {
        while !self.shutdown.is_draining() {
            let mut conn = self.db.writer().await?;
            let start = Instant::now();
            let more = store::give_pages_back(&mut conn).await?;
            drop(conn);
            self.rest(start.elapsed()).await;
            if !more {
                break;
            }
        }
        Ok(())
    }
}
