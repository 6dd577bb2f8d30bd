//! A relay that the ledger calls down, and that has no mail to find out by, is asked now and then whether it is there: what
//! went down at the end of a morning is told as down until somebody knows better, and the next mail may be a day away.

use std::sync::Arc;

use super::Dispatch;
use crate::delivery::probe::probe;
use crate::delivery::relay::{Relay, store as relays};

impl Dispatch {
    /// Asks such a relay aside, unless that was done lately.
    pub(super) fn look_after(self: &Arc<Self>, relay: &Arc<Relay>, known: &relays::Known) {
        // Other runs than a daemon's are about an edition, and it tells.
        if self.mode.edition.is_some()
            || !known.may_be_back()
            || !relay.may_be_asked(self.shared.clock.shared_ms())
        {
            return;
        }
        let (this, relay) = (self.clone(), relay.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = this.ask_whether_it_is_there(&relay) => {}
                () = this.closing.cancelled() => {}
            }
        });
    }

    async fn ask_whether_it_is_there(&self, relay: &Relay) {
        let name = &relay.config.name;
        if relay.is_mx() {
            // It was without a resolver.
            let Some(ways) = &self.ways else { return };
            self.found_resolver(ways.is_silent().await);
            return;
        }
        let asked_at = self.shared.clock.shared_ms();
        let helo = relay.config.helo.as_deref().unwrap_or(&self.shared.helo);
        if let Err(why) = probe(&relay.config, helo, self.shared.timeouts).await {
            tracing::debug!(relay.name = %name, reason = %why, "the relay is still away");
            return;
        }
        let noted = async {
            let mut tx = self.shared.db.write().await?;
            relays::mark_greeted(&mut tx, name, asked_at).await?;
            tx.commit().await
        };
        match self.shared.db.answered(noted).await {
            Ok(()) => {
                relay.up();
                tracing::info!(relay.name = %name, "the relay is there again");
            }
            Err(error) => {
                tracing::warn!(%error, relay.name = %name, "that the relay is back could not be noted");
            }
        }
    }
}
