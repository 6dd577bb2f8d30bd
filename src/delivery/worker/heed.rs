//! What replies and losses ask of everybody else: relays and providers that are down, slowed or paused, editions held.

use std::sync::Arc;
use std::time::Duration;

use super::refusals::{Enough, Taken, Whose};
use super::{
    Answer, Class, EditionId, EditionState, Job, Letter, Lost, PAUSE, Pending, Reply, Route, Run, Verdict,
    Who, Worker, editions, paces,
};
use crate::clock::timestamp;
use crate::delivery::pace::limit::Limit;
use crate::delivery::pace::providers::Asks;
use crate::delivery::relay::store;
use crate::delivery::reply::shown;
use crate::delivery::{CHANNEL, Outcome, shared_clock};
use crate::telemetry::nameless;

/// Where a server lets no more of us in, no further connection is tried for so long.
const FULL: Duration = Duration::from_secs(60);

impl Worker {
    /// A session ended with this envelope, which was not answered; `behind`: it travelled with the dot of another.
    pub(super) async fn ended_with(
        &mut self,
        lost: Lost,
        behind: bool,
        mut pending: Pending,
        job: Job,
    ) -> Answer {
        // That a session carries no more is nothing of this one.
        let of_this = match &lost {
            Lost::Ended(reply) => self.shared().rules.classify(reply, self.by()) != Class::Crowded,
            _ => !behind,
        };
        // What a session ends with once goes back at once: a server has its own reasons. With the same again it would be the
        // first of each next claim, and the end of each next session.
        if !of_this || !self.shared().losses.again(job.held.id.0) {
            return self.lost(lost, true, pending, job).await;
        }
        self.drop_session().await;
        if let Some(reply) = lost.reply().filter(|_| self.hears_the_provider(&job)) {
            self.hear_at_the_end(reply, true).await;
        }
        tracing::info!(relay.name = %self.relay.config.name, delivery.id = job.held.id.0, reason = %lost, "a session ended with this delivery once more; it waits");
        let answer = self.keep(&mut pending, Vec::new()).await;
        if answer != Answer::Fenced {
            self.dispatch.put_off(vec![job], self.shared().retry).await;
        }
        answer
    }

    /// The session is gone and nothing of this was tried: it goes back. `stood`: it had been there before.
    pub(super) async fn lost(&mut self, lost: Lost, stood: bool, mut pending: Pending, job: Job) -> Answer {
        self.drop_session().await;
        if let Some(reply) = lost.reply().filter(|_| self.hears_the_provider(&job)) {
            self.hear_at_the_end(reply, stood).await;
        }
        // A server may end a session for its own reasons; one that lets nobody in is left alone for a while.
        let chance = stood && matches!(lost, Lost::Gone(_) | Lost::Ended(_));
        let route = job.route.clone();
        let back = if !stood && lost.reply().is_some() && self.is_one_of_several(route.as_ref()) {
            self.one_too_many(job, &lost).await;
            Vec::new()
        } else if !chance || self.gone_too_often(route.as_ref()) {
            self.leave_alone(route.as_ref(), vec![job], &lost.to_string()).await
        } else {
            vec![job.held.id.0]
        };
        self.keep(&mut pending, back).await
    }

    /// The server lets no more of us in than there are: those go on.
    async fn one_too_many(&mut self, job: Job, why: &Lost) {
        let (name, provider) = (&self.relay.config.name, &self.lane.provider);
        tracing::debug!(relay.name = %name, provider = %provider, reason = %why, "no further connection is let in; going on with those that are");
        self.make_way(job, FULL).await;
    }

    /// Whether whoever spoke last speaks for the provider. A host of somebody else's, behind the provider's own, says
    /// nothing that other domains' mail should suffer from.
    fn hears_the_provider(&self, job: &Job) -> bool {
        match (&job.route, &self.spoke) {
            (Some(route), Some(host)) => route.speaks(host),
            _ => true,
        }
    }

    /// Whether another connection of this daemon is where this one went.
    fn is_one_of_several(&self, route: Option<&Arc<Route>>) -> bool {
        if self.relay.is_mx() {
            self.lane.is_connected(route)
        } else {
            self.relay.lanes().iter().any(|lane| lane.is_connected(None))
        }
    }

