//! What refusals come to together: each speaks of one reader by its words, and so many in a row speak of us.
//!
//! Counted are deliveries, not tries, since somebody was accepted last; by one daemon's life, in its memory, so several
//! daemons find out each for itself, and a pause that one of them notes is kept by all.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Job, STOP_AFTER};
use crate::delivery::message::wire_address;

/// So many readers in a row whom a policy of their own is said to refuse are no chance.
const NO_CHANCE: usize = 20;
/// So many of several domains where nobody at all was accepted yet: lists are small, too.
const NO_CHANCE_AT_FIRST: usize = 5;
/// A relay that takes nobody's mail takes none of so many domains; readers of one may have one policy.
const SEVERAL: usize = 3;
/// Of those who took an edition, so many more have to refuse it before it is the edition's fault: one in ten.
const TENTH: usize = 10;

/// What a refusal of a reader's own is to be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// That.
    Said,
    /// It may be about us, or about the domain of these readers: they wait, and nobody else does.
    Doubtful,
    /// One of so many: we are refused as a sender.
    Ours(usize),
}

/// What a refusal of our mail as such asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enough {
    /// It may be that receiver's own trouble.
    No,
    /// It is that receiver's, for more than one of its readers.
    OfReceiver,
    /// Every further mail would meet the same.
    OfEdition,
}

/// What is known, and of whom.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    relays: HashMap<String, Relay>,
    editions: HashMap<i64, Edition>,
}

#[derive(Debug, Default)]
struct Relay {
    /// Somebody was accepted since this life began.
    accepted: bool,
    /// Until when it is left alone, as the ledger said last; what is over stays written.
    paused_until: Option<i64>,
    all: Row,
    lanes: HashMap<String, Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    row: Row,
    /// Deliveries whose mail was refused as such.
    as_such: BTreeSet<i64>,
}

#[derive(Debug, Default)]
struct Edition {
    accepted: usize,
    /// Deliveries whose mail was refused as such, and where.
    as_such: BTreeSet<i64>,
    lanes: BTreeSet<String>,
}

impl Relay {
    fn begin_anew(&mut self) {
        self.all.clear();
        self.lanes.clear();
    }
}

/// Readers in a row that were refused for a policy of their own; no more than count.
#[derive(Debug, Default)]
struct Row {
    deliveries: BTreeSet<i64>,
    domains: BTreeSet<String>,
}

impl Row {
    fn add(&mut self, delivery: i64, domain: &str) {
        if self.deliveries.len() < NO_CHANCE {
            self.deliveries.insert(delivery);
        }
        if self.domains.len() < SEVERAL && !self.domains.contains(domain) {
            self.domains.insert(domain.to_owned());
        }
    }

    fn clear(&mut self) {
        self.deliveries.clear();
        self.domains.clear();
    }
}

/// Whose reader was answered, and by whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) relay: &'a str,
    /// The receiving provider; empty where the relay keeps no providers' limits.
    pub(super) provider: &'a str,
    pub(super) edition: i64,
    pub(super) delivery: i64,
    /// The reader's.
    pub(super) address: &'a str,
}

impl<'a> Whose<'a> {
    pub(super) fn of(job: &'a Job, relay: &'a str, provider: &'a str) -> Self {
        Self { relay, provider, edition: job.sending.id, delivery: job.held.id.0, address: &job.held.address }
    }

    /// The reader's domain, which is the same in every spelling.
    fn domain(&self) -> String {
        let address = wire_address(self.address);
        address.rsplit_once('@').map_or("", |(_, domain)| domain).to_lowercase()
    }
}

impl Refusals {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mail was accepted: nobody is refused for good there.
    pub(super) fn accepted(&self, whose: Whose<'_>) {
        let mut state = self.state();
        let edition = state.editions.entry(whose.edition).or_default();
        edition.accepted += 1;
        edition.as_such.clear();
        edition.lanes.clear();
        if let Some(relay) = state.relays.get_mut(whose.relay) {
            relay.accepted = true;
            relay.all.clear();
            if !relay.lanes.is_empty() {
                relay.lanes.remove(whose.provider);
            }
        } else {
            let relay = Relay { accepted: true, ..Relay::default() };
            state.relays.insert(whose.relay.to_owned(), relay);
        }
    }

    /// A reader was refused for a policy of their own.
    pub(super) fn refused(&self, whose: Whose<'_>) -> Taken {
        let mut state = self.state();
        let relay = state.relays.entry(whose.relay.to_owned()).or_default();
        let enough = if relay.accepted { NO_CHANCE } else { NO_CHANCE_AT_FIRST };
        let domain = whose.domain();
        relay.all.add(whose.delivery, &domain);
        let count = relay.all.deliveries.len();
        let is_ours = count >= enough && relay.all.domains.len() >= SEVERAL;
        if whose.provider.is_empty() {
            return match count {
                _ if is_ours => Taken::Ours(count),
                NO_CHANCE.. => Taken::Doubtful,
                _ => Taken::Said,
            };
        }
        // A provider is paused for what its own readers were told; whoever spoke last need not be meant by what others said.
        let row = &mut relay.lanes.entry(whose.provider.to_owned()).or_default().row;
        row.add(whose.delivery, &domain);
        match row.deliveries.len() {
            count @ NO_CHANCE.. => Taken::Ours(count),
            _ if is_ours => Taken::Doubtful,
            _ => Taken::Said,
        }
    }

