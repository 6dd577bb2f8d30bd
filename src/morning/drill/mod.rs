//! The drill: an edition on a stage, daemons that are killed at random moments, and the count of lost and doubled.
//!
//! The daemons are processes of their own; a kill is SIGKILL. Each is first stopped, so that it can be seen that at
//! least one of its attempts is open: a kill that interrupts nothing proves nothing. The sink's own record is held
//! against the ledger at the end; what the drill reports is what P1 and P2 promise.

mod daemons;
mod judge;
mod record;
pub mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::stage::{self, Setting, Stage};
use super::{Error, Result};
use crate::clock::Random;
use crate::delivery::{self, Counts};
use crate::editions::EditionId;
use crate::lifecycle::Shutdown;

use daemons::{Daemon, signal};
use record::Recorder;

/// What a drill is like.
#[derive(Clone, Debug)]
pub struct Drill {
    /// The program whose daemons are killed.
    pub program: PathBuf,
    /// A PostgreSQL server; SQLite where `None`.
    pub postgres: Option<String>,
    /// How many times a daemon is killed.
    pub kills: u32,
    /// How many deliveries there are.
    pub deliveries: u32,
    /// How many daemons run side by side; more than one needs PostgreSQL.
    pub daemons: u32,
    /// The connections of each daemon.
    pub connections: u32,
    /// A daemon's lease: how long a daemon that is not started again holds on to its claims.
    pub lease: Duration,
    /// Size of each mail on the wire.
    pub bytes: usize,
}

/// What a drill found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// How often a daemon was killed.
    pub kills: u32,
    /// After how many of these it was left dead until its lease had run out.
    pub not_restarted: u32,
    /// How many open attempts were interrupted, and by how many of the kills.
    pub open_at_kill: BTreeMap<u64, u32>,
    /// Kills that found nothing to interrupt: the deliveries were over before them.
    pub idle_kills: u32,
    /// Readers of whom there is no delivery: none of these may be.
    pub forgotten: u64,
    /// Deliveries that the ledger does not call accepted, or calls so though the sink never had them.
    pub lost: u64,
    /// Mails the sink had that belong to no delivery: none of these may be.
    pub unowed: u64,
    /// Mails the sink had more than once, each copy beyond the first.
    pub doubled: u64,
    /// Attempts of which the ledger says that nobody knows.
    pub uncertain: u64,
    /// Second copies that no uncertain attempt tells of: none of these may be.
    pub untold: u64,
    /// Second copies whose bytes differ: none of these may be.
    pub altered: u64,
    /// Where the deliveries stand.
    pub counts: Counts,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    /// Whether the promises were kept: nobody forgotten, nobody lost, every double told, no more of them than open
    /// connections, and no mail that nobody was owed.
    pub fn kept(&self, connections: u32) -> bool {
        let most = u64::from(self.kills) * u64::from(connections);
        self.forgotten == 0
            && self.lost == 0
            && self.unowed == 0
            && self.untold == 0
            && self.altered == 0
            && self.uncertain <= most
            && self.doubled <= self.uncertain
            && self.counts.all_final()
    }

    /// Whether every kill that was asked for interrupted something: fewer prove less.
    pub fn is_whole(&self, kills: u32) -> bool {
        self.idle_kills == 0 && self.kills == kills
    }
}

struct Ground<'a> {
    drill: &'a Drill,
    stage: &'a Stage,
    edition: EditionId,
    random: Random,
    daemons: Vec<Daemon>,
}

