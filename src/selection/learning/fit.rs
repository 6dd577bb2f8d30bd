//! The fit: logistic loss over pairs (taken over shown), pulled towards the given weights, by damped Newton steps.
//!
//! In floating point, but with the arithmetic of `reckon` and in a fixed order: the same weights on every machine.

use std::collections::BTreeSet;

use super::reckon::{exp, exp2, softplus};
use super::{GIVEN, Lesson, Shown, Weights};

/// How strongly the weights are pulled back to the given ones. With less, chance alone leads them astray in the first
/// weeks where the given weights were right already; with more, a month is too short to learn a taste.
const PULL: f64 = 30.0;
/// What one edition's pairs weigh together.
const EDITION: f64 = 10.0;
/// After so many days an edition weighs half.
const HALF_LIFE_DAYS: f64 = 60.0;
/// So many points are one unit: about what a term differs by between two candidates.
const UNIT: f64 = 100.0;
/// More of them never makes an article worse, whatever a month of editions seems to say.
const NEVER_NEGATIVE: [&str; 3] = ["value", "freshness", "coverage"];
const STEPS: usize = 50;

/// A taken item less one that was shown and not taken, and what the pair weighs.
struct Pair {
    /// By place among the features, in order; only where they differ.
    difference: Vec<(usize, f64)>,
    weight: f64,
}

/// The weights that these lessons teach; the given ones where they teach nothing.
pub fn fit(lessons: &[Lesson]) -> Weights {
    let everything = || lessons.iter().flat_map(|lesson| &lesson.shown);
    let terms: BTreeSet<&str> =
        everything().flat_map(|shown| shown.terms.keys().map(String::as_str)).collect();
    let traits: BTreeSet<&str> =
        everything().flat_map(|shown| shown.traits.iter().map(String::as_str)).collect();
    let terms: Vec<&str> = terms.into_iter().collect();
    let traits: Vec<&str> = traits.into_iter().collect();
    let pairs = pairs(lessons, &terms, &traits);
    // The last one stands for "was proposed": it takes up the editors' leaning towards what already stands there, so
    // that no term is praised for it, and is forgotten afterwards.
    let mut given = vec![1.0; terms.len()];
    given.resize(terms.len() + traits.len() + 1, 0.0);
    let mut free = vec![true; given.len()];
    let mut weights = solve(&pairs, &given, &free);
    // Whatever went below zero and must not is held at zero, and the rest found anew.
    loop {
        let wrong: Vec<usize> = (0..terms.len())
            .filter(|at| free[*at] && weights[*at] < 0.0 && NEVER_NEGATIVE.contains(&terms[*at]))
            .collect();
        if wrong.is_empty() {
            break;
        }
        for at in wrong {
            free[at] = false;
        }
        weights = solve(&pairs, &given, &free);
    }
    let name = |names: &[&str], values: &[f64], unit: f64| {
        names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), whole(value * unit))).collect()
    };
    #[expect(clippy::cast_precision_loss, reason = "a thousand is exact")]
    let thousand = GIVEN as f64;
    Weights { terms: name(&terms, &weights, thousand), traits: name(&traits, &weights[terms.len()..], UNIT) }
}

#[expect(clippy::cast_possible_truncation, reason = "weights are small and rounded")]
fn whole(value: f64) -> i64 {
    value.round() as i64
}

fn pairs(lessons: &[Lesson], terms: &[&str], traits: &[&str]) -> Vec<Pair> {
    let mut out = Vec::new();
    for lesson in lessons {
        let (taken, left): (Vec<_>, Vec<_>) = lesson.shown.iter().partition(|shown| shown.taken);
        let count = f64::from(u32::try_from(taken.len() * left.len()).unwrap_or(u32::MAX));
        let days = f64::from(i32::try_from(lesson.days.max(0)).unwrap_or(i32::MAX));
        let weight = EDITION * exp2(-days / HALF_LIFE_DAYS) / count;
        for better in &taken {
            let better = features(better, terms, traits);
            for worse in &left {
                let worse = features(worse, terms, traits);
                let difference = better
                    .iter()
                    .zip(&worse)
                    .map(|(better, worse)| better - worse)
                    .enumerate()
                    .filter(|(_, difference)| *difference != 0.0)
                    .collect();
                out.push(Pair { difference, weight });
            }
        }
    }
    out
}

fn features(shown: &Shown, terms: &[&str], traits: &[&str]) -> Vec<f64> {
    let points = |term: &&str| {
        let points = shown.terms.get(*term).copied().unwrap_or(0);
        f64::from(i32::try_from(points).unwrap_or(i32::MAX)) / UNIT
    };
    let has = |name: &&str| f64::from(shown.traits.iter().any(|known| known == name));
    terms.iter().map(points).chain(traits.iter().map(has)).chain([f64::from(shown.proposed)]).collect()
}

