//! The connections to a provider that all daemons count together, as this daemon holds them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Dispatch;
use crate::delivery::Result;
use crate::delivery::pace::store::{self as paces, Numbered};
use crate::delivery::relay::{Lane, Relay};

/// What this life holds of the table `connection`.
#[derive(Debug, Default)]
pub(super) struct Connections {
    held: tokio::sync::Mutex<BTreeSet<Numbered>>,
    /// The ledger may say of more that they are ours: giving one back, or taking it, was not confirmed.
    left_over: AtomicBool,
}

impl Dispatch {
    /// One of the connections that all daemons together may have to a lane's provider; `None` when all are taken.
    pub(in crate::delivery) async fn connect(&self, relay: &Relay, lane: &Lane) -> Result<Option<i64>> {
        let limit = lane.bucket.now(self.shared.clock.shared_ms()).connections;
        let (name, provider) = (relay.config.name.as_str(), lane.provider.as_str());
        // Kept until the ledger answers: whoever takes what is left over must know of this one.
        let mut known = self.connections.held.lock().await;
        let held: Vec<i64> =
            known.iter().filter(|held| held.0 == name && held.1 == provider).map(|held| held.2).collect();
        let taken = async {
            let mut tx = self.shared.db.write().await?;
            let number = paces::connect(&mut tx, name, provider, limit, self.me, &held).await?;
            tx.commit().await?;
            Ok(number)
        };
        let taken = self.shared.db.answered(taken).await;
        match &taken {
            Ok(Some(number)) => {
                known.insert((name.to_owned(), provider.to_owned(), *number));
            }
            Ok(None) => {}
            Err(_) => self.connections.left_over.store(true, Ordering::Release),
        }
        taken
    }

    /// Gives a connection back.
    pub(in crate::delivery) async fn disconnect(&self, relay: &Relay, lane: &Lane, number: i64) {
        let (name, provider) = (relay.config.name.as_str(), lane.provider.as_str());
        let mut known = self.connections.held.lock().await;
        known.remove(&(name.to_owned(), provider.to_owned(), number));
        let given = async {
            let mut tx = self.shared.db.write().await?;
            paces::disconnect(&mut tx, name, provider, number, self.me).await?;
            tx.commit().await
        };
        if let Err(error) = self.shared.db.answered(given).await {
            self.connections.left_over.store(true, Ordering::Release);
            tracing::warn!(%error, relay.name = %name, "a connection could not be given back yet");
        }
    }

    /// Gives back what could not be before: until then no daemon can have it.
    pub(in crate::delivery) async fn give_back_left_over(&self) -> Result<()> {
        if !self.connections.left_over.load(Ordering::Acquire) {
            return Ok(());
        }
        let known = self.connections.held.lock().await;
        let given = async {
            let mut tx = self.shared.db.write().await?;
            for one in paces::ours(&mut tx, self.me).await? {
                if !known.contains(&one) {
                    paces::disconnect(&mut tx, &one.0, &one.1, one.2, self.me).await?;
                }
            }
            tx.commit().await
        };
        self.shared.db.answered(given).await?;
        self.connections.left_over.store(false, Ordering::Release);
        drop(known);
        Ok(())
    }
}
