//! What is remembered, for how long, and in which portions it is told.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::ledger::{Me, Release, Remembered, Verdict};
use crate::delivery::protocol::{Group, Kept};
use crate::delivery::reply::shown;

/// So long is it remembered what was kept (P2).
pub(super) const LONGEST: Duration = Duration::from_secs(120);
/// And so much of it: two thirds of a kilobyte each where servers are as brief as they mostly are, in a process that promises
/// to stay small.
pub(super) const MOST: usize = 50_000;
/// So many are told in one transaction.
pub(super) const AT_ONCE: usize = 500;

/// Attempts, in the order in which they were kept.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Whether a standby was ever seen: without one there is nothing to remember for. One that is not seen any more may
    /// have lost its way to the server, and take its place all the same.
    pub(super) wanted: bool,
    /// The daemons that this process was.
    pub(super) lives: BTreeSet<i64>,
    /// Whether there were others, when that was last seen.
    pub(super) had_others: bool,
    /// Released, and not yet answered: by delivery and number.
    open: HashMap<(i64, i64), (Me, Release, Instant)>,
    ended: VecDeque<(Remembered, Instant)>,
    /// How many were forgotten of `ended`.
    forgotten: usize,
}

impl Memory {
    /// What a commit came to; `None` where the life was over and only answers were kept.
    pub(super) fn keep(&mut self, me: Me, group: &Group, kept: Option<&Kept>) {
        if !self.wanted {
            return;
        }
        let now = Instant::now();
        for (verdict, to) in &group.finished {
            if let Some((life, release, _)) = self.open.remove(&(to.delivery.0, to.number)) {
                let verdict = in_short(verdict);
                self.ended.push_back((Remembered { life, release, verdict, to: *to }, now));
            }
        }
        let Some(kept) = kept else { return };
        for (release, verdict, to) in &group.refused {
            let verdict = in_short(verdict);
            let refused = Remembered { life: me, release: release.clone(), verdict, to: *to };
            self.ended.push_back((refused, now));
        }
        for release in &group.asked {
            if kept.released.contains(&release.delivery.0) {
                self.open.insert((release.delivery.0, release.number), (me, release.clone(), now));
            }
        }
        self.forget_old(me);
    }

    /// Forgets what is too old or too much; what this life has open stays.
    pub(super) fn forget_old(&mut self, me: Me) {
        let old = Instant::now().checked_sub(LONGEST);
        let is_old = |since: Instant| old.is_some_and(|old| since <= old);
        while self.ended.len() > MOST || self.ended.front().is_some_and(|(_, since)| is_old(*since)) {
            self.ended.pop_front();
            self.forgotten += 1;
        }
        self.open.retain(|_, (life, _, since)| *life == me || !is_old(*since));
    }

    /// How many ended, with those that were forgotten: the place of the next one.
    pub(super) fn end(&self) -> usize {
        self.forgotten + self.ended.len()
    }

    /// What ended, from this place to before that one.
    pub(super) fn ended(&self, from: usize, until: usize) -> Vec<Remembered> {
        let place = |at: usize| at.saturating_sub(self.forgotten).min(self.ended.len());
        self.ended.range(place(from)..place(until)).map(|(one, _)| one.clone()).collect()
    }

    /// What is open, and in which life.
    pub(super) fn open(&self) -> Vec<(Me, Release)> {
        self.open.values().map(|(life, release, _)| (*life, release.clone())).collect()
    }
}

/// With as many of a server's words as logs show: all that it says would be too much to remember.
fn in_short(verdict: &Verdict) -> Verdict {
    Verdict { text: verdict.text.as_deref().map(|text| shown(text).to_owned()), ..verdict.clone() }
}

/// In order, and no delivery twice in one of them: a statement moves it once.
pub(super) fn apart(all: Vec<Remembered>) -> Vec<Vec<Remembered>> {
    let mut portions: Vec<Vec<Remembered>> = Vec::new();
    let mut seen = HashSet::new();
    for one in all {
        let delivery = one.to.delivery;
        match portions.last_mut() {
            Some(portion) if portion.len() < AT_ONCE && !seen.contains(&delivery) => portion.push(one),
            _ => {
                seen.clear();
                portions.push(vec![one]);
            }
        }
        seen.insert(delivery);
    }
    portions
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepted, releases, remembered};
    use super::*;

    const ME: Me = Me { daemon: 1, epoch: 1 };

    #[test]
    fn p2_no_delivery_is_told_of_twice_in_one_statement_and_the_order_stays() {
        let all = [1, 2, 1, 3, 3].map(|delivery| remembered(ME, delivery));
        let ids: Vec<Vec<i64>> = apart(all.to_vec())
            .iter()
            .map(|portion| portion.iter().map(|one| one.to.delivery.0).collect())
            .collect();
        assert_eq!(ids, [vec![1, 2], vec![1, 3], vec![3]]);
        let many = apart((0..1001).map(|delivery| remembered(ME, delivery)).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [AT_ONCE, AT_ONCE, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn p2_outcomes_are_remembered_for_two_minutes_where_a_standby_was_seen_and_not_at_all_otherwise() {
        let asked = Group { asked: vec![releases(1), releases(2)], ..Group::default() };
        let finished = Group { finished: vec![accepted(1)], ..Group::default() };
        for (wanted, remembered) in [(false, 0), (true, 1)] {
            let mut memory = Memory { wanted, ..Memory::default() };
            memory.keep(ME, &asked, Some(&Kept { released: vec![1], ..Kept::default() }));
            assert_eq!(memory.open().len(), remembered, "the other was not released");
            memory.keep(ME, &finished, None);
            assert_eq!((memory.open().len(), memory.ended(0, 9).len()), (0, remembered));
            tokio::time::advance(LONGEST).await;
            memory.forget_old(ME);
            assert_eq!((memory.ended(0, 9).len(), memory.end()), (0, remembered));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p2_what_a_life_that_was_over_brought_besides_answers_was_not_kept() {
        let mut memory = Memory { wanted: true, ..Memory::default() };
        let (verdict, to) = accepted(1);
        let group = Group { refused: vec![(releases(1), verdict, to)], ..Group::default() };
        memory.keep(ME, &group, None);
        assert_eq!(memory.end(), 0);
        memory.keep(ME, &group, Some(&Kept::default()));
        assert_eq!(memory.end(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn p2_it_is_never_more_than_so_much_and_what_this_life_waits_for_stays() {
        let mut memory = Memory { wanted: true, ..Memory::default() };
        let (verdict, to) = accepted(1);
        let refused = (0..=MOST).map(|_| (releases(1), verdict.clone(), to)).collect();
        let asked = vec![releases(2)];
        let kept = Kept { released: vec![2], ..Kept::default() };
        memory.keep(ME, &Group { refused, asked, ..Group::default() }, Some(&kept));
        assert_eq!((memory.end(), memory.ended(0, usize::MAX).len()), (MOST + 1, MOST));
        tokio::time::advance(LONGEST * 3).await;
        memory.forget_old(ME);
        assert_eq!(memory.open().len(), 1);
        memory.forget_old(Me { epoch: 2, ..ME });
        assert_eq!(memory.open().len(), 0, "of an earlier life");
    }
}
