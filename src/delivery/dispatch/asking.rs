//! Deliveries whose domain is being asked about, counted by the relay that they would go to: who waits for one relay's
//! answers is no reason for another relay to have nothing to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking(Arc<Mutex<BTreeMap<String, usize>>>);

/// So many more, as long as this is kept.
#[derive(Debug)]
pub(super) struct Asked {
    all: Asking,
    own: BTreeMap<String, usize>,
}

impl Asking {
    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one for each of these relays.
    pub(super) fn begin<'a>(&self, relays: impl Iterator<Item = &'a str>) -> Asked {
        let mut own: BTreeMap<String, usize> = BTreeMap::new();
        for relay in relays {
            *own.entry(relay.to_owned()).or_default() += 1;
        }
        let mut counts = self.counts();
        for (relay, count) in &own {
            *counts.entry(relay.clone()).or_default() += count;
        }
        drop(counts);
        Asked { all: self.clone(), own }
    }

    /// How many would go to one of these relays.
    pub(super) fn of(&self, relays: &[String]) -> usize {
        let counts = self.counts();
        relays.iter().filter_map(|relay| counts.get(relay)).sum()
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.counts().values().any(|count| *count > 0)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        for (relay, count) in &self.own {
            if let Some(all) = counts.get_mut(relay) {
                *all = all.saturating_sub(*count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about_counts_for_its_own_relay_and_until_it_is_answered() {
        let asking = Asking::default();
        let [one, two] = ["one", "two"].map(|name| vec![name.to_owned()]);
        let first = asking.begin(["one", "two", "one"].into_iter());
        let second = asking.begin(["one"].into_iter());
        assert_eq!((asking.of(&one), asking.of(&two)), (3, 1));
        assert_eq!(asking.of(&[one.clone(), two.clone()].concat()), 4);
        drop(first);
        assert_eq!((asking.of(&one), asking.of(&two)), (1, 0));
        assert!(asking.any());
        drop(second);
        assert!(!asking.any());
    }
}
