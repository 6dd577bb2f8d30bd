//! One connection at work: an envelope, a commit, a body and its dot, and the next envelope behind it.
//!
//! `held` opens and ends its sessions, `making` has its messages made; `heed` draws from replies and losses what they ask
//! of everybody else, `refusals` what many of them come to, and `losses` knows what sessions ended with.

mod heed;
mod held;
mod losses;
mod making;
mod refusals;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::Error;
use super::classify::{By, Class, Rules, Run};
use super::commit::{Answer, Committer, Request};
use super::dispatch::Dispatch;
use super::ledger::{Claimed, Verdict};
use super::message::{Composed, Composer};
use super::mx::{self, Going, Route};
use super::pace::store as paces;
use super::relay::{Carried, Connection, Job, Lane, Next, Relay, Share};
use super::reply::Reply;
use super::session::{Ended, Lost, Received, Session};
use crate::clock::Clock;
use crate::config::Timeouts;
use crate::db::Db;
use crate::editions::{self, EditionId, EditionState, Who};
pub(super) use losses::Losses;
use making::following;
pub(super) use refusals::Refusals;

/// A session with nothing to do is kept so long.
const IDLE: Duration = Duration::from_secs(5);
/// How long it is waited for another worker's block of starts before it is looked again.
const TAKING: Duration = Duration::from_millis(50);
/// A relay or provider that says it blocks us is left alone so long, where no rule says how long.
const PAUSE: Duration = Duration::from_secs(600);
/// So many readers whose mail is refused as such stop the edition: every further mail would meet the same.
const STOP_AFTER: usize = 3;
/// While enough others are being tried that led nowhere the last time, a way that did waits so long.
const REST: Duration = Duration::from_secs(15);
/// While another daemon has every connection to a provider, what waits here waits so long.
const CROWDED: Duration = Duration::from_secs(2);

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
    /// What refusals come to together.
    pub(super) refusals: Refusals,
    /// What sessions ended with.
    pub(super) losses: Losses,
    /// The first retry delay.
    pub(super) retry: Duration,
}

/// A message and the delivery it belongs to.
struct Letter {
    job: Job,
    composed: Composed,
}

/// What a chain of messages on one session leaves behind.
type Pending = Option<(Claimed, i64, Verdict)>;

/// Works for one lane, until it is closed or has nothing to do for a while.
pub(super) async fn work(dispatch: Arc<Dispatch>, relay: Arc<Relay>, lane: Arc<Lane>) {
    let mut worker = Worker {
        dispatch,
        relay: relay.clone(),
        lane: lane.clone(),
        held: None,
        spoke: None,
        retired: false,
    };
    let mut idle = Instant::now() + IDLE;
    loop {
        let woken = lane.woken();
        let now = worker.dispatch.shared.clock.shared_ms();
        if lane.retire_if_crowded(now) {
            worker.hang_up().await;
            return;
        }
        let until = match relay.next(&lane, worker.carried(), false, now) {
            Next::Closed => break,
            Next::Job(job) => {
                match Box::pin(worker.chain(*job)).await {
                    // Nothing of ours counts any more: the socket closes without a word.
                    Answer::Fenced => return,
                    _ if worker.retired => return,
                    _ => {}
                }
                idle = Instant::now() + IDLE;
                continue;
            }
            Next::Take => {
                worker.dispatch.take(&relay, &lane).await;
                // Where another worker takes, it wakes us; otherwise there is something now.
                idle.min(Instant::now() + TAKING)
            }
            Next::NotBefore(until) => until.min(idle),
            // A message to somebody else has waited for this connection to end.
            Next::Nothing if worker.held.is_some() && relay.is_wanted() => {
                worker.hang_up().await;
                continue;
            }
            Next::Nothing => idle,
        };
        drop(timeout_at(until, woken).await);
        if Instant::now() >= idle {
            worker.hang_up().await;
            if lane.retire_if_idle() {
                return;
            }
            idle = Instant::now() + IDLE;
        }
    }
    worker.hang_up().await;
    lane.retire();
}

/// A session, and what it stands on.
struct Held {
    session: Session,
    carried: Carried,
    /// Its number among the connections that all daemons together may open to this provider.
    number: Option<i64>,
    _connection: Connection,
    _permit: OwnedSemaphorePermit,
}

struct Worker {
    dispatch: Arc<Dispatch>,
    relay: Arc<Relay>,
    lane: Arc<Lane>,
    held: Option<Held>,
    /// The receiver's host that its newest session is or was with, or that let it have none.
    spoke: Option<String>,
    /// It is no longer counted among its lane's.
    retired: bool,
}