    /// A dot went unanswered. Where that happens time after time, a server takes mail and never says so, and each reader
    /// would have another copy from every further try: it is left alone for a while, longer each time.
    pub(super) async fn unanswered(&self, route: Option<&Arc<Route>>, why: &str) {
        if self.gone_too_often(route) {
            let why = format!("dots are not answered: {why}");
            let back = self.leave_alone(route, Vec::new(), &why).await;
            self.dispatch.give(back, Vec::new()).await;
        }
    }

    /// A session ended without an answer about a message; `true` when that happened too often in a row to be chance.
    fn gone_too_often(&self, route: Option<&Arc<Route>>) -> bool {
        if self.relay.is_mx() { self.lane.gone(route) } else { self.relay.gone() }
    }

    /// Nothing is given to them for a while. Returns what is to go back, these and whatever waited with them, where it
    /// does not leave by another relay at once.
    async fn leave_alone(&self, route: Option<&Arc<Route>>, jobs: Vec<Job>, why: &str) -> Vec<i64> {
        if self.relay.is_mx() {
            self.out_of_reach(route, jobs, why).await;
            return Vec::new();
        }
        let (waited, anew) = self.relay.down();
        let name = &self.relay.config.name;
        // Once, and not for each connection and each further try.
        if anew {
            tracing::warn!(relay.name = %name, reason = %why, "the relay is left alone for a while");
        } else {
            tracing::debug!(relay.name = %name, reason = %why, "the relay is still left alone");
        }
        self.note_relay(Some(why)).await;
        jobs.iter().chain(&waited).map(|job| job.held.id.0).collect()
    }

    /// None of a receiver's servers is as safe as it must be: the try is told, and what waits for them waits.
    pub(super) async fn not_safe(&mut self, pending: &mut Pending, letter: Letter, why: &str) -> Answer {
        let route = letter.job.route.clone();
        let (jobs, wait, _) = self.lane.down(route.as_ref());
        self.note_down(Some(why)).await;
        self.dispatch.put_off(jobs, wait).await;
        let verdict = Verdict { text: Some(why.to_owned()), ..Verdict::unsent() };
        self.tally(&verdict);
        self.record_refusal(pending, letter, verdict).await
    }

    /// Whether a no in place of a greeting is said to all of us, by a receiver's servers.
    pub(super) fn is_turned_away(&self, job: &Job) -> bool {
        self.relay.is_mx() && !self.relay.is_closed() && !self.is_one_of_several(job.route.as_ref())
    }

    /// A receiver's servers let nobody in, and say for good why: that is told as a try (P6). Nobody was named yet, so that
    /// it speaks of us, whatever its words.
    pub(super) async fn turned_away(
        &mut self,
        pending: &mut Pending,
        letter: Letter,
        reply: &Reply,
        why: &str,
    ) -> Answer {
        self.out_of_reach(letter.job.route.as_ref(), Vec::new(), why).await;
        self.refused(pending, letter, Verdict::ours(reply, Class::Blocked)).await
    }

    /// Nobody of this way is given anything for a while: what waits for them leaves by another relay, where there is one.
    async fn out_of_reach(&self, route: Option<&Arc<Route>>, mut jobs: Vec<Job>, why: &str) {
        let (waited, wait, anew) = self.lane.down(route);
        jobs.extend(waited);
        let (name, provider) = (&self.relay.config.name, &self.lane.provider);
        if anew {
            tracing::warn!(relay.name = %name, provider = %provider, reason = %why, "the servers there are left alone for a while");
        } else {
            tracing::debug!(relay.name = %name, provider = %provider, reason = %why, "the servers there are still left alone");
        }
        self.note_down(Some(why)).await;
        self.dispatch.place_elsewhere(jobs.into_iter().map(|job| job.waiting(wait)).collect()).await;
    }

    async fn note_down(&self, why: Option<&str>) {
        let (name, provider) = (&self.relay.config.name, &self.lane.provider);
        let noted = async {
            let mut tx = self.shared().db.write().await?;
            paces::down(&mut tx, name, provider, why, self.shared().clock.shared_ms()).await?;
            tx.commit().await
        };
        if let Err(error) = self.shared().db.answered(noted).await {
            tracing::warn!(%error, relay.name = %name, "a provider's state could not be noted");
        }
    }

