//! J and T: a daemon's life in the ledger, how it ends, and how another one takes up what it held.

mod store;

use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Delivery, Uncertain};
use crate::db::{self, Conn, Db};
use crate::delivery::ledger::Me;
use crate::delivery::{Error, Result};
pub(super) use store::fence;

/// Whether our commits wait for a standby; `None` where none follows that could take the server's place.
pub(super) async fn followed(db: &Db) -> Result<Option<bool>> {
    let (follows, waited_for) = store::followed(&mut db.read().await?).await?;
    Ok(follows.then_some(waited_for))
}

/// Every daemon that has not left, alive or not: their leases say nothing after an outage.
pub(super) async fn daemons(db: &Db) -> Result<Vec<i64>> {
    let all = store::others(&mut db.read().await?, 0).await?;
    Ok(all.into_iter().map(|daemon| daemon.id).collect())
}

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
        let birth = match Seen::look(i64::from(pid)) {
            Seen::Born(birth) => birth,
            Seen::Ended | Seen::Nothing => String::new(),
        };
        Self { host: this_host(host), pid, birth }
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

/// What `/proc` shows of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// It runs, and began then.
    Born(String),
    /// It has ended; only its parent has not looked yet.
    Ended,
    /// Nothing: it is gone, or hidden from us.
    Nothing,
}

impl Seen {
    fn look(pid: i64) -> Self {
        let read = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in brackets may hold anything; the fields behind it are plain. The 20th of them is the start time.
            let (_, rest) = stat.rsplit_once(')')?;
            let mut fields = rest.split_ascii_whitespace();
            if fields.next()? == "Z" {
                return Some(Self::Ended);
            }
            fields.nth(18).map(|birth| Self::Born(birth.to_owned()))
        };
        read().unwrap_or(Self::Nothing)
    }

    /// Whether the process that began then is gone. Where other users' processes are hidden, what is not seen may well
    /// be there: its lease tells.
    fn is_gone(&self, birth: &str, others_are_seen: bool) -> bool {
        match self {
            // The pid was given again, unless it is the same one.
            Self::Born(now) => now != birth,
            Self::Ended => true,
            Self::Nothing => others_are_seen,
        }
    }
}

/// Whether `/proc` shows the processes of other users: not with `hidepid`, nor under systemd's `ProtectProc=`. The first
/// process is always there, and hardly ever ours.
fn others_are_seen() -> bool {
    std::fs::read_to_string("/proc/1/stat").is_ok()
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
    let now = shared_clock(&mut tx, clock).await?;
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
    let now = shared_clock(&mut tx, clock).await?;
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
    /// As the configuration says.
    pub(in crate::delivery) fn of(settings: &Delivery) -> Self {
        Self {
            first_wait: settings.retry.first().copied().unwrap_or(Duration::from_secs(60)),
            hold: settings.uncertain == Uncertain::Hold,
        }
    }

    async fn end(self, conn: &mut Conn, clock: &Clock, life: Me) -> Result<(u64, u64)> {
        let next_at = clock.now_ms() + millis(self.first_wait);
        Ok(store::take_over(conn, life, next_at, clock.civil_ms(), self.hold).await?)
    }
}

/// The clock that all daemons agree on, in milliseconds: the database's, or our own where it has none. Every heartbeat asks,
/// and what is heard is counted on from until the next ([`Clock::shared_ms`]).
pub async fn shared_clock(conn: &mut Conn, clock: &Clock) -> db::Result<i64> {
    let heard = store::database_clock(conn).await?;
    if let Some(shared) = heard {
        clock.hear_shared(shared);
    }
    Ok(heard.unwrap_or_else(|| clock.now_ms()))
}

/// Whether a daemon that has not left is dead: its process is gone from this host, or its lease ran out.
fn is_dead(other: &store::Other, now: i64, host: &str) -> bool {
    let gone = || other.host == host && Seen::look(other.pid).is_gone(&other.birth, others_are_seen());
    other.lease_until < now || gone()
}

/// How many other daemons are alive, on this host or with a lease that runs.
pub async fn others_alive(db: &Db, clock: &Clock, host: Option<&str>) -> Result<usize> {
    let host = this_host(host);
    let mut conn = db.read().await?;
    let now = shared_clock(&mut conn, clock).await?;
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
    let now = shared_clock(&mut conn, clock).await?;
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
        let now = shared_clock(&mut tx, clock).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_a_process_that_may_only_be_hidden_is_not_taken_for_gone() {
        let ours = Seen::look(i64::from(std::process::id()));
        assert!(matches!(&ours, Seen::Born(birth) if !birth.is_empty()), "{ours:?}");
        let same = Seen::Born("7".to_owned());
        for (seen, others_are_seen, gone) in [
            (&same, true, false),
            (&same, false, false),
            // Another process has its number: seen with our own eyes, whatever else is hidden.
            (&Seen::Born("8".to_owned()), false, true),
            (&Seen::Ended, false, true),
            (&Seen::Nothing, true, true),
            (&Seen::Nothing, false, false),
        ] {
            assert_eq!(seen.is_gone("7", others_are_seen), gone, "{seen:?}, others seen: {others_are_seen}");
        }
    }
}