/// Runs a drill; `say` hears how far it is. `None` where it was told to end before that: nothing of it is left then.
///
/// # Errors
/// A stage that cannot be set, a daemon that cannot be started.
pub async fn run(
    drill: &Drill,
    random: Random,
    shutdown: &Shutdown,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Option<Report>> {
    let recorder = Arc::new(Recorder::new(random.clone()));
    let relay = stage::sink::open(recorder.clone())
        .await
        .map_err(|error| Error::Start(format!("the drill's sink: {error}")))?;
    let setting = Setting {
        postgres: drill.postgres.clone(),
        relay,
        connections: drill.connections,
        messages_per_connection: 100,
        lease: drill.lease,
        retry: Duration::from_millis(500),
        key: None,
    };
    let stage = Stage::set(&setting).await?;
    // Struck whatever happens: a schema on somebody's server must not stay behind.
    let played = on_stage(drill, &stage, random, &recorder, shutdown, say).await;
    stage.strike().await?;
    played
}

async fn on_stage(
    drill: &Drill,
    stage: &Stage,
    random: Random,
    recorder: &Recorder,
    shutdown: &Shutdown,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Option<Report>> {
    let Some(edition) = unless_ended(shutdown, furnish(drill, stage)).await else { return Ok(None) };
    let edition = edition?;
    let mut ground = Ground { drill, stage, edition, random, daemons: Vec::new() };
    let start = Instant::now();
    let played = unless_ended(shutdown, ground.play(recorder, say)).await;
    for daemon in &mut ground.daemons {
        // Those that finished are gone already.
        drop(daemon.child.kill().await);
    }
    let Some(played) = played else { return Ok(None) };
    let mut report = played?;
    report.seconds = start.elapsed().as_secs_f64();
    let judged = unless_ended(shutdown, judge::judge(drill, stage, edition, recorder, &mut report)).await;
    judged.map(|judged| judged.map(|()| report)).transpose()
}

/// What this comes to; `None` where it was to end before that.
async fn unless_ended<T>(shutdown: &Shutdown, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = shutdown.draining() => None,
        done = work => Some(done),
    }
}

/// Readers, an edition, and that it may be sent.
async fn furnish(drill: &Drill, stage: &Stage) -> Result<EditionId> {
    stage.readers(1, drill.deliveries.into()).await?;
    let bytes = stage::letter(drill.bytes)?.to_bytes();
    let edition = stage.edition(&[("fr".to_owned(), bytes)], 0).await?;
    stage.plan(edition).await?;
    stage.start(edition).await?;
    Ok(edition)
}

impl Ground<'_> {
    async fn play(&mut self, recorder: &Recorder, say: &(dyn Fn(&str) + Sync)) -> Result<Report> {
        let mut report = Report::default();
        for place in 0..self.drill.daemons {
            self.start(place)?;
        }
        let all = u64::from(self.drill.deliveries);
        let mut cycle = Duration::from_millis(150);
        for kill in 0..self.drill.kills {
            let begun = Instant::now();
            let left = all.saturating_sub(recorder.taken());
            let spacing = (left / u64::from(self.drill.kills - kill + 1)).max(1);
            // So slow a sink that the deliveries last for the kills that are still to come.
            let connections = self.drill.connections * self.drill.daemons;
            let wait = cycle * connections / u32::try_from(spacing).unwrap_or(u32::MAX);
            recorder.set_wait(wait.min(Duration::from_millis(300)));
            let goal = recorder.taken() + self.random.between(1, spacing.max(2));
            self.until(|| recorder.taken() >= goal).await?;
            let Some((place, open)) = self.kill().await? else {
                report.idle_kills += 1;
                break;
            };
            report.kills += 1;
            *report.open_at_kill.entry(open).or_default() += 1;
            let leave_dead = self.drill.daemons > 1 && kill % 3 == 2;
            if leave_dead {
                report.not_restarted += 1;
                // The others go on; who takes over waits for the lease, because it is another host's daemon.
                recorder
                    .set_wait(self.drill.lease * connections / u32::try_from(spacing).unwrap_or(u32::MAX));
                self.until_taken_over().await?;
            }
            self.start(place)?;
            if !leave_dead {
                cycle = (cycle + begun.elapsed()) / 2;
            }
            if (kill + 1) % 20 == 0 {
                say(&format!("{} kills, {} mails taken", kill + 1, recorder.taken()));
            }
        }
        recorder.set_wait(Duration::ZERO);
        let until = Instant::now() + Duration::from_secs(600);
        while !self.finished().await? {
            self.look_after_daemons()?;
            if Instant::now() > until {
                return Err(Error::Start("the drill: the deliveries do not end".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(report)
    }

    /// Starts one more daemon.
    fn start(&mut self, place: u32) -> Result<()> {
        self.daemons.push(Daemon::start(self.drill, self.stage, place)?);
        Ok(())
    }

    /// Looks that nobody is gone but those that were killed: what they were to do would be waited for in vain.
    ///
    /// # Errors
    /// One that ended by itself, with what it said.
    fn look_after_daemons(&mut self) -> Result<()> {
        for at in 0..self.daemons.len() {
            let ended = self.daemons[at].child.try_wait();
            if let Some(status) = ended.map_err(|error| Error::Start(format!("wait: {error}")))? {
                let said = self.said();
                return Err(Error::Start(format!(
                    "a daemon of the drill ended by itself ({status})\n{said}"
                )));
            }
        }
        Ok(())
    }

    async fn until(&mut self, mut done: impl FnMut() -> bool) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(120);
        while !done() {
            self.look_after_daemons()?;
            if Instant::now() > until {
                return Err(Error::Start(format!("the drill stands still\n{}", self.said())));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Kills a daemon while attempts of it are open; its place, and how many these were. `None` when there is nothing
    /// left to open.
    async fn kill(&mut self) -> Result<Option<(u32, u64)>> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            self.look_after_daemons()?;
            let at = usize::try_from(self.random.between(0, self.daemons.len() as u64)).unwrap_or(0);
            let pid = self.daemons[at].pid;
            signal(pid, "STOP").await?;
            let open = {
                let mut conn = self.stage.house.db.read().await?;
                store::open_attempts(&mut conn, pid).await?
            };
            if open > 0 {
                let mut daemon = self.daemons.swap_remove(at);
                daemon.child.kill().await.map_err(|error| Error::Start(format!("kill: {error}")))?;
                return Ok(Some((daemon.place, u64::try_from(open).unwrap_or(0))));
            }
            signal(pid, "CONT").await?;
            if self.finished().await? || Instant::now() > until {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_micros(self.random.between(200, 5_000))).await;
        }
    }

    async fn until_taken_over(&mut self) -> Result<()> {
        let alive: Vec<i64> = self.daemons.iter().map(|daemon| daemon.pid).collect();
        let until = Instant::now() + self.drill.lease * 5 + Duration::from_secs(10);
        loop {
            self.look_after_daemons()?;
            let mut conn = self.stage.house.db.read().await?;
            let here = store::not_gone(&mut conn).await?;
            drop(conn);
            if here.iter().all(|pid| alive.contains(pid)) || self.finished().await? {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(Error::Start(format!("the drill: nobody took over\n{}", self.said())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn finished(&self) -> Result<bool> {
        let mut conn = self.stage.house.db.read().await?;
        Ok(delivery::store::all_final(&mut conn, self.edition).await?)
    }

    /// What the daemons complained of, for a drill that fails.
    fn said(&self) -> String {
        std::fs::read_to_string(daemons::log(self.stage))
            .map(|text| {
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(10)..].join("\n")
            })
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drill_whose_daemons_end_by_themselves_says_so_at_once_and_what_they_said() {
        let drill = Drill {
            // Whatever it is asked to do, it ends and complains of it.
            program: "ls".into(),
            postgres: None,
            kills: 1,
            deliveries: 20,
            daemons: 1,
            connections: 2,
            lease: Duration::from_secs(60),
            bytes: 2_000,
        };
        let ran = run(&drill, Random::seeded(1), &Shutdown::new(), &|_| {}).await;
        let error = ran.unwrap_err().to_string();
        let (told, said) = error.split_once('\n').unwrap();
        assert!(told.contains("ended by itself (exit status: "), "{error}");
        assert!(said.starts_with("ls: "), "{error}");
    }
}
