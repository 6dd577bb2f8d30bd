//! Deliveries whose domain is being asked about: each domain once, however many wait for the answer, and counted by
//! newsletter, for that one waits for answers is no reason for another to claim nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::delivery::relay::Job;

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

    /// Counts one for each time that a newsletter is named.
    pub(super) fn begin<'a>(&self, newsletters: impl Iterator<Item = &'a str>) -> Asked {
        let mut own: BTreeMap<String, usize> = BTreeMap::new();
        for newsletter in newsletters {
            *own.entry(newsletter.to_owned()).or_default() += 1;
        }
        let mut counts = self.counts();
        for (newsletter, count) in &own {
            *counts.entry(newsletter.clone()).or_default() += count;
        }
        drop(counts);
        Asked { all: self.clone(), own }
    }

    /// How many are of this newsletter.
    pub(super) fn of(&self, newsletter: &str) -> usize {
        self.counts().get(newsletter).copied().unwrap_or(0)
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.counts().values().any(|count| *count > 0)
    }
}

type ByDomain = HashMap<String, Vec<(Vec<Job>, Asked)>>;

/// Who waits for the answer about a domain.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<ByDomain>);

impl Waiters {
    fn all(&self) -> std::sync::MutexGuard<'_, ByDomain> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These wait for it; `true` where nobody did, so that nobody asks yet.
    pub(super) fn join(&self, domain: &str, jobs: Vec<Job>, asked: Asked) -> bool {
        let mut all = self.all();
        let known = all.entry(domain.to_owned()).or_default();
        known.push((jobs, asked));
        known.len() == 1
    }

    /// Nobody waits any more: everybody who did, and what they count as.
    pub(super) fn leave(&self, domain: &str) -> (Vec<Job>, Vec<Asked>) {
        let (jobs, asked): (Vec<_>, _) = self.all().remove(domain).unwrap_or_default().into_iter().unzip();
        (jobs.into_iter().flatten().collect(), asked)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        for (newsletter, count) in &self.own {
            if let Some(all) = counts.get_mut(newsletter) {
                *all = all.saturating_sub(*count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about_counts_for_its_own_newsletter_and_until_it_is_answered() {
        let asking = Asking::default();
        let first = asking.begin(["one", "two", "one"].into_iter());
        let second = asking.begin(["one"].into_iter());
        assert_eq!((asking.of("one"), asking.of("two")), (3, 1));
        drop(first);
        assert_eq!((asking.of("one"), asking.of("two")), (1, 0));
        assert!(asking.any());
        drop(second);
        assert!(!asking.any());
    }
}
