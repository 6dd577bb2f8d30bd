//! Messages are made: now, or ahead of their turn, or not at all.

use std::time::Duration;

use super::{Answer, Error, Letter, Pending, Worker};
use crate::delivery;
use crate::delivery::dispatch::Dispatch;
use crate::delivery::message::{Composed, Wanted};
use crate::delivery::relay::{Carried, Job, Lane, Next, Relay};
use crate::telemetry::nameless;

/// A message that cannot be made is tried again after so long.
const NOT_MADE: Duration = Duration::from_secs(60);

impl Worker {
    pub(super) async fn compose(&self, job: &Job) -> delivery::Result<Composed> {
        let mut composed = self.shared().composer.compose(wanted(&self.dispatch, &self.relay, job)).await?;
        composed.signed(job.held.edition).await?;
        Ok(composed)
    }

    /// A message cannot be made: its delivery waits, behind those that can.
    pub(super) async fn not_made(&self, job: Job, error: &Error, pending: &mut Pending) -> Answer {
        let id = job.held.id.0;
        tracing::error!(%error, delivery.id = id, "a message cannot be made; its delivery waits");
        // A database that is away says nothing of the edition.
        if let Error::Message { edition, .. } = error {
            let now = self.shared().clock.now();
            if self.dispatch.making.not_made((*edition, id), &nameless(&error.to_string()), now) {
                tracing::error!(%error, edition.id = edition, "no message of the edition can be made");
            }
        }
        if self.keep(pending, Vec::new()).await == Answer::Fenced {
            return Answer::Fenced;
        }
        // Where none can be made, each of them is told, and not all at once.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.dispatch.put_off(vec![job], NOT_MADE).await;
        Answer::Kept
    }

    /// What was made ahead waits again for its turn.
    pub(super) fn not_yet(&self, letter: Option<Letter>) {
        if let Some(letter) = letter {
            self.lane.return_one(letter.job);
        }
    }
}

fn wanted<'a>(dispatch: &Dispatch, relay: &'a Relay, job: &'a Job) -> Wanted<'a> {
    Wanted {
        held: &job.held,
        sending: &job.sending,
        newsletter: &job.newsletter,
        relay: &relay.config.name,
        civil: dispatch.shared.clock.civil_ms(),
        now: dispatch.shared.clock.now_ms(),
    }
}

/// The next letter, when it may travel with the end of the one that is under way. Nothing is read or signed for it first: a
/// dot that was released would wait for that, and what releases are asked about (a hold, a goodbye) would be older than it
/// has to be.
pub(super) fn following(
    dispatch: &Dispatch,
    relay: &Relay,
    lane: &Lane,
    carried: &Carried,
) -> Option<Letter> {
    let now = dispatch.shared.clock.shared_ms();
    if lane.is_crowded(now) {
        return None;
    }
    let Next::Job(job) = relay.next(lane, Some(carried), true, now) else { return None };
    if let Some(Ok(composed)) = dispatch.shared.composer.compose_at_once(wanted(dispatch, relay, &job)) {
        return Some(Letter { job: *job, composed });
    }
    lane.return_one(*job);
    None
}
