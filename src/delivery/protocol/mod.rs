//! The delivery protocol: join, claim, release, take over, each a short transaction.
//!
//! Why it is enough: a connection has at most one open attempt; a dot exists only behind a committed open attempt;
//! a takeover turns exactly the open ones into `uncertain`. The fence makes clock skew, a stopped process and a slow
//! server harmless: leases decide *when*, epochs decide *whether*. `docs/delivery.md` tells the whole story.

mod store;

use std::time::Duration;

use super::ledger::{Claimed, Me, Move, Release, Verdict};
use super::{Error, Result};
use crate::clock::Clock;
use crate::db::{Conn, Db};

pub(super) use store::{Due, Sending, claimed, next_instants, read_planned, rendering, sending};

/// Where and as what a daemon began: tells later whether it still lives.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    /// The machine, and which of its boots.
    pub(super) host: String,
    pub(super) pid: u32,
    /// When the process began, in the kernel's own count: a pid may be given again.
    pub(super) birth: String,
}

impl Beginning {
    /// This process's, on this host.
    pub(super) fn of_this_process(host: Option<&str>) -> Self {
        let pid = std::process::id();
        Self { host: this_host(host), pid, birth: birth(i64::from(pid)).unwrap_or_default() }
    }
}

/// This machine in this boot, by its own marks or by the name it was given: after a reboot every earlier process is
/// gone. Containers have processes of their own, which nobody outside can look at by their numbers.
fn this_host(name: Option<&str>) -> String {
    let read =
        |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let processes = std::fs::read_link("/proc/self/ns/pid")
        .map(|target| target.to_string_lossy().into_owned())
        .unwrap_or_default();
    let machine = name.map_or_else(|| read("/etc/machine-id"), str::to_owned);
    format!("{machine}/{}/{processes}", read("/proc/sys/kernel/random/boot_id"))
}

/// When the process of this pid began; `None` when there is none.
fn birth(pid: i64) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the fields behind it are plain. The 20th of them is the start time.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    // A zombie has ended; only its parent has not looked yet.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 4)
}

/// J: a new life in the ledger.
pub(super) async fn join(db: &Db, clock: &Clock, lease: Duration, host: Option<&str>) -> Result<Me> {
    let mut tx = db.write().await?;
    let now = lease_clock(&mut tx, clock).await?;
    let beginning = Beginning::of_this_process(host);
    let me = store::join(&mut tx, &beginning, now + millis(lease), clock.now_ms()).await?;
    tx.commit().await?;
    Ok(me)
}

/// Renews the lease.
///
/// # Errors
/// [`Error::Fenced`] when another daemon took over.
pub(super) async fn heartbeat(db: &Db, clock: &Clock, me: Me, lease: Duration) -> Result<()> {
    let mut tx = db.write().await?;
    let now = lease_clock(&mut tx, clock).await?;
    let alive = store::heartbeat(&mut tx, me, now + millis(lease)).await?;
    tx.commit().await?;
    if alive { Ok(()) } else { Err(Error::Fenced) }
}

/// Leaves: claims returned, nothing open.
pub(super) async fn leave(db: &Db, me: Me) -> Result<()> {
    let mut tx = db.write().await?;
    store::leave(&mut tx, me).await?;
    tx.commit().await?;
    Ok(())
}

async fn lease_clock(conn: &mut Conn, clock: &Clock) -> Result<i64> {
    Ok(store::database_clock(conn).await?.unwrap_or_else(|| clock.now_ms()))
}

/// Whether a daemon that has not left is dead: its process is gone from this host, or its lease ran out.
fn is_dead(other: &store::Other, now: i64, host: &str) -> bool {
    let gone = other.host == host && birth(other.pid).as_deref() != Some(other.birth.as_str());
    gone || other.lease_until < now
}

/// How many other daemons are alive, on this host or with a lease that runs.
pub async fn others_alive(db: &Db, clock: &Clock, host: Option<&str>) -> Result<usize> {
    let host = this_host(host);
    let mut conn = db.read().await?;
    let now = lease_clock(&mut conn, clock).await?;
    Ok(store::others(&mut conn, 0).await?.iter().filter(|other| !is_dead(other, now, &host)).count())
}

