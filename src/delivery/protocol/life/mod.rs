//! J and T: a daemon's life in the ledger, how it ends, and how another one takes up what it held.

mod store;

use std::time::Duration;

use crate::clock::Clock;
use crate::db::{Conn, Db};
use crate::delivery::ledger::Me;
use crate::delivery::{Error, Result};
pub(super) use store::fence;

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
pub(in crate::delivery) async fn join(
    db: &Db,
    clock: &Clock,
    lease: Duration,
    host: Option<&str>,
) -> Result<Me> {
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
pub(in crate::delivery) async fn heartbeat(db: &Db, clock: &Clock, me: Me, lease: Duration) -> Result<()> {
    let mut tx = db.write().await?;
    let now = lease_clock(&mut tx, clock).await?;
    let alive = store::heartbeat(&mut tx, me, now + millis(lease)).await?;
    tx.commit().await?;
    if alive { Ok(()) } else { Err(Error::Fenced) }
}

/// Leaves: claims returned. Usually nothing is open any more; where a connection broke off without a word for the
/// ledger, its attempt is as uncertain as one of a daemon that was killed. `broken`: what is still claimed had broken
/// whoever had it in hand, and may break the next one; it waits, so that others come first.
pub(in crate::delivery) async fn leave(
    db: &Db,
    clock: &Clock,
    me: Me,
    doubt: Doubt,
    broken: bool,
) -> Result<()> {
    let mut tx = db.write().await?;
    // First, and whoever still claims for us is waited for: a claim that was given up while it committed would else be
    // kept by a daemon that nobody takes over.
    store::leave(&mut tx, me).await?;
    if broken {
        // Longer than what it made doubtful: that has to get through before the next break.
        store::put_off(&mut tx, me, clock.now_ms() + millis(doubt.first_wait * 2)).await?;
    }
    doubt.end(&mut tx, clock, me).await?;
    tx.commit().await?;
    Ok(())
}

/// What becomes of open attempts whose daemon is gone.
#[derive(Clone, Copy, Debug)]
pub(in crate::delivery) struct Doubt {
    /// They are sent again after this.
    pub(in crate::delivery) first_wait: Duration,
    /// They rest for an operator instead.
    pub(in crate::delivery) hold: bool,
}

impl Doubt {
    async fn end(self, conn: &mut Conn, clock: &Clock, life: Me) -> Result<(u64, u64)> {
        let next_at = clock.now_ms() + millis(self.first_wait);
        Ok(store::take_over(conn, life, next_at, clock.civil_ms(), self.hold).await?)
    }
}

async fn lease_clock(conn: &mut Conn, clock: &Clock) -> Result<i64> {
    Ok(store::database_clock(conn).await?.unwrap_or_else(|| clock.now_ms()))
}

/// The clock that all daemons agree on, in milliseconds.
pub(in crate::delivery) async fn shared_clock(conn: &mut Conn, clock: &Clock) -> Result<i64> {
    lease_clock(conn, clock).await
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
pub(in crate::delivery) async fn take_over(
    db: &Db,
    clock: &Clock,
    me: Me,
    host: Option<&str>,
    doubt: Doubt,
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
        let counts = doubt.end(&mut tx, clock, life).await?;
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

#[cfg(test)]
pub(super) use store::plans;
