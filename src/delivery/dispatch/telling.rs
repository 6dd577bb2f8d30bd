//! What was said, by receivers and by resolvers, and what came of making messages is told to the ledger once a second.
//!
//! It is kept until the ledger has it: where the telling fails, or is given up, what was to be told stands again where it was
//! noted, and what a life could not tell any more is told by the next one.

use std::sync::Arc;

use super::Dispatch;
use super::making::Can;
use super::resolver::Found;
use crate::delivery::Result;
use crate::delivery::pace::store::{self as paces, Said};
use crate::delivery::relay::{Lane, Relay, store as relays};
use crate::delivery::store;
use crate::editions::EditionId;

/// What one life could not tell: of a relay, by a provider.
pub(in crate::delivery) type Untold = Vec<(String, String, Said)>;

/// What was taken out to be told, for as long as the ledger may not have it.
#[derive(Debug, Default)]
struct Telling {
    said: Vec<(Arc<Relay>, Arc<Lane>, Said)>,
    /// The ledger may have it: a commit was not answered.
    may_be_known: bool,
}

impl Drop for Telling {
    fn drop(&mut self) {
        for (_, lane, mut said) in self.said.drain(..) {
            // A count that is told twice is a little too high. A share that is given back twice would let more leave than
            // the day's cap.
            if self.may_be_known {
                said.back.clear();
            }
            lane.note(|newer| newer.add_earlier(said));
        }
    }
}

impl Dispatch {
    /// Tells the ledger what was said since the last time, and what was found of resolvers and of editions.
    pub(in crate::delivery) async fn tell(&self) -> Result<()> {
        let (resolver, making) = (self.resolver.untold(), self.making.untold());
        let mut telling = Telling::default();
        for relay in self.relays.values() {
            for lane in relay.lanes() {
                let said = lane.said();
                if !said.is_nothing() {
                    telling.said.push((relay.clone(), lane, said));
                }
            }
        }
        if telling.said.is_empty() && resolver.is_none() && making.is_empty() {
            return Ok(());
        }
        // It stands outside of what is given up when the ledger does not answer.
        self.shared.db.answered(self.write(&mut telling, resolver.as_ref(), &making)).await?;
        self.making.told(making);
        if let Some(found) = resolver {
            self.resolver.told(found);
        }
        Ok(())
    }

    async fn write(
        &self,
        telling: &mut Telling,
        resolver: Option<&Found>,
        making: &[(i64, Can)],
    ) -> Result<()> {
        let mut tx = self.shared.db.write().await?;
        if let Some(found) = resolver {
            self.note_resolver(&mut tx, found).await?;
        }
        for (edition, can) in making {
            match can {
                Can::BeMade => store::mark_made(&mut tx, EditionId(*edition)).await?,
                Can::NotBeMade { since, why } => {
                    store::mark_unmade(&mut tx, EditionId(*edition), *since, why).await?;
                }
            }
        }
        let day = self.shared.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string();
        for (relay, lane, said) in &telling.said {
            let (name, provider) = (&relay.config.name, &lane.provider);
            paces::tell(&mut tx, name, provider, said).await?;
            // Where receivers' own servers answer, the relay itself was only without a resolver.
            if let Some(at) = said.answered_at.filter(|_| !relay.is_mx()) {
                relays::mark_answered(&mut tx, name, at).await?;
            }
            if relay.config.warm_up.is_some() {
                if said.deferred > 0 {
                    paces::warm_tell(&mut tx, name, provider, &day, 0, said.deferred).await?;
                }
                for (day, back) in &said.back {
                    paces::warm_tell(&mut tx, name, provider, &day.to_string(), *back, 0).await?;
                }
            }
        }
        telling.may_be_known = true;
        let committed = tx.commit().await;
        match &committed {
            Ok(()) => telling.said.clear(),
            // It said no.
            Err(error) if !error.is_away() => telling.may_be_known = false,
            Err(_) => {}
        }
        Ok(committed?)
    }

    /// What this life could not tell, for the next one.
    pub(in crate::delivery) fn untold(&self) -> Untold {
        let mut untold = Vec::new();
        for (name, relay) in &self.relays {
            for lane in relay.lanes() {
                let said = lane.said();
                if !said.is_nothing() {
                    untold.push((name.clone(), lane.provider.clone(), said));
                }
            }
        }
        untold
    }

    /// What an earlier life could not tell is told by this one.
    pub(in crate::delivery) fn take_up(&self, untold: Untold) {
        for (name, provider, said) in untold {
            if let Some(relay) = self.relays.get(&name) {
                relay.lane(&provider, &self.providers).note(|newer| newer.add_earlier(said));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::pace::Providers;
    use crate::delivery::relay::tests::relay;

    #[tokio::test]
    async fn v7_what_was_not_told_stands_where_it_was_but_shares_that_the_ledger_may_have_back() {
        let day = "2026-12-01".parse().unwrap();
        for (may_be_known, back) in [(false, vec![(day, 4)]), (true, vec![(day, 1)])] {
            let relay = Arc::new(relay(true));
            let lane = relay.lane("one", &Providers::built_in());
            let said = |accepted, reply: &str, at, back| Said {
                accepted,
                deferred: 1,
                reply: Some((reply.to_owned(), at)),
                answered_at: Some(at),
                back: [(day, back)].into(),
                ..Said::default()
            };
            let telling =
                Telling { said: vec![(relay.clone(), lane.clone(), said(2, "450 old", 5, 3))], may_be_known };
            // Meanwhile more was said.
            lane.note(|newer| *newer = said(1, "450 new", 6, 1));
            drop(telling);
            let all = lane.said();
            assert_eq!((all.accepted, all.deferred, all.answered_at), (3, 2, Some(6)), "{may_be_known}");
            assert_eq!(all.reply, Some(("450 new".to_owned(), 6)), "{may_be_known}");
            assert_eq!(all.back.into_iter().collect::<Vec<_>>(), back, "{may_be_known}");
        }
    }
}
