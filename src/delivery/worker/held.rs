//! The session of a connection at work: opened for a delivery's way, and ended so that its number is free again.

use std::time::Duration;

use super::{Answer, Carried, Going, Held, Job, Lost, NoSession, Pending, Session, Worker, mx};

impl Worker {
    pub(super) async fn hang_up(&mut self) {
        if let Some(held) = self.held.take() {
            held.session.quit().await;
            self.give_number_back(held.number).await;
        }
    }

    /// The socket closes without a word.
    pub(super) async fn drop_session(&mut self) {
        if let Some(held) = self.held.take() {
            drop(held.session);
            self.give_number_back(held.number).await;
        }
    }

    async fn give_number_back(&self, number: Option<i64>) {
        if let Some(number) = number {
            self.dispatch.disconnect(&self.relay, &self.lane, number).await;
        }
    }

    /// A session that may take this message; outcomes are kept before anything that takes long.
    pub(super) async fn ready_session(&mut self, job: &Job, pending: &mut Pending) -> Result<(), NoSession> {
        let limit = self.lane.messages_per_connection;
        let fits = |held: &Held| held.session.may_go_on(limit) && held.carried.carries(job);
        if self.held.as_ref().is_some_and(fits) {
            return Ok(());
        }
        if self.keep(pending, Vec::new()).await == Answer::Fenced {
            // Nothing of ours counts any more: the socket closes without a word.
            self.held = None;
            return Err(NoSession::Fenced);
        }
        self.hang_up().await;
        let again = if job.route.is_some() && self.lane.is_doubtful(job.route.as_ref()) {
            Some(self.relay.permit_to_try_again().ok_or(NoSession::Doubtful)?)
        } else {
            None
        };
        let permit = self.relay.permit().await;
        let number = self.number().await?;
        let connection = self.lane.connects(job.route.clone());
        let closing = self.relay.closing.clone();
        let opened = tokio::select! {
            opened = self.open(job) => opened,
            // Nothing was said that somebody waits for an answer to.
            () = closing.cancelled() => Err(Lost::Gone("no longer wanted".to_owned())),
        };
        drop(again);
        match opened {
            Ok((session, carried)) => {
                self.held = Some(Held { session, carried, number, _connection: connection, _permit: permit });
                Ok(())
            }
            Err(lost) => {
                drop(connection);
                self.give_number_back(number).await;
                Err(NoSession::Lost(lost))
            }
        }
    }

    /// One of the connections that all daemons together may open to this provider.
    async fn number(&self) -> Result<Option<i64>, NoSession> {
        if !self.lane.shared {
            return Ok(None);
        }
        let connected = self.dispatch.connect(&self.relay, &self.lane).await;
        match self.relay.limits_told(connected).flatten() {
            Some(number) => Ok(Some(number)),
            None => Err(NoSession::Crowded),
        }
    }

    async fn open(&mut self, job: &Job) -> Result<(Session, Carried), Lost> {
        let config = &self.relay.config;
        let shared = &self.dispatch.shared;
        let helo = config.helo.as_deref().unwrap_or(&shared.helo);
        if let (Some(route), Some(ways)) = (&job.route, &self.dispatch.ways) {
            let going = Going { port: config.port, helo, timeouts: shared.timeouts };
            let opened = mx::open(ways, route, going).await;
            self.spoke = opened
                .as_ref()
                .map_or_else(|unopened| unopened.host.clone(), |(_, peer)| Some(peer.host.clone()));
            let (session, peer) = opened.map_err(|unopened| unopened.lost)?;
            return Ok((session, Carried { route: Some(route.clone()), peer }));
        }
        let session = Session::open(config, helo, shared.timeouts).await?;
        Ok((session, Carried { route: None, peer: mx::Peer::of(&config.host) }))
    }

    /// Other daemons have every connection: another worker of this one takes the message, and where there is none it waits
    /// in the ledger, with everything behind it.
    pub(super) async fn wait_for_others(&mut self, job: Job) -> Answer {
        self.make_way(job, super::CROWDED).await;
        Answer::Kept
    }

    /// Enough is being tried already that led nowhere the last time: this way has its turn a little later.
    pub(super) async fn have_a_rest(&self, job: Job) -> Answer {
        let mut jobs = self.lane.rests(job.route.as_ref(), super::REST);
        jobs.push(job);
        self.dispatch.place_elsewhere(jobs.into_iter().map(|job| job.waiting(super::REST)).collect()).await;
        Answer::Kept
    }

    /// There is no connection for this: another worker of the lane takes it, and where there is none, it leaves by another
    /// relay, with everything behind it, or waits so long. This worker ends, and none is added meanwhile.
    pub(super) async fn make_way(&mut self, job: Job, length: Duration) {
        self.retired = true;
        let jobs = self.lane.crowded_out(job, length);
        self.dispatch.place_elsewhere(jobs.into_iter().map(|job| job.waiting(length)).collect()).await;
    }
}