/// Why there is no session.
enum NoSession {
    Lost(Lost),
    /// Other daemons have every connection.
    Crowded,
    /// The last try led nowhere, and enough of those are being tried.
    Doubtful,
    /// This life is over.
    Fenced,
}

impl Worker {
    fn shared(&self) -> &Shared {
        &self.dispatch.shared
    }

    fn carried(&self) -> Option<&Carried> {
        self.held.as_ref().map(|held| &held.carried)
    }

    fn session(&mut self) -> Option<&mut Session> {
        self.held.as_mut().map(|held| &mut held.session)
    }

    /// Sends one delivery, and whatever waits behind it, as long as the session goes on.
    async fn chain(&mut self, first: Job) -> Answer {
        let _at_work = self.shared().committer.at_work();
        let mut pending: Pending = None;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            let id = job.held.id.0;
            let letter = match self.compose(&job).await {
                Ok(composed) => Letter { job, composed },
                Err(error) => return self.not_made(job, &error, &mut pending).await,
            };
            let unfit = letter.composed.unfit.as_ref();
            let beforehand = unfit
                .map(|reply| self.verdict(reply, false))
                .or_else(|| letter.job.nowhere.as_ref().map(|(reply, class)| Verdict::ours(reply, *class)));
            if let Some(verdict) = beforehand {
                if self.record_refusal(&mut pending, letter, verdict).await == Answer::Fenced {
                    return Answer::Fenced;
                }
                continue;
            }
            match self.ready_session(&letter.job, &mut pending).await {
                Ok(()) => {}
                Err(NoSession::Fenced) => return Answer::Fenced,
                Err(NoSession::Crowded) => return self.wait_for_others(letter.job).await,
                Err(NoSession::Doubtful) => return self.have_a_rest(letter.job).await,
                Err(NoSession::Lost(Lost::Misfit(why))) if self.relay.is_mx() => {
                    return self.not_safe(&mut pending, letter, &why).await;
                }
                // Where another relay may take it, it has its try there.
                Err(NoSession::Lost(Lost::Refused(reply, why)))
                    if letter.job.choices.is_empty() && self.is_turned_away(&letter.job) =>
                {
                    return self.turned_away(&mut pending, letter, &reply, &why).await;
                }
                Err(NoSession::Lost(_)) if self.relay.is_closed() => {
                    return self.keep(&mut pending, vec![id]).await;
                }
                Err(NoSession::Lost(lost)) => return self.lost(lost, false, pending, letter.job).await,
            }
            let Some(session) = self.session() else { break };
            if let Some(reply) = session.unfit(&letter.composed.envelope, letter.composed.size()) {
                let verdict = self.verdict(&reply, false);
                // It was not said. What a relay has no room for it has for nobody; a receiver's server speaks for itself,
                // and an address that needs what is not offered says nothing of others.
                let of_all = verdict.class == Some(Class::Malformed) && !self.relay.is_mx();
                let answer = if of_all {
                    self.refused(&mut pending, letter, verdict).await
                } else {
                    self.record_refusal(&mut pending, letter, verdict).await
                };
                if answer == Answer::Fenced {
                    return Answer::Fenced;
                }
                continue;
            }
            let Some(session) = self.session() else { break };
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
        let mut behind = false;
        loop {
            match received {
                Err(lost) => {
                    let answer = self.ended_with(lost, behind, pending.take(), letter.job).await;
                    return Err(answer);
                }
                Ok(Received::Refused { reply, about_us }) => {
                    letter.job.share.take().into_iter().for_each(Share::spend);
                    let about_us = about_us || letter.composed.envelope.is_refused_as_ours(&reply);
                    let verdict = self.verdict(&reply, about_us);
                    return match self.refused(pending, letter, verdict).await {
                        Answer::Fenced => Err(Answer::Fenced),
                        _ => Ok(None),
                    };
                }
                Ok(Received::Ready) => {}
            }
            if let Err(error) = letter.composed.signed(letter.job.held.edition).await {
                // 354 and nothing to follow it: the socket closes.
                self.drop_session().await;
                return match self.not_made(letter.job, &error, pending).await {
                    Answer::Fenced => Err(Answer::Fenced),
                    _ => Ok(None),
                };
            }
            self.dispatch.making.made(letter.job.held.edition);
            let Some(held) = self.held.as_mut() else { return Ok(Some(letter.job)) };
            let request = Request {
                finished: pending.take(),
                asked: Some(letter.composed.release.clone()),
                ..Request::default()
            };
            let limit = self.lane.messages_per_connection.saturating_sub(1);
            let may_follow = held.session.pipelines() && held.session.may_go_on(limit);
            let (dispatch, relay, lane) = (&self.dispatch, &self.relay, &self.lane);
            let pieces = letter.composed.pieces();
            // The body goes ahead while the ledger is written, and the next letter is made; the end of this one waits.
            let (begun, answer, following) =
                tokio::join!(held.session.begin(&pieces), dispatch.shared.committer.commit(request), async {
                    if may_follow { following(dispatch, relay, lane, &held.carried) } else { None }
                },);
            match answer {
                Answer::Released => letter.job.share.take().into_iter().for_each(Share::spend),
                // 354 and a recipient who may no longer be written to: the socket closes, never a lone dot.
                Answer::Kept => {
                    self.not_yet(following);
                    self.drop_session().await;
                    return Ok(None);
                }
                Answer::Fenced => {
                    self.held = None;
                    return Err(Answer::Fenced);
                }
            }
            let following = match following {
                Some(next) if begun.is_ok() && self.fits(&next.composed) => Some(next),
                // It has its own reasons not to go here; they are told when it comes first.
                other => {
                    self.not_yet(other);
                    None
                }
            };
            let envelope = following.as_ref().map(|next| &next.composed.envelope);
            let (ended, answered) = match (begun, self.session()) {
                (Ok(begun), Some(session)) => session.body(&pieces, begun, envelope).await,
                (Err(lost), _) => (Ended::Unsent(lost.to_string()), None),
                (Ok(_), None) => (Ended::Unsent("the session is gone".to_owned()), None),
            };
            let mut verdict = match &ended {
                Ended::Answered(reply) => {
                    let about_us = letter.composed.envelope.is_refused_as_ours(reply);
                    self.verdict(reply, about_us)
                }
                Ended::Unknown(why) => {
                    tracing::warn!(delivery.id = letter.job.held.id.0, reason = %why, "the dot may have left unanswered");
                    Verdict::unknown()
                }
                Ended::Unsent(why) => {
                    tracing::info!(delivery.id = letter.job.held.id.0, reason = %why, "the body did not get through");
                    Verdict::unsent()
                }
            };
            self.learn(&letter.job, &mut verdict).await;
            if let Ended::Unknown(why) = &ended {
                self.unanswered(letter.job.route.as_ref(), why).await;
            }
            let over = !matches!(ended, Ended::Answered(_));
            *pending = Some((letter.job.held, letter.composed.release.number, verdict));
            match (following, answered) {
                (Some(next), Some(answered)) => {
                    letter = next;
                    received = answered;
                    behind = true;
                }
                (Some(next), None) => {
                    self.drop_session().await;
                    let back = vec![next.job.held.id.0];
                    return match self.keep(pending, back).await {
                        Answer::Fenced => Err(Answer::Fenced),
                        _ => Ok(None),
                    };
                }
                (None, _) => {
                    if over {
                        self.drop_session().await;
                    }
                    return Ok(self.waiting());
                }
            }
        }
    }

