//! Domains that do not exist: believed only once that was so for a while.
//!
//! A registrar's slip or a resolver's is mended within the hour, mostly, and a reader who is refused for it has no edition.
//! Kept in memory alone: a daemon that begins anew finds it out anew, and meanwhile their mail waits.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// So long after the first answer that there is no such domain another one is believed, in milliseconds.
const BELIEVED_AFTER: i64 = 3_600_000;
/// So long after the last one it is as if nothing had been said: every morning finds it out anew.
const FORGOTTEN_AFTER: i64 = 3 * BELIEVED_AFTER;
/// So many are remembered; then those that would be forgotten anyway go, or all.
const REMEMBERED: usize = 100_000;

/// When it was said of domains that they do not exist, first and last, in milliseconds of real time.
#[derive(Debug, Default)]
pub(super) struct Missing(Mutex<HashMap<String, (i64, i64)>>);

impl Missing {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, (i64, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question that was asked now found that it does not exist; `true` where that is believed.
    pub(super) fn found(&self, domain: &str, now: i64) -> bool {
        // What was found later than now was found before the clock was set back.
        let holds = |last: i64| last <= now && now - last < FORGOTTEN_AFTER;
        let mut all = self.all();
        if all.len() >= REMEMBERED && !all.contains_key(domain) {
            all.retain(|_, (_, last)| holds(*last));
            if all.len() >= REMEMBERED {
                all.clear();
            }
        }
        let known = all.entry(domain.to_owned()).or_insert((now, now));
        if !holds(known.1) {
            known.0 = now;
        }
        known.1 = now;
        now - known.0 >= BELIEVED_AFTER
    }

    /// A question found that it exists.
    pub(super) fn is_there(&self, domain: &str) {
        self.all().remove(domain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn t16_that_a_domain_is_missing_is_believed_after_an_hour_of_nothing_else() {
        let missing = Missing::default();
        let found = |at: i64| missing.found("gone.example", at * MINUTE);
        assert_eq!([0, 1, 4, 14, 34, 59].map(found), [false; 6]);
        assert!(!missing.found("other.example", 61 * MINUTE), "each by itself");
        assert!(found(60), "an hour after the first");
        assert!(found(134), "and from then on");
        missing.is_there("gone.example");
        assert_eq!([135, 194].map(found), [false; 2], "it was there in between");
        assert!(found(195));
    }

    #[test]
    fn t16_that_a_domain_was_missing_yesterday_or_before_the_clock_was_set_back_says_nothing_today() {
        let missing = Missing::default();
        let found = |at: i64| missing.found("gone.example", at * MINUTE);
        assert_eq!([0, 60].map(found), [false, true]);
        let day = 24 * 60;
        assert_eq!([day, day + 59, day + 60].map(found), [false, false, true]);
        assert_eq!([100, 159, 160].map(found), [false, false, true], "set back by most of a day");
    }
}
