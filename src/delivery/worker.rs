//! One connection at work: an envelope, a commit, a body and its dot, and the next envelope behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::classify::{Rules, Run};
use super::commit::{Answer, Committer, Request};
use super::ledger::{Claimed, Verdict};
use super::message::{Composed, Composer};
use super::relay::{Job, Next, Relay};
use super::session::{Ended, Lost, Received, Session};
use crate::clock::Clock;
use crate::config::Timeouts;
use crate::db::Db;
use crate::editions::{self, EditionId, EditionState, Who};

/// A session with nothing to do is kept so long.
const IDLE: Duration = Duration::from_secs(5);
/// A relay that says it blocks us is left alone so long.
const PAUSE: Duration = Duration::from_secs(600);
/// So many refusals that speak of us stop the edition: every further mail would meet the same.
const STOP_AFTER: u32 = 3;
/// After so many acceptances in a row a slowed relay goes a step faster.
const SPEED_UP_AFTER: u32 = 200;

/// What the connections of one daemon's life share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) composer: Composer,
    pub(super) committer: Committer,
    pub(super) rules: Rules,
    pub(super) timeouts: Timeouts,
    pub(super) helo: String,
    /// Refusals that speak of our authentication or our message, in this life.
    pub(super) against_us: AtomicU32,
}

/// A message and the delivery it belongs to.
struct Letter {
    job: Job,
    composed: Composed,
}

/// What a chain of messages on one session leaves behind.
type Pending = Option<(Claimed, i64, Verdict)>;

/// Works for one relay until it is closed.
pub(super) async fn work(shared: Arc<Shared>, relay: Arc<Relay>) {
    let mut worker = Worker { shared, relay, session: None, accepted_in_a_row: 0 };
    let relay = worker.relay.clone();
    loop {
        let idle = Instant::now() + IDLE;
        let woken = relay.woken();
        let until = match relay.try_next() {
            Next::Closed => break,
            Next::Job(job) => {
                if Box::pin(worker.chain(*job)).await == Answer::Fenced {
                    // Nothing of ours counts any more: the socket closes without a word.
                    return;
                }
                continue;
            }
            Next::NotBefore(until) => Some(until.min(idle)),
            Next::Nothing => worker.session.is_some().then_some(idle),
        };
        match until {
            Some(until) => drop(timeout_at(until, woken).await),
            None => woken.await,
        }
        if Instant::now() >= idle {
            worker.hang_up().await;
        }
    }
    worker.hang_up().await;
}

struct Worker {
    shared: Arc<Shared>,
    relay: Arc<Relay>,
    session: Option<Session>,
    accepted_in_a_row: u32,
}

impl Worker {
    async fn hang_up(&mut self) {
        if let Some(session) = self.session.take() {
            session.quit().await;
        }
    }

