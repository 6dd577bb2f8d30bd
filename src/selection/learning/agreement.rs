//! How near a line-up came to the editors' own, and whether one way of choosing is truly nearer than another.

use serde::{Deserialize, Serialize};

use crate::selection::logarithm::log2;

/// So many places count.
const PLACES: usize = 10;
/// An agreement is kept in ten-thousandths, so that what is stored is what was compared.
const WHOLE: u64 = 10_000;
/// So many mornings are asked for, and looked at.
const MORNINGS: usize = 20;
/// A difference that mere chance would show more often than this, in ten-thousandths, is none.
const CHANCE: i64 = 500;

/// nDCG@10 of a line-up against the final one, in ten-thousandths: an item of the final line-up gains as much as it
/// stood high, any other nothing. 10,000 where both are the same.
pub fn agreement<T: PartialEq>(proposed: &[T], last: &[T]) -> i64 {
    let places = last.len().min(PLACES);
    // A gain in parts of 2^32, so that rounding is far below what is kept.
    let gained =
        |from: usize, at: usize| ((places - from) as u64 * (log2(2, 1) << 32)) / log2(at as u64 + 2, 1);
    let best: u64 = (0..places).map(|at| gained(at, at)).sum();
    let reached: u64 = proposed
        .iter()
        .take(PLACES)
        .enumerate()
        .filter_map(|(at, item)| {
            let there = last.iter().take(PLACES).position(|known| known == item)?;
            Some(gained(there, at))
        })
        .sum();
    match best {
        0 => 0,
        best => i64::try_from((reached * WHOLE + best / 2) / best).unwrap_or(i64::MAX),
    }
}

/// What the last mornings say about the learned weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How many mornings were compared.
    pub mornings: usize,
    /// How many are asked for.
    pub needed: usize,
    /// How much nearer the learned weights came, at the mean, in ten-thousandths.
    pub gain: i64,
    /// How often mere chance would show as much, in ten-thousandths.
    pub chance: i64,
    /// Whether limits gave way more often under the learned weights.
    pub limits_worse: bool,
    /// Whether a promotion is warranted; a person decides.
    pub promote: bool,
}

/// One morning, compared: agreement and relaxed limits, given and learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Morning {
    /// How near the given weights came, in ten-thousandths.
    pub given: i64,
    /// How near the learned ones came.
    pub learned: i64,
    /// How many limits gave way under the given weights.
    pub given_relaxed: i64,
    /// How many under the learned ones.
    pub learned_relaxed: i64,
}

/// How near both came to the editors at the mean, in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Over so many mornings.
    pub mornings: usize,
    /// By the given weights.
    pub given: i64,
    /// By the learned ones.
    pub learned: i64,
}

/// The same of the newest of these mornings, newest first; `None` where there is none.
pub fn agreed(mornings: &[Morning]) -> Option<Agreed> {
    let mornings = &mornings[..mornings.len().min(MORNINGS)];
    let count = i64::try_from(mornings.len()).ok().filter(|count| *count > 0)?;
    let mean = |of: fn(&Morning) -> i64| mornings.iter().map(of).sum::<i64>() / count;
    Some(Agreed {
        mornings: mornings.len(),
        given: mean(|morning| morning.given),
        learned: mean(|morning| morning.learned),
    })
}

/// The verdict of these mornings, newest first. Each must have been compared before it was learned from.
///
/// A paired test of signs over the differences, exact: were both equally near, each difference could as well stand
/// the other way round; it counts in how many of all the ways the sum would be as great.
pub fn verdict(mornings: &[Morning]) -> Verdict {
    let mornings = &mornings[..mornings.len().min(MORNINGS)];
    let differences: Vec<i64> = mornings.iter().map(|morning| morning.learned - morning.given).collect();
    let sum: i64 = differences.iter().sum();
    let count = i64::try_from(differences.len()).unwrap_or(i64::MAX).max(1);
    let chance = chance(&differences, sum);
    let relaxed = |which: fn(&Morning) -> i64| mornings.iter().map(which).sum::<i64>();
    let limits_worse = relaxed(|morning| morning.learned_relaxed) > relaxed(|morning| morning.given_relaxed);
    let enough = mornings.len() >= MORNINGS;
    Verdict {
        mornings: mornings.len(),
        needed: MORNINGS,
        gain: sum / count,
        chance,
        limits_worse,
        promote: enough && sum > 0 && chance < CHANCE && !limits_worse,
    }
}

/// The share of all choices of signs whose sum is at least this, in ten-thousandths, rounded up.
fn chance(differences: &[i64], sum: i64) -> i64 {
    let sizes: Vec<usize> =
        differences.iter().map(|difference| usize::try_from(difference.abs()).unwrap_or(0)).collect();
    let most: usize = sizes.iter().sum();
    // ways[s]: how many choices of positive ones add up to s; the sum of all is then 2s - most.
    let mut ways = vec![0_u64; most + 1];
    ways[0] = 1;
    for size in &sizes {
        for at in (*size..=most).rev() {
            // A difference of nothing has two signs as well, and doubles every way.
            ways[at] += ways[at - size];
        }
    }
    let all = 1_u64 << sizes.len();
    let from = (i64::try_from(most).unwrap_or(i64::MAX) + sum + 1) / 2;
    let at_least: u64 = ways.iter().skip(usize::try_from(from).unwrap_or(0)).sum();
    i64::try_from((at_least * 10_000).div_ceil(all)).unwrap_or(10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mornings(differences: &[i64]) -> Vec<Morning> {
        differences.iter().map(|d| Morning { given: 5000, learned: 5000 + d, ..Morning::default() }).collect()
    }

    #[test]
    fn the_same_line_up_agrees_wholly_and_another_not_at_all() {
        assert_eq!(agreement(&[1, 2, 3], &[1, 2, 3]), 10_000);
        assert_eq!(agreement(&[4, 5, 6], &[1, 2, 3]), 0);
        assert!(agreement(&[2, 1, 3], &[1, 2, 3]) > agreement(&[3, 2, 1], &[1, 2, 3]));
        assert_eq!(agreement::<i64>(&[], &[]), 0);
    }

    #[test]
    fn the_newest_twenty_mornings_are_told_at_their_mean() {
        assert_eq!(agreed(&[]), None);
        let told = agreed(&[mornings(&[300; 20]), mornings(&[-9000; 5])].concat());
        assert_eq!(told, Some(Agreed { mornings: 20, given: 5000, learned: 5300 }));
    }

    #[test]
    fn chance_counts_the_signs_exactly() {
        // All three up: one way of eight.
        assert_eq!(chance(&[5, 3, 2], 10), 1250);
        assert_eq!(chance(&[5, 3, 2], -10), 10_000);
        assert_eq!(chance(&[0, 0], 0), 10_000);
        assert_eq!(chance(&[1, -1, 0], 0), 7500);
        assert_eq!(chance(&[], 0), 10_000);
    }

    #[test]
    fn a_promotion_needs_twenty_mornings_a_clear_gain_and_no_limit_worse_kept() {
        assert!(verdict(&mornings(&[300; 20])).promote);
        assert!(!verdict(&mornings(&[300; 19])).promote, "too few mornings");
        let mixed: Vec<i64> = (0..20).map(|at| if at % 2 == 0 { 400 } else { -380 }).collect();
        assert!(!verdict(&mornings(&mixed)).promote, "mere chance");
        assert!(!verdict(&mornings(&[-300; 20])).promote);
        let mut worse = mornings(&[300; 20]);
        worse[3].learned_relaxed = 1;
        assert!(!verdict(&worse).promote, "a limit gave way more often");
    }
}
