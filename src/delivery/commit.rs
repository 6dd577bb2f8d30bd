//! The one committer of a process: every connection that waits joins one transaction.
//!
//! It lingers at most as long as the configuration says, and not at all once most of the connections at work joined, or
//! while fewer come than one in so long. A database that is away for a while is waited for: no dot is written meanwhile,
//! nothing is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::engine::Troubles;
use super::ledger::{self, Claimed, Me, Move, Policy, Release, Verdict};
use super::protocol::{self, Doubt, Group, Kept, Later, Looked, Recent, Round, Turns};
use super::{Error, Result};
use crate::clock::{Clock, Random};
use crate::config::Delivery;
use crate::db::Db;

/// What a connection brings, and what it wants.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// An open attempt that ended.
    pub(super) finished: Option<(Claimed, i64, Verdict)>,
    /// An attempt that was refused before its body.
    pub(super) refused: Option<(Claimed, Release, Verdict)>,
    /// A body that waits to be ended.
    pub(super) asked: Option<Release>,
    /// Claims that go back.
    pub(super) back: Vec<i64>,
    /// Claims that go back and wait.
    pub(super) later: Vec<Later>,
    /// What was found to be due, to be claimed.
    pub(super) due: Option<Claims>,
}

/// Deliveries to be claimed as they were when they were looked at.
#[derive(Debug)]
pub(super) struct Claims {
    due: Vec<Looked>,
    taken: oneshot::Sender<Vec<i64>>,
}

/// The answer to a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Everything is kept; what was asked for may be ended now.
    Released,
    /// Everything is kept; what was asked for, if anything, may not leave.
    Kept,
    /// This daemon's life is over: close the socket, write nothing.
    Fenced,
}

/// A request and who asks. Boxed: it is moved a dozen times.
type Waiting = (Box<Request>, oneshot::Sender<Answer>);

/// Where requests go; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Committer {
    /// `None`: nothing is recorded.
    requests: Option<mpsc::Sender<Waiting>>,
    at_work: Arc<AtomicUsize>,
    turns: Turns,
}

impl Committer {
    /// Starts the committer of this life.
    pub(super) fn start(
        db: Db,
        clock: Clock,
        random: Random,
        me: Me,
        settings: &Delivery,
        troubles: Arc<Troubles>,
        recent: Arc<Recent>,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(4096);
        let (at_work, turns) = (Arc::new(AtomicUsize::new(0)), Turns::default());
        let loop_ = Loop {
            db,
            clock,
            random,
            me,
            settings: settings.clone(),
            inbox: Inbox::new(inbox, at_work.clone(), settings.linger),
            troubles,
            recent,
            turns: turns.clone(),
        };
        tokio::spawn(loop_.run());
        Self { requests: Some(requests), at_work, turns }
    }

    /// One that says yes to everything and records nothing: what the wire could do without a ledger.
    pub(super) fn unrecorded() -> Self {
        Self { requests: None, at_work: Arc::default(), turns: Turns::default() }
    }

    /// Brings something to the next commit and waits for it.
    pub(super) async fn commit(&self, request: Request) -> Answer {
        let Some(requests) = &self.requests else {
            return if request.asked.is_some() { Answer::Released } else { Answer::Kept };
        };
        let (answer, answered) = oneshot::channel();
        if requests.send((Box::new(request), answer)).await.is_err() {
            return Answer::Fenced;
        }
        answered.await.unwrap_or(Answer::Fenced)
    }

    /// Has the next commit claim these where they are still what they were; returns those that are ours now. Whoever
    /// gives the waiting up leaves claims that only the end of this life gives back.
    ///
    /// # Errors
    /// [`Error::Fenced`]: this life is over.
    pub(super) async fn claim(&self, due: Vec<Looked>) -> Result<Vec<i64>> {
        let (taken, told) = oneshot::channel();
        match self.commit(Request { due: Some(Claims { due, taken }), ..Request::default() }).await {
            Answer::Fenced => Err(Error::Fenced),
            Answer::Kept | Answer::Released => Ok(told.await.unwrap_or_default()),
        }
    }