/// The weights that make the loss smallest; those not free stay at zero.
fn solve(pairs: &[Pair], given: &[f64], free: &[bool]) -> Vec<f64> {
    let mut weights: Vec<f64> =
        given.iter().zip(free).map(|(given, free)| if *free { *given } else { 0.0 }).collect();
    let mut loss = loss_of(pairs, given, &weights);
    for _ in 0..STEPS {
        let Some(step) = newton(pairs, given, &weights, free) else { break };
        // Halved until it helps: a whole step can overshoot where the pairs are far apart.
        let mut length = 1.0;
        let better = loop {
            let next: Vec<f64> =
                weights.iter().zip(&step).map(|(weight, step)| weight - length * step).collect();
            let there = loss_of(pairs, given, &next);
            if there < loss {
                break Some((next, there));
            }
            length /= 2.0;
            if length < 1e-6 {
                break None;
            }
        };
        let Some((next, there)) = better else { break };
        let gained = loss - there;
        (weights, loss) = (next, there);
        if gained < 1e-12 {
            break;
        }
    }
    weights
}

fn dot(weights: &[f64], difference: &[(usize, f64)]) -> f64 {
    difference.iter().map(|(at, value)| weights[*at] * value).sum()
}

fn loss_of(pairs: &[Pair], given: &[f64], weights: &[f64]) -> f64 {
    let pull: f64 =
        weights.iter().zip(given).map(|(weight, given)| (weight - given) * (weight - given)).sum();
    let missed: f64 = pairs.iter().map(|pair| pair.weight * softplus(-dot(weights, &pair.difference))).sum();
    missed + PULL / 2.0 * pull
}

/// Gradient over curvature; `None` where there is nothing to solve.
fn newton(pairs: &[Pair], given: &[f64], weights: &[f64], free: &[bool]) -> Option<Vec<f64>> {
    let size = weights.len();
    let mut gradient: Vec<f64> =
        weights.iter().zip(given).map(|(weight, given)| PULL * (weight - given)).collect();
    let mut curve = vec![vec![0.0; size]; size];
    for pair in pairs {
        let chance = 1.0 / (1.0 + exp(dot(weights, &pair.difference)));
        let (slope, bend) = (-pair.weight * chance, pair.weight * chance * (1.0 - chance));
        for (count, (row, left)) in pair.difference.iter().enumerate() {
            gradient[*row] += slope * left;
            for (column, right) in &pair.difference[..=count] {
                curve[*row][*column] += bend * left * right;
            }
        }
    }
    for (at, row) in curve.iter_mut().enumerate() {
        row[at] += PULL;
    }
    for at in (0..size).filter(|at| !free[*at]) {
        gradient[at] = 0.0;
        for other in 0..size {
            let (row, column) = (at.max(other), at.min(other));
            curve[row][column] = f64::from(u8::from(at == other));
        }
    }
    cholesky(curve, gradient)
}

/// Solves for a symmetric, positive matrix of which the lower half is given.
fn cholesky(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let size = right.len();
    for row in 0..size {
        for column in 0..=row {
            let sum: f64 = (0..column).map(|at| matrix[row][at] * matrix[column][at]).sum();
            let rest = matrix[row][column] - sum;
            if row == column {
                if rest <= 0.0 || !rest.is_finite() {
                    return None;
                }
                matrix[row][row] = rest.sqrt();
            } else {
                matrix[row][column] = rest / matrix[column][column];
            }
        }
    }
    for row in 0..size {
        let sum: f64 = (0..row).map(|at| matrix[row][at] * right[at]).sum();
        right[row] = (right[row] - sum) / matrix[row][row];
    }
    for row in (0..size).rev() {
        let sum: f64 = (row + 1..size).map(|at| matrix[at][row] * right[at]).sum();
        right[row] = (right[row] - sum) / matrix[row][row];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn shown(terms: &[(&str, i64)], taken: bool) -> Shown {
        Shown {
            terms: terms.iter().map(|(term, points)| ((*term).to_owned(), *points)).collect(),
            taken,
            ..Shown::default()
        }
    }

    #[test]
    fn without_lessons_the_given_weights_stand() {
        assert!(fit(&[]).is_given());
        let nothing = Lesson { days: 0, shown: vec![shown(&[("value", 300)], true)] };
        assert!(fit(&[nothing]).is_given());
    }

    #[test]
    fn the_order_of_what_was_shown_changes_nothing_that_is_kept() {
        let lesson = |turn: usize| {
            let mut shown = vec![
                shown(&[("value", 300), ("freshness", 20)], true),
                shown(&[("value", 100), ("freshness", 240)], false),
                shown(&[("value", 200), ("freshness", 100)], true),
                shown(&[("value", 100), ("freshness", 200)], false),
            ];
            shown.rotate_left(turn);
            Lesson { days: 1, shown }
        };
        assert_eq!(fit(&[lesson(0)]), fit(&[lesson(2)]));
    }

    #[test]
    fn what_must_not_turn_negative_stops_at_nothing() {
        let lesson = Lesson {
            days: 0,
            shown: vec![shown(&[("freshness", 0)], true), shown(&[("freshness", 250)], false)],
        };
        let weights = fit(&vec![lesson; 60]);
        assert_eq!(weights.terms, BTreeMap::from([("freshness".to_owned(), 0)]));
    }
}