    /// Somebody let a relay, or providers of it, go on: what was refused before that is not counted any more.
    pub(in crate::delivery) fn begin_anew(&self, relay: &str) {
        if let Some(relay) = self.state().relays.get_mut(relay) {
            relay.begin_anew();
        }
    }

    /// Until when the ledger says that a relay is left alone. Somebody let it go on where it said so, and says it no more.
    pub(in crate::delivery) fn heed_pause(&self, relay: &str, until: Option<i64>) {
        let mut state = self.state();
        if let Some(relay) = state.relays.get_mut(relay) {
            if relay.paused_until.is_some() && until.is_none() {
                relay.begin_anew();
            }
            relay.paused_until = until;
        }
    }

    /// A mail was refused as such: its form, or our authentication. `straight`: by the receiver's own server, which may
    /// have its own trouble; a relay says the same to everybody.
    pub(super) fn refused_as_such(&self, whose: Whose<'_>, straight: bool) -> Enough {
        let mut state = self.state();
        let edition = state.editions.entry(whose.edition).or_default();
        // An edition that many took is no worse for some that did not, one after the other, at the end of a morning.
        let more = if straight { edition.accepted / TENTH } else { 0 };
        let enough = STOP_AFTER + more;
        if edition.as_such.len() < enough {
            edition.as_such.insert(whose.delivery);
        }
        if edition.lanes.len() < 2 {
            edition.lanes.insert(whose.provider.to_owned());
        }
        if edition.as_such.len() >= enough && (!straight || edition.lanes.len() > 1) {
            // Counted anew once somebody resumes it.
            edition.as_such.clear();
            edition.lanes.clear();
            return Enough::OfEdition;
        }
        if !straight {
            return Enough::No;
        }
        let relay = state.relays.entry(whose.relay.to_owned()).or_default();
        let lane = relay.lanes.entry(whose.provider.to_owned()).or_default();
        if lane.as_such.len() < STOP_AFTER {
            lane.as_such.insert(whose.delivery);
        }
        if lane.as_such.len() < STOP_AFTER { Enough::No } else { Enough::OfReceiver }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose<'a>(provider: &'a str, delivery: i64, address: &'a str) -> Whose<'a> {
        Whose { relay: "main", provider, edition: 1, delivery, address }
    }

    /// The address of this reader, in one of so many domains.
    fn reader(delivery: i64, of: i64) -> String {
        format!("r{delivery}@d{}.example", delivery % of)
    }

    #[test]
    fn t16_twenty_readers_in_a_row_are_no_chance_and_one_who_is_accepted_begins_the_row_anew() {
        let refusals = Refusals::default();
        let refused = |delivery| refusals.refused(whose("", delivery, &reader(delivery, 3)));
        refusals.accepted(whose("", 0, "r@d0.example"));
        for delivery in 1..20 {
            assert_eq!(refused(delivery), Taken::Said, "{delivery}");
            assert_eq!(refused(delivery), Taken::Said, "{delivery}: the same again");
        }
        assert_eq!(refused(20), Taken::Ours(20));
        assert_eq!(refused(21), Taken::Ours(20), "and from there on");
        refusals.accepted(whose("", 0, "r@d0.example"));
        assert_eq!(refused(22), Taken::Said);
        for delivery in 23..42 {
            refused(delivery);
        }
        assert_eq!(refused(42), Taken::Ours(20));
        refusals.begin_anew("main");
        assert_eq!(refused(43), Taken::Said, "an operator lets it go on");
    }

    #[test]
    fn t16_of_a_small_list_five_are_no_chance_where_nobody_was_accepted_yet() {
        let refusals = Refusals::default();
        let taken: Vec<_> = (1..=5).map(|n| refusals.refused(whose("", n, &reader(n, 3)))).collect();
        assert_eq!(taken, [[Taken::Said; 4].as_slice(), &[Taken::Ours(5)]].concat());
        let refusals = Refusals::default();
        let taken: Vec<_> = (1..=5).map(|n| refusals.refused(whose("", n, "r@d0.example"))).collect();
        assert_eq!(taken, [Taken::Said; 5], "one domain may have one policy");
    }

    #[test]
    fn t16_the_policy_of_one_domain_lets_its_readers_wait_and_pauses_nobody_else() {
        let refusals = Refusals::default();
        refusals.accepted(whose("", 0, "r@d0.example"));
        for delivery in 1..20 {
            refusals.refused(whose("", delivery, &reader(delivery, 2)));
        }
        assert_eq!(refusals.refused(whose("", 20, "r@d0.example")), Taken::Doubtful);
        // Of a relay that keeps the providers' limits, a provider is paused alone.
        let refusals = Refusals::default();
        refusals.accepted(whose("two", 0, "r@d0.example"));
        for delivery in 1..20 {
            assert_eq!(refusals.refused(whose("one", delivery, "r@one.example")), Taken::Said, "{delivery}");
        }
        assert_eq!(refusals.refused(whose("one", 20, "r@one.example")), Taken::Ours(20));
        assert_eq!(refusals.refused(whose("two", 21, "r@one.example")), Taken::Said);
    }

    #[test]
    fn t16_one_domain_in_several_spellings_is_one() {
        let refusals = Refusals::default();
        let spellings = [
            "a@Example.org",
            "b@example.org",
            "c@EXAMPLE.ORG",
            "d@b\u{fc}cher.example",
            "e@xn--bcher-kva.example",
        ];
        for (n, address) in (1..).zip(spellings.into_iter().cycle().take(10)) {
            assert_eq!(refusals.refused(whose("", n, address)), Taken::Said, "{n}: {address}");
        }
        assert_eq!(refusals.refused(whose("", 11, "f@other.example")), Taken::Ours(11));
    }

    #[test]
    fn t16_what_readers_of_others_were_told_pauses_no_provider() {
        let refusals = Refusals::default();
        for n in 1..=5 {
            refusals.refused(whose("small", n, &reader(n, 3)));
        }
        assert_eq!(refusals.refused(whose("great", 6, "r@great.example")), Taken::Doubtful);
        for n in 7..25 {
            refusals.refused(whose("great", n, "r@great.example"));
        }
        assert_eq!(refusals.refused(whose("great", 25, "r@great.example")), Taken::Ours(20));
    }

    #[test]
    fn t16_a_pause_that_somebody_ended_begins_the_row_anew_and_one_that_ran_out_does_not() {
        let refusals = Refusals::default();
        let refused = |n| refusals.refused(whose("", n, &reader(n, 3)));
        (1..5).for_each(|n| assert_eq!(refused(n), Taken::Said));
        refusals.heed_pause("main", None);
        assert_eq!(refused(5), Taken::Ours(5), "nobody had paused it");
        // It stays written when it is over.
        refusals.heed_pause("main", Some(1));
        refusals.heed_pause("main", Some(1));
        assert_eq!(refused(6), Taken::Ours(6));
        refusals.heed_pause("main", None);
        assert_eq!(refused(7), Taken::Said);
    }

    #[test]
    fn t16_a_relay_refuses_an_edition_with_three_readers_and_not_with_one_three_times() {
        let refusals = Refusals::default();
        let refused = |delivery| refusals.refused_as_such(whose("", delivery, "r@d.example"), false);
        assert_eq!([1, 1, 1, 2, 2].map(refused), [Enough::No; 5]);
        refusals.accepted(whose("", 9, "r@d.example"));
        assert_eq!([3, 4].map(refused), [Enough::No; 2], "somebody was accepted meanwhile");
        assert_eq!(refused(1), Enough::OfEdition);
        assert_eq!([1, 2].map(refused), [Enough::No; 2], "counted anew once somebody resumes it");
        assert_eq!(refused(3), Enough::OfEdition);
    }

    #[test]
    fn t16_receivers_refuse_an_edition_where_two_of_them_do_and_one_alone_is_left_alone() {
        let refusals = Refusals::default();
        let refused =
            |provider, delivery| refusals.refused_as_such(whose(provider, delivery, "r@d.example"), true);
        assert_eq!([1, 1, 1, 1].map(|n| refused("one", n)), [Enough::No; 4], "one reader");
        assert_eq!(refused("one", 2), Enough::No);
        assert_eq!(refused("one", 3), Enough::OfReceiver);
        assert_eq!(refused("one", 3), Enough::OfReceiver, "and from there on");
        assert_eq!(refused("two", 4), Enough::OfEdition);
    }

    #[test]
    fn t16_what_many_took_is_not_stopped_by_a_few_receivers_at_the_end() {
        let refusals = Refusals::default();
        for delivery in 100..300 {
            refusals.accepted(whose("many", delivery, "r@m.example"));
        }
        // A tenth of them and three.
        for delivery in 1..23 {
            let provider = format!("p{delivery}");
            assert_eq!(refusals.refused_as_such(whose(&provider, delivery, "r@d.example"), true), Enough::No);
        }
        assert_eq!(refusals.refused_as_such(whose("p23", 23, "r@d.example"), true), Enough::OfEdition);
    }
}