    /// Whose turn it is to claim or to give back.
    pub(super) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Ends when nothing can be recorded any more, because the loop behind it broke.
    pub(super) async fn broken(&self) {
        match &self.requests {
            Some(requests) => requests.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Whether nothing can be recorded any more.
    pub(super) fn is_broken(&self) -> bool {
        self.requests.as_ref().is_some_and(mpsc::Sender::is_closed)
    }

    /// Counts a connection at work while the guard lives.
    pub(super) fn at_work(&self) -> AtWork {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        AtWork(self.at_work.clone())
    }

    /// How many connections are at work.
    pub(super) fn working(&self) -> usize {
        self.at_work.load(Ordering::Acquire)
    }
}

/// A connection at work.
#[derive(Debug)]
pub(super) struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Who waits for a commit.
struct Inbox {
    requests: mpsc::Receiver<Waiting>,
    at_work: Arc<AtomicUsize>,
    linger: Duration,
    /// How long it was lately from one request to the next.
    between: Duration,
    /// When the last ones were given out.
    since: Instant,
}

/// A pause counts as so many times the linger, or the first commits after it would be small.
const LONGEST_BETWEEN: u32 = 4;

impl Inbox {
    fn new(requests: mpsc::Receiver<Waiting>, at_work: Arc<AtomicUsize>, linger: Duration) -> Self {
        Self { requests, at_work, linger, between: Duration::ZERO, since: Instant::now() }
    }

    /// Everybody for the next commit. `None`: nobody will come any more.
    async fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut waiting = vec![self.requests.recv().await?];
        let until = Instant::now() + self.linger;
        // Relays that answer more slowly bring hardly anybody in time.
        let lingers = self.between < self.linger;
        loop {
            while let Ok(more) = self.requests.try_recv() {
                waiting.push(more);
            }
            // Most of them: their bodies are on the wire meanwhile, and a large commit costs little more than a small one.
            let enough = waiting.len() * 6 >= self.at_work.load(Ordering::Acquire) * 5;
            if enough || !lingers {
                break;
            }
            let Ok(Some(more)) = timeout_at(until, self.requests.recv()).await else { break };
            waiting.push(more);
        }
        let now = Instant::now();
        let each = (now - self.since) / u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        self.between = (self.between * 7 + each.min(self.linger * LONGEST_BETWEEN)) / 8;
        self.since = now;
        Some(waiting)
    }
}

struct Loop {
    db: Db,
    clock: Clock,
    random: Random,
    me: Me,
    settings: Delivery,
    inbox: Inbox,
    troubles: Arc<Troubles>,
    recent: Arc<Recent>,
    turns: Turns,
}

impl Loop {
    async fn run(mut self) {
        while let Some(waiting) = self.inbox.next().await {
            let group = self.group(&waiting);
            let kept = self.keep(&group).await;
            for (request, asker) in waiting {
                let answer = match &kept {
                    Ok(kept) => match &request.asked {
                        Some(release) if kept.released.contains(&release.delivery.0) => Answer::Released,
                        _ => Answer::Kept,
                    },
                    Err(_) => Answer::Fenced,
                };
                if let (Some(claims), Ok(kept)) = (request.due, &kept) {
                    claims.taken.send(kept.claimed.clone()).ok();
                }
                // A connection that went away meanwhile has closed its socket without a dot.
                asker.send(answer).ok();
            }
            // A life that is over goes on hearing answers: each is recorded, late, and nothing else is.
        }
    }

    fn group(&self, waiting: &[Waiting]) -> Group {
        let mut group = Group::default();
        for (request, _) in waiting {
            if let Some((held, number, verdict)) = &request.finished {
                group.finished.push((verdict.clone(), self.after(held, *number, verdict)));
            }
            if let Some((held, release, verdict)) = &request.refused {
                let to = self.after(held, release.number, verdict);
                group.refused.push((release.clone(), verdict.clone(), to));
            }
            group.asked.extend(request.asked.clone());
            group.back.extend(&request.back);
            group.later.extend(&request.later);
            group.due.extend(request.due.iter().flat_map(|claims| &claims.due));
        }
        group
    }