    /// What this reply means, said by whoever this lane leads to.
    fn verdict(&self, reply: &Reply, about_us: bool) -> Verdict {
        Verdict::of(reply, about_us, self.by(), &self.shared().rules)
    }

    fn by(&self) -> By {
        if self.relay.is_mx() { By::Receiver } else { By::Relay }
    }

    /// Whether the open session may carry it.
    fn fits(&self, composed: &Composed) -> bool {
        self.held.as_ref().is_some_and(|held| {
            composed.unfit.is_none() && held.session.unfit(&composed.envelope, composed.size()).is_none()
        })
    }

    fn waiting(&self) -> Option<Job> {
        let now = self.shared().clock.shared_ms();
        if self.lane.is_crowded(now) {
            return None;
        }
        match self.relay.next(&self.lane, self.carried(), false, now) {
            Next::Job(job) => Some(*job),
            _ => None,
        }
    }

    async fn keep(&self, pending: &mut Pending, back: Vec<i64>) -> Answer {
        let finished = pending.take();
        if finished.is_none() && back.is_empty() {
            return Answer::Kept;
        }
        self.shared().committer.commit(Request { finished, back, ..Request::default() }).await
    }

    async fn refused(&mut self, pending: &mut Pending, letter: Letter, mut verdict: Verdict) -> Answer {
        self.learn(&letter.job, &mut verdict).await;
        self.record_refusal(pending, letter, verdict).await
    }

    async fn record_refusal(&self, pending: &mut Pending, letter: Letter, verdict: Verdict) -> Answer {
        let request = Request {
            finished: pending.take(),
            refused: Some((letter.job.held, letter.composed.release, verdict)),
            ..Request::default()
        };
        self.shared().committer.commit(request).await
    }
}
