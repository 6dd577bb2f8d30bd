//! What the clock cannot do, from look to look: told by the log, by `/readyz`, and, where it lasts, by an alarm.
//!
//! Each newsletter has a trouble of its own, and the database one for all of them. An alarm is over when a look did all
//! of the newsletter's steps: that it is, is kept with the alarm, so that no other daemon and no later life rings twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::passed;
use super::undone::{Failure, Undone, lines};
use crate::morning::alert::{self, Cause};
use crate::morning::{House, Result, store};
use crate::telemetry::Trouble;

/// What is over sooner is not worth waking anybody.
const LASTS: Duration = Duration::from_secs(60);

/// What the clock of this process cannot do.
#[derive(Debug)]
pub struct Troubles {
    late: Trouble,
    stuck: AtomicBool,
    /// By newsletter; `None` for what is the whole house's.
    each: Mutex<BTreeMap<Option<String>, Stuck>>,
}

/// How one newsletter's steps go.
#[derive(Debug)]
struct Stuck {
    trouble: Trouble,
    since: Option<Timestamp>,
    /// When it was seen that no alarm about it is open: another daemon, or an earlier life, may have left one.
    quiet_at: Option<Timestamp>,
}

impl Default for Stuck {
    fn default() -> Self {
        let trouble = Trouble::new(
            "the clock could not do what is due for one newsletter, and goes on with the others; trying again",
            "the clock does what is due again",
        );
        Self { trouble, since: None, quiet_at: None }
    }
}

impl Default for Troubles {
    fn default() -> Self {
        let late = Trouble::new(
            "the clock could not do what is due; trying again",
            "the clock does what is due again",
        );
        Self { late, stuck: AtomicBool::new(false), each: Mutex::default() }
    }
}

/// What is to be done about one newsletter's alarm.
enum Ring {
    Raise(Option<String>, Cause),
    Clear(Option<String>),
}

impl Troubles {
    /// Whether something that is due could not be done at the last look.
    pub fn last(&self) -> bool {
        self.late.lasts() || self.stuck.load(Ordering::Relaxed)
    }

    /// Tells what came of a look; gives whether everything was done.
    pub async fn tell(&self, house: &House, looked: std::result::Result<(), Undone>) -> bool {
        let failures = match looked {
            Ok(()) => Vec::new(),
            Err(Undone::Steps(failures)) => failures,
            Err(Undone::Away(error)) => {
                self.late.met(&error);
                return false;
            }
        };
        self.stuck.store(!failures.is_empty(), Ordering::Relaxed);
        for ring in self.told(house, &failures) {
            if let Err(error) = house.db.answered(self.ring(house, ring)).await {
                self.late.met(&error);
                return false;
            }
        }
        self.late.over();
        failures.is_empty()
    }

    /// Tells the log, and gives what is to be done about alarms.
    fn told(&self, house: &House, failures: &[Failure]) -> Vec<Ring> {
        let now = house.clock.now();
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rings = Vec::new();
        for of in house.config.newsletters.keys().cloned().map(Some).chain([None]) {
            let stuck = each.entry(of.clone()).or_default();
            let own: Vec<&Failure> = failures.iter().filter(|failure| failure.newsletter == of).collect();
            let span = tracing::error_span!("clock.newsletter.look", newsletter.id = of.as_deref());
            if own.is_empty() {
                span.in_scope(|| stuck.trouble.over());
                stuck.since = None;
                if stuck.quiet_at.is_none_or(|at| passed(at, now) >= LASTS) {
                    rings.push(Ring::Clear(of));
                }
                continue;
            }
            let why = lines(own);
            span.in_scope(|| stuck.trouble.met(&why));
            stuck.quiet_at = None;
            let since = *stuck.since.get_or_insert(now);
            if passed(since, now) >= LASTS {
                rings.push(Ring::Raise(of, Cause::Clock(since, why)));
            }
        }
        rings
    }

    async fn ring(&self, house: &House, ring: Ring) -> Result<()> {
        let now = house.clock.now();
        match ring {
            Ring::Raise(of, cause) => {
                if store::open_clock_alarm(&mut house.db.read().await?, of.as_deref()).await? {
                    return Ok(());
                }
                let newsletter = of.as_ref().and_then(|id| house.config.newsletters.get(id));
                let mut tx = house.db.write().await?;
                match newsletter {
                    Some(newsletter) => alert::raise(&mut tx, newsletter, &cause, now).await?,
                    None => alert::raise_for_all(&mut tx, &house.config, None, &cause, now).await?,
                };
                Ok(tx.commit().await?)
            }
            Ring::Clear(of) => {
                if store::open_clock_alarm(&mut house.db.read().await?, of.as_deref()).await? {
                    let mut tx = house.db.write().await?;
                    store::clear_clock_alarms(&mut tx, of.as_deref(), now).await?;
                    tx.commit().await?;
                }
                let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
                each.entry(of).or_default().quiet_at = Some(now);
                Ok(())
            }
        }
    }
}