    fn after(&self, held: &Claimed, number: i64, verdict: &Verdict) -> Move {
        let policy = Policy {
            retry: &self.settings.retry,
            uncertain: self.settings.uncertain,
            now: self.clock.now_ms(),
            civil: self.clock.civil_ms(),
            jitter: self.random.between(0, 1001),
        };
        ledger::after(held, number, verdict.outcome, &policy)
    }

    /// Commits, however long the database is away.
    async fn keep(&self, group: &Group) -> Result<Kept> {
        let mut wait = Duration::from_millis(50);
        let mut round = Round::new(&self.turns);
        loop {
            let civil = self.clock.civil_ms();
            let release = async {
                self.recent.catch_up(&self.db, &self.clock, self.me, Doubt::of(&self.settings)).await?;
                protocol::release(&self.db, self.me, group, civil, &mut round, &self.recent).await
            };
            match self.db.answered(release).await {
                // That this life is over is an answer, too.
                answer @ (Ok(_) | Err(Error::Fenced)) => {
                    self.troubles.unwritten.over();
                    self.recent.keep(self.me, group, answer.as_ref().ok());
                    return answer;
                }
                Err(error) => {
                    self.troubles.unwritten.met(&error);
                    sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                    round.repeat();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(1);

    /// An inbox with so many connections at work, and the way into it.
    fn inbox(at_work: usize) -> (mpsc::Sender<Waiting>, Inbox) {
        let (sender, requests) = mpsc::channel(8);
        (sender, Inbox::new(requests, Arc::new(at_work.into()), LINGER))
    }

    /// So many come, after so long; returns how many of them made the next commit, and how long they waited for it.
    async fn come(
        (sender, inbox): &mut (mpsc::Sender<Waiting>, Inbox),
        many: usize,
        after: Duration,
    ) -> (usize, Duration) {
        tokio::time::advance(after).await;
        let came = Instant::now();
        for _ in 0..many {
            sender.try_send((Box::default(), oneshot::channel().0)).unwrap();
        }
        (inbox.next().await.unwrap().len(), came.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_waits_for_most_connections_and_no_longer_than_it_lingers() {
        let mut inbox = inbox(6);
        assert_eq!(come(&mut inbox, 5, Duration::ZERO).await, (5, Duration::ZERO), "five of six are enough");
        assert_eq!(come(&mut inbox, 4, Duration::ZERO).await, (4, LINGER), "others could have joined");
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_waits_for_nobody_while_hardly_anybody_comes() {
        let mut inbox = inbox(6);
        for _ in 0..8 {
            come(&mut inbox, 1, LINGER * 2).await;
        }
        assert_eq!(come(&mut inbox, 2, LINGER * 2).await, (2, Duration::ZERO));
        // And again for others once they come.
        for _ in 0..16 {
            come(&mut inbox, 5, LINGER).await;
        }
        assert_eq!(come(&mut inbox, 4, LINGER).await, (4, LINGER));
    }

    #[tokio::test]
    async fn p1_a_loop_that_broke_is_noticed_and_what_it_was_asked_may_not_leave() {
        let (requests, inbox) = mpsc::channel(1);
        let committer =
            Committer { requests: Some(requests), at_work: Arc::default(), turns: Turns::default() };
        let asked = committer.commit(Request::default());
        let breaks = tokio::spawn(async move {
            let _first = { inbox }.recv().await;
            panic!("it broke");
        });
        assert_eq!(asked.await, Answer::Fenced);
        committer.broken().await;
        assert!(committer.is_broken());
        assert!(breaks.await.is_err());
        assert_eq!(committer.commit(Request::default()).await, Answer::Fenced);
    }
}