    /// Sends one delivery, and whatever waits behind it, as long as the session goes on.
    async fn chain(&mut self, first: Job) -> Answer {
        let _at_work = self.shared.committer.at_work();
        let mut pending: Pending = None;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            let id = job.held.id.0;
            let Some(letter) = self.compose(job).await else {
                if self.keep(&mut pending, vec![id]).await == Answer::Fenced {
                    return Answer::Fenced;
                }
                break;
            };
            if let Some(reply) = &letter.composed.unfit {
                let verdict = Verdict::of(reply, false, &self.shared.rules);
                if self.record_refusal(&mut pending, letter, verdict).await == Answer::Fenced {
                    return Answer::Fenced;
                }
                continue;
            }
            if let Err(lost) = self.ready_session(&mut pending).await {
                return self.lost(lost, pending, vec![letter.job]).await;
            }
            let Some(session) = self.session.as_mut() else { break };
            if let Some(reply) = session.unfit(&letter.composed.envelope, letter.composed.body.len()) {
                let verdict = Verdict::of(&reply, false, &self.shared.rules);
                if self.refused(&mut pending, letter, verdict).await == Answer::Fenced {
                    return Answer::Fenced;
                }
                continue;
            }
            let received = session.envelope(&letter.composed.envelope).await;
            match self.letters(letter, received, &mut pending).await {
                Ok(waiting) => next = waiting,
                Err(answer) => return answer,
            }
        }
        self.keep(&mut pending, Vec::new()).await
    }

    /// From the answer to an envelope on: body after body while each next envelope travels with the dot before it.
    /// Gives back a job that was taken and could not travel that way.
    async fn letters(
        &mut self,
        mut letter: Letter,
        mut received: Result<Received, Lost>,
        pending: &mut Pending,
    ) -> Result<Option<Job>, Answer> {
        loop {
            match received {
                Err(lost) => {
                    let answer = self.lost(lost, pending.take(), vec![letter.job]).await;
                    return Err(answer);
                }
                Ok(Received::Refused { reply, about_us }) => {
                    let verdict = Verdict::of(&reply, about_us, &self.shared.rules);
                    return match self.refused(pending, letter, verdict).await {
                        Answer::Fenced => Err(Answer::Fenced),
                        _ => Ok(None),
                    };
                }
                Ok(Received::Ready) => {}
            }
            let Some(session) = self.session.as_mut() else { return Ok(Some(letter.job)) };
            let request = Request {
                finished: pending.take(),
                refused: None,
                asked: Some(letter.composed.release.clone()),
                back: Vec::new(),
            };
            // The body goes ahead while the ledger is written; its end waits.
            let (begun, answer) =
                tokio::join!(session.begin(&letter.composed.body), self.shared.committer.commit(request));
            match answer {
                Answer::Released => {}
                // 354 and a recipient who may no longer be written to: the socket closes, never a lone dot.
                Answer::Kept => {
                    self.session = None;
                    return Ok(None);
                }
                Answer::Fenced => {
                    self.session = None;
                    return Err(Answer::Fenced);
                }
            }
            let following = if begun.is_ok() { self.following().await } else { None };
            let envelope = following.as_ref().map(|next| &next.composed.envelope);
            let (ended, answered) = match (begun, self.session.as_mut()) {
                (Ok(begun), Some(session)) => session.body(&mut letter.composed.body, begun, envelope).await,
                (Err(lost), _) => (Ended::Unsent(lost.to_string()), None),
                (Ok(_), None) => (Ended::Unsent("the session is gone".to_owned()), None),
            };
            let verdict = match &ended {
                Ended::Answered(reply) => Verdict::of(reply, false, &self.shared.rules),
                Ended::Unknown(why) => {
                    tracing::warn!(delivery.id = letter.job.held.id.0, reason = %why, "the dot may have left unanswered");
                    Verdict::unknown()
                }
                Ended::Unsent(why) => {
                    tracing::info!(delivery.id = letter.job.held.id.0, reason = %why, "the body did not get through");
                    Verdict::unsent()
                }
            };
            self.learn(&letter.job, &verdict).await;
            let over = !matches!(ended, Ended::Answered(_));
            *pending = Some((letter.job.held, letter.composed.release.number, verdict));
            match (following, answered) {
                (Some(next), Some(answered)) => {
                    letter = next;
                    received = answered;
                }
                (Some(next), None) => {
                    self.session = None;
                    let back = vec![next.job.held.id.0];
                    return match self.keep(pending, back).await {
                        Answer::Fenced => Err(Answer::Fenced),
                        _ => Ok(None),
                    };
                }
                (None, _) => {
                    if over {
                        self.session = None;
                    }
                    return Ok(self.waiting());
                }
            }
        }
    }

    /// The next letter, when it may travel with the end of this one.
    async fn following(&self) -> Option<Letter> {
        let limit = self.relay.config.messages_per_connection;
        let session = self.session.as_ref()?;
        if !session.pipelines() || !session.may_go_on(limit.saturating_sub(1)) {
            return None;
        }
        let Next::Job(job) = self.relay.try_next() else { return None };
        let id = job.held.id.0;
        let letter = self.compose(*job).await;
        match letter {
            Some(letter)
                if letter.composed.unfit.is_none()
                    && self.session.as_ref().is_some_and(|session| {
                        session.unfit(&letter.composed.envelope, letter.composed.body.len()).is_none()
                    }) =>
            {
                Some(letter)
            }
            Some(letter) => {
                // It has its own reasons not to go here; they are told when it comes first.
                self.relay.push(vec![letter.job]);
                None
            }
            None => {
                let request = Request { finished: None, refused: None, asked: None, back: vec![id] };
                self.shared.committer.commit(request).await;
                None
            }
        }
    }

    fn waiting(&self) -> Option<Job> {
        match self.relay.try_next() {
            Next::Job(job) => Some(*job),
            _ => None,
        }
    }

    async fn compose(&self, job: Job) -> Option<Letter> {
        let (civil, now) = (self.shared.clock.civil_ms(), self.shared.clock.now_ms());
        let name = &self.relay.config.name;
        match self.shared.composer.compose(&job.held, &job.sending, &job.newsletter, name, civil, now).await {
            Ok(composed) => Some(Letter { job, composed }),
            Err(error) => {
                tracing::error!(%error, delivery.id = job.held.id.0, "a message cannot be made; its delivery waits");
                // Otherwise it would be claimed again at once, and again.
                tokio::time::sleep(Duration::from_secs(1)).await;
                None
            }
        }
    }

    /// A session that may take another message; outcomes are kept before anything that takes long.
    async fn ready_session(&mut self, pending: &mut Pending) -> Result<(), Lost> {
        let limit = self.relay.config.messages_per_connection;
        if self.session.as_ref().is_some_and(|session| session.may_go_on(limit)) {
            return Ok(());
        }
        self.keep(pending, Vec::new()).await;
        self.hang_up().await;
        let helo = self.relay.config.helo.as_deref().unwrap_or(&self.shared.helo);
        self.session = Some(Session::open(&self.relay.config, helo, self.shared.timeouts).await?);
        Ok(())
    }

    async fn keep(&self, pending: &mut Pending, back: Vec<i64>) -> Answer {
        let finished = pending.take();
        if finished.is_none() && back.is_empty() {
            return Answer::Kept;
        }
        self.shared.committer.commit(Request { finished, refused: None, asked: None, back }).await
    }

    async fn refused(&mut self, pending: &mut Pending, letter: Letter, verdict: Verdict) -> Answer {
        self.learn(&letter.job, &verdict).await;
        self.record_refusal(pending, letter, verdict).await
    }

    async fn record_refusal(&self, pending: &mut Pending, letter: Letter, verdict: Verdict) -> Answer {
        let request = Request {
            finished: pending.take(),
            refused: Some((letter.job.held, letter.composed.release, verdict)),
            asked: None,
            back: Vec::new(),
        };
        self.shared.committer.commit(request).await
    }

    /// The session is gone and nothing of these was tried: they go back.
    async fn lost(&mut self, lost: Lost, mut pending: Pending, jobs: Vec<Job>) -> Answer {
        self.session = None;
        let mut back: Vec<i64> = jobs.iter().map(|job| job.held.id.0).collect();
        if !matches!(lost, Lost::Gone(_)) || self.relay.gone() {
            tracing::warn!(relay.name = %self.relay.config.name, reason = %lost, "the relay takes nothing");
            back.extend(self.relay.down().iter().map(|job| job.held.id.0));
            self.note(Some(&lost.to_string())).await;
        }
        self.keep(&mut pending, back).await
    }

    async fn note(&self, down: Option<&str>) {
        let name = &self.relay.config.name;
        let noted = async {
            let mut tx = self.shared.db.write().await?;
            match down {
                Some(why) => {
                    super::relay::store::mark_down(&mut tx, name, self.shared.clock.now(), why).await?;
                }
                None => super::relay::store::mark_up(&mut tx, name).await?,
            }
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, relay.name = %name, "the relay's state could not be noted");
        }
    }

    /// What a verdict asks of the rest of the run.
    async fn learn(&mut self, job: &Job, verdict: &Verdict) {
        if verdict.code.is_some() && self.relay.up() {
            tracing::info!(relay.name = %self.relay.config.name, "the relay is back");
            self.note(None).await;
        }
        let Some(class) = verdict.class else {
            self.accepted_in_a_row += 1;
            if self.accepted_in_a_row.is_multiple_of(SPEED_UP_AFTER) {
                self.relay.speed_up();
            }
            return;
        };
        self.accepted_in_a_row = 0;
        let said = verdict.text.as_deref().unwrap_or_default();
        match class.run() {
            Run::GoOn => {}
            Run::Slow => self.relay.slow_down(),
            Run::Pause => {
                tracing::error!(relay.name = %self.relay.config.name, class = class.as_str(), "refused as a sender: pausing the relay");
                let back = self.relay.pause(PAUSE).iter().map(|job| job.held.id.0).collect();
                self.keep(&mut None, back).await;
                self.note(Some(said)).await;
            }
            Run::Stop => {
                let count = self.shared.against_us.fetch_add(1, Ordering::AcqRel) + 1;
                if count == STOP_AFTER {
                    tracing::error!(
                        edition.id = job.sending.id,
                        class = class.as_str(),
                        "every mail would meet this: holding the edition"
                    );
                    self.hold(job, said).await;
                }
            }
        }
    }

    async fn hold(&self, job: &Job, said: &str) {
        let held = async {
            let mut tx = self.shared.db.write().await?;
            let edition = editions::store::load(&mut tx, EditionId(job.sending.id)).await?;
            if edition.state == EditionState::Sending {
                let reason =
                    format!("{}: the relay refuses our mail as such: {said}", self.relay.config.name);
                let who = Who("delivery".to_owned());
                let now = self.shared.clock.now();
                editions::store::set_state(&mut tx, &edition, EditionState::Held, Some(&reason), &who, now)
                    .await?;
            }
            tx.commit().await
        };
        if let Err(error) = held.await {
            tracing::error!(%error, edition.id = job.sending.id, "the edition could not be held");
        }
    }
}