    async fn note_relay(&self, down: Option<&str>) {
        let name = &self.relay.config.name;
        let noted = async {
            let mut tx = self.shared().db.write().await?;
            match down {
                Some(why) => {
                    store::mark_down(&mut tx, name, self.shared().clock.shared(), why).await?;
                }
                // Another connection may have been refused meanwhile: that is not over.
                None => store::mark_answered(&mut tx, name, self.shared().clock.shared_ms()).await?,
            }
            tx.commit().await
        };
        if let Err(error) = self.shared().db.answered(noted).await {
            tracing::warn!(%error, relay.name = %name, "the relay's state could not be noted");
        }
    }

    /// Every daemon leaves the relay alone, until the pause is over or an operator ends it.
    async fn note_pause(&self, why: &str) {
        let name = &self.relay.config.name;
        let noted = async {
            let mut tx = self.shared().db.write().await?;
            let now = timestamp(shared_clock(&mut tx, &self.shared().clock).await?);
            store::block(&mut tx, name, now, now + PAUSE, why).await?;
            tx.notify(CHANNEL).await?;
            tx.commit().await
        };
        if let Err(error) = self.shared().db.answered(noted).await {
            tracing::error!(%error, relay.name = %name, "the pause could not be noted: only this daemon keeps it");
        } else if let Err(error) = self.dispatch.heed_pauses().await {
            tracing::warn!(%error, relay.name = %name, "the pause is noted, and could not be read back: its end is heeded here once it can");
        }
    }

    /// Somebody answered about a message: whoever was down is back.
    async fn back_again(&self, job: &Job) {
        if self.relay.is_mx() {
            if self.lane.up(job.route.as_ref()) {
                self.note_down(None).await;
            }
        } else if self.relay.up() {
            tracing::info!(relay.name = %self.relay.config.name, "the relay is back");
            self.note_relay(None).await;
        }
    }

    fn tally(&self, verdict: &Verdict) {
        let now = self.shared().clock.shared_ms();
        self.lane.note(|said| {
            if verdict.code.is_some() && !refuses_us(verdict) {
                said.answered_at = Some(now);
            }
            match verdict.outcome {
                Outcome::Accepted => said.accepted += 1,
                Outcome::Rejected => said.rejected += 1,
                Outcome::Deferred | Outcome::Uncertain => said.deferred += 1,
            }
            if verdict.class.is_some()
                && let Some(text) = &verdict.text
            {
                let code = verdict.code.map(|code| format!("{code} ")).unwrap_or_default();
                said.reply = Some((format!("{code}{}", nameless(&shown(text).replace('\n', " "))), now));
            }
        });
    }

    /// Slows down, or stops for a while, where a provider's rules say that these words ask for it.
    async fn hear(&self, reply: &Reply) -> bool {
        if !self.lane.shared {
            return false;
        }
        let Some(asks) = self.dispatch.providers.asks(&self.lane.provider, reply) else { return false };
        let heed = |limit: Limit, base, now| limit.heed(&asks, base, now);
        self.dispatch.limit(&self.relay, &self.lane, heed).await;
        true
    }

    /// The same with a session that ended with these words. `stood`: they were said to a message, and where no rule of a
    /// provider knows them, "too fast" means what it would mean as the answer to it.
    async fn hear_at_the_end(&self, reply: &Reply, stood: bool) {
        let heard = self.hear(reply).await;
        // That a session may carry no more asks for a new one, and for nothing else.
        if stood && !heard && self.shared().rules.classify(reply, self.by()) == Class::Rate {
            self.slow_down().await;
        }
    }

    async fn slow_down(&self) {
        let slower = |limit: Limit, base, now| limit.slower(base, now);
        self.dispatch.limit(&self.relay, &self.lane, slower).await;
    }