/// T: takes over whatever dead daemons held; returns how many deliveries became uncertain and how many went back.
pub(super) async fn take_over(
    db: &Db,
    clock: &Clock,
    me: Me,
    host: Option<&str>,
    first_wait: Duration,
    hold: bool,
) -> Result<(u64, u64)> {
    let host = this_host(host);
    let mut conn = db.read().await?;
    let now = lease_clock(&mut conn, clock).await?;
    let dead: Vec<store::Other> = store::others(&mut conn, me.daemon)
        .await?
        .into_iter()
        .filter(|other| is_dead(other, now, &host))
        .collect();
    drop(conn);
    let (mut uncertain, mut back) = (0, 0);
    for other in dead {
        let mut tx = db.write().await?;
        let Some(lease_until) = store::lock_lease(&mut tx, other.id, other.epoch).await? else { continue };
        let now = lease_clock(&mut tx, clock).await?;
        // It may have renewed its lease since we looked.
        if !is_dead(&store::Other { lease_until, ..other.clone() }, now, &host) {
            continue;
        }
        if !store::bury(&mut tx, other.id, other.epoch).await? {
            continue;
        }
        let life = Me { daemon: other.id, epoch: other.epoch };
        let next_at = clock.now_ms() + millis(first_wait);
        let counts = store::take_over(&mut tx, life, next_at, clock.civil_ms(), hold).await?;
        tx.commit().await?;
        tracing::warn!(
            daemon.id = other.id,
            uncertain = counts.0,
            returned = counts.1,
            "took over the work of a daemon that is gone"
        );
        uncertain += counts.0;
        back += counts.1;
    }
    Ok((uncertain, back))
}

/// C: claims what is due.
pub(super) async fn claim(db: &Db, me: Me, due: Due) -> Result<(Vec<Claimed>, usize)> {
    let mut tx = db.write().await?;
    if !store::fence(&mut tx, me).await? {
        return Err(Error::Fenced);
    }
    let claimed = store::claim(&mut tx, me, due).await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Ends what came too late and nobody holds.
pub(super) async fn expire(db: &Db, edition: i64, civil: i64) -> Result<u64> {
    let mut tx = db.write().await?;
    let expired = store::expire(&mut tx, edition, civil).await?;
    tx.commit().await?;
    Ok(expired)
}

/// What one commit holds.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Open attempts that were answered, or never will be.
    pub(super) finished: Vec<(i64, i64, Verdict)>,
    /// Attempts refused before their body.
    pub(super) refused: Vec<(Release, Verdict)>,
    /// Where their deliveries go.
    pub(super) moves: Vec<Move>,
    /// Bodies that wait to be ended.
    pub(super) asked: Vec<Release>,
    /// Claims that go back.
    pub(super) back: Vec<i64>,
}

/// R: one transaction; returns the deliveries whose dot may be written now.
///
/// Safe to be called again with the same group after an error: nothing in `asked` has had its dot written, so what a
/// lost answer to COMMIT may have opened is opened again, and what was recorded is recorded the same.
///
/// # Errors
/// [`Error::Fenced`]: this life is over; only the answers were recorded, where they still count.
pub(super) async fn release(db: &Db, me: Me, group: &Group, civil: i64, mut again: bool) -> Result<Vec<i64>> {
    if !again && group.refused.is_empty() {
        let (told, moves, asked) = (&group.finished, &group.moves, &group.asked);
        let mut conn = db.writer().await?;
        let found = store::together(&mut conn, me, told, moves, asked, civil).await?;
        drop(conn);
        // Where the fence let nothing through, or a claim was no longer ours, the long way says what still counts.
        if found.alive && found.moved == moves.len() as u64 {
            if found.released.len() < asked.len() || !group.back.is_empty() {
                let mut tx = db.write().await?;
                give_back(&mut tx, me, group, &found.released, civil).await?;
                tx.commit().await?;
            }
            return Ok(found.released);
        }
        again = found.alive;
    }
    release_step_by_step(db, me, group, civil, again).await
}

async fn release_step_by_step(db: &Db, me: Me, group: &Group, civil: i64, again: bool) -> Result<Vec<i64>> {
    let mut tx = db.write().await?;
    if !store::fence(&mut tx, me).await? {
        store::finish(&mut tx, &group.finished).await?;
        store::move_on(&mut tx, me, &group.moves).await?;
        tx.commit().await?;
        return Err(Error::Fenced);
    }
    if !group.finished.is_empty() {
        store::finish(&mut tx, &group.finished).await?;
    }
    if !group.refused.is_empty() {
        store::refuse(&mut tx, me, &group.refused).await?;
    }
    if !group.moves.is_empty() {
        store::move_on(&mut tx, me, &group.moves).await?;
    }
    let mut released = Vec::new();
    if !group.asked.is_empty() {
        if again {
            store::unopen(&mut tx, me, &group.asked).await?;
        }
        released = store::release(&mut tx, me, &group.asked, civil).await?;
    }
    give_back(&mut tx, me, group, &released, civil).await?;
    tx.commit().await?;
    Ok(released)
}

/// What is not wanted, and what was asked for and may not leave, goes back.
async fn give_back(tx: &mut Conn, me: Me, group: &Group, released: &[i64], civil: i64) -> Result<()> {
    let kept = group.asked.iter().map(|release| release.delivery.0).filter(|id| !released.contains(id));
    let back: Vec<i64> = group.back.iter().copied().chain(kept).collect();
    if !back.is_empty() {
        store::give_back(tx, me, &back, civil).await?;
    }
    Ok(())
}