    /// What a verdict asks of the rest of the run; it may be one too many of its kind, and mean something else then.
    pub(super) async fn learn(&mut self, job: &Job, verdict: &mut Verdict) {
        let whose = Whose::of(job, &self.relay.config.name, &self.lane.provider);
        let mut row = String::new();
        if verdict.class == Some(Class::Policy) {
            match self.shared().refusals.refused(whose) {
                Taken::Said => {}
                Taken::Doubtful => verdict.taken_for(Class::System),
                Taken::Ours(count) => {
                    verdict.taken_for(Class::Blocked);
                    row = format!("{count} readers in a row were refused, and nobody was accepted: ");
                }
            }
        }
        if verdict.code.is_some() && !refuses_us(verdict) {
            self.back_again(job).await;
        }
        if verdict.code.is_some() {
            self.shared().losses.over(job.held.id.0);
        }
        self.tally(verdict);
        let Some(class) = verdict.class else {
            // Nobody knows of a dot that was not answered.
            if verdict.outcome == Outcome::Accepted {
                self.shared().refusals.accepted(whose);
            }
            return;
        };
        let said = verdict.text.as_deref().unwrap_or_default();
        let about = &format!("{row}{}", nameless(shown(said)));
        let code = verdict.code.and_then(|code| u16::try_from(code).ok());
        let concerned = self.hears_the_provider(job);
        let heard = match code {
            Some(code) if concerned => self.hear(&Reply::new(code, said)).await,
            _ => false,
        };
        match class.run() {
            Run::GoOn => {}
            Run::Slow if heard || !concerned => {}
            Run::Slow => self.slow_down().await,
            Run::Pause if !concerned => self.out_of_reach(job.route.as_ref(), Vec::new(), about).await,
            Run::Pause if self.lane.shared => self.pause_provider(class, heard, about).await,
            Run::Pause => self.pause_relay(class, about).await,
            Run::Stop => match self.shared().refusals.refused_as_such(whose, self.relay.is_mx()) {
                Enough::No => {}
                Enough::OfReceiver if !concerned => {
                    self.out_of_reach(job.route.as_ref(), Vec::new(), about).await;
                }
                Enough::OfReceiver => self.pause_provider(class, heard, about).await,
                Enough::OfEdition => {
                    tracing::error!(
                        edition.id = job.sending.id,
                        class = class.as_str(),
                        "every mail would meet this: holding the edition"
                    );
                    self.hold(job, about).await;
                }
            },
        }
    }

    /// Every daemon leaves the provider alone for a while; `heard`: its own rule says for how long, and was heeded.
    async fn pause_provider(&self, class: Class, heard: bool, about: &str) {
        let (name, provider) = (&self.relay.config.name, &self.lane.provider);
        tracing::error!(relay.name = %name, provider = %provider, class = class.as_str(), reason = %about, "refused as a sender: pausing the provider");
        if !heard {
            let asks = Asks { suspend: PAUSE, connections: None, rate: None, lasts: PAUSE, step: PAUSE };
            let pause = |limit: Limit, base, now| limit.heed(&asks, base, now);
            self.dispatch.limit(&self.relay, &self.lane, pause).await;
        }
        self.note_down(Some(about)).await;
    }

    async fn pause_relay(&self, class: Class, about: &str) {
        let name = &self.relay.config.name;
        let (waited, anew) = self.relay.refused(PAUSE);
        // Once, and not for each connection.
        if anew {
            tracing::error!(relay.name = %name, class = class.as_str(), reason = %about, "refused as a sender: pausing the relay");
        } else {
            tracing::debug!(relay.name = %name, class = class.as_str(), "refused as a sender once more");
        }
        let back = waited.iter().map(|job| job.held.id.0).collect();
        self.dispatch.give(back, Vec::new()).await;
        self.note_pause(about).await;
    }

    async fn hold(&self, job: &Job, said: &str) {
        let held = async {
            let mut tx = self.shared().db.write().await?;
            let edition = editions::store::load(&mut tx, EditionId(job.sending.id)).await?;
            if edition.state == EditionState::Sending {
                let reason =
                    format!("{}: the relay refuses our mail as such: {said}", self.relay.config.name);
                let who = Who("delivery".to_owned());
                let now = self.shared().clock.now();
                editions::store::set_state(&mut tx, &edition, EditionState::Held, Some(&reason), &who, now)
                    .await?;
            }
            tx.commit().await
        };
        if let Err(error) = self.shared().db.answered(held).await {
            tracing::error!(%error, edition.id = job.sending.id, "the edition could not be held");
        }
    }
}

/// Whoever refuses us as a sender answers, and takes nothing all the same.
fn refuses_us(verdict: &Verdict) -> bool {
    verdict.class.is_some_and(|class| class.run() == Run::Pause)
}
