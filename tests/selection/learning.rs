//! Simulated editors: a linear taste over the terms, noise of half a standard deviation, a pull of 0.4 towards what
//! is proposed, forty candidates a morning. What they do is all that the fit sees; their taste judges it.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "small numbers of a simulation"
)]

use std::collections::BTreeMap;

use matinale::clock::Random;
use matinale::selection::learning::{Lesson, Shown, Weights, fit};

const TERMS: usize = 10;
const CANDIDATES: usize = 40;
const NOISE: f64 = 0.5;
const PULL: f64 = 0.4;
const SEEDS: u64 = 20;

struct World {
    random: Random,
    /// What the editors like, scaled so that it differs by one standard deviation between candidates.
    taste: Vec<f64>,
}

type Candidate = Vec<f64>;

impl World {
    /// Editors whose taste strays so far from the given weights.
    fn new(seed: u64, strays: f64) -> Self {
        let mut world = Self { random: Random::seeded(seed), taste: Vec::new() };
        let taste: Vec<f64> = (0..TERMS).map(|_| 1.0 + strays * world.normal()).collect();
        let length = taste.iter().map(|w| w * w).sum::<f64>().sqrt();
        world.taste = taste.iter().map(|w| w / length).collect();
        world
    }

    fn normal(&self) -> f64 {
        let even = || (self.random.between(0, 1 << 53) as f64 + 0.5) / (1_u64 << 53) as f64;
        (-2.0 * even().ln()).sqrt() * (std::f64::consts::TAU * even()).cos()
    }

    fn morning(&self) -> Vec<Candidate> {
        (0..CANDIDATES).map(|_| (0..TERMS).map(|_| self.normal()).collect()).collect()
    }

    fn liking(&self, candidate: &Candidate) -> f64 {
        candidate.iter().zip(&self.taste).map(|(x, w)| x * w).sum()
    }

    /// The given weights propose, the editors make their ten; they see the ten and ten reserves.
    fn lesson(&self, days: i64) -> Lesson {
        let morning = self.morning();
        let given = ranked(&morning, &Weights::default());
        let wish: Vec<f64> = (0..CANDIDATES)
            .map(|at| {
                let pull = if given[..10].contains(&at) { PULL } else { 0.0 };
                self.liking(&morning[at]) + NOISE * self.normal() + pull
            })
            .collect();
        let mut order: Vec<usize> = (0..CANDIDATES).collect();
        order.sort_by(|a, b| wish[*b].total_cmp(&wish[*a]));
        let last = &order[..10];
        let shown = (0..CANDIDATES)
            .filter(|at| given[..20].contains(at) || last.contains(at))
            .map(|at| Shown {
                terms: points(&morning[at]),
                traits: Vec::new(),
                proposed: given[..10].contains(&at),
                taken: last.contains(&at),
            })
            .collect();
        Lesson { days, shown }
    }

    /// nDCG@10 against the taste itself: what the best candidate is liked more than the worst is its gain.
    fn judged(&self, weights: &Weights, mornings: &[Vec<Candidate>]) -> f64 {
        let mut sum = 0.0;
        for morning in mornings {
            let liking: Vec<f64> = morning.iter().map(|c| self.liking(c)).collect();
            let gain = |at: usize| liking[at].max(0.0);
            let dcg = |order: &[usize]| -> f64 {
                order.iter().take(10).enumerate().map(|(at, c)| gain(*c) / ((at + 2) as f64).log2()).sum()
            };
            let mut best: Vec<usize> = (0..morning.len()).collect();
            best.sort_by(|a, b| liking[*b].total_cmp(&liking[*a]));
            sum += dcg(&ranked(morning, weights)) / dcg(&best);
        }
        sum / mornings.len() as f64
    }
}

fn points(candidate: &Candidate) -> BTreeMap<String, i64> {
    candidate.iter().enumerate().map(|(at, x)| (format!("term{at}"), (x * 100.0).round() as i64)).collect()
}

fn ranked(morning: &[Candidate], weights: &Weights) -> Vec<usize> {
    let sums: Vec<i64> = morning
        .iter()
        .map(|candidate| points(candidate).iter().map(|(term, points)| weights.points(term, *points)).sum())
        .collect();
    let mut order: Vec<usize> = (0..morning.len()).collect();
    order.sort_by_key(|at| (-sums[*at], *at));
    order
}

/// What the given and the learned weights reach after each of these numbers of editions, for one seed.
fn run(seed: u64, strays: f64, after: &[usize]) -> (f64, Vec<f64>) {
    let world = World::new(seed, strays);
    let last = after.iter().copied().max().unwrap_or(0);
    let mut lessons: Vec<Lesson> = (0..last).map(|_| world.lesson(0)).collect();
    let mornings: Vec<Vec<Candidate>> = (0..60).map(|_| world.morning()).collect();
    let given = world.judged(&Weights::default(), &mornings);
    let learned = after
        .iter()
        .map(|count| {
            for (at, lesson) in lessons.iter_mut().enumerate().take(*count) {
                lesson.days = i64::try_from(*count - at).unwrap();
            }
            world.judged(&fit(&lessons[..*count]), &mornings)
        })
        .collect();
    (given, learned)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

#[test]
fn learning_passes_the_given_weights_after_twenty_editions_and_never_falls_behind() {
    let after = [1, 3, 5, 8, 12, 20];
    // From editors of exactly the given taste, whom nobody can serve better, to quite other ones; and how much at
    // least is to be gained after twenty editions.
    for (strays, least) in [(0.0, -0.01), (0.25, 0.0), (0.5, 0.04), (0.75, 0.04)] {
        let runs: Vec<(f64, Vec<f64>)> = (0..SEEDS).map(|seed| run(seed, strays, &after)).collect();
        let given = median(runs.iter().map(|(given, _)| *given).collect());
        let gain = median(runs.iter().map(|(given, learned)| learned[after.len() - 1] - given).collect());
        let worst = runs
            .iter()
            .flat_map(|(given, learned)| learned.iter().map(move |learned| learned - given))
            .fold(f64::MAX, f64::min);
        println!("given weights at {given:.3}: {gain:+.3} after twenty editions, at worst {worst:+.3}");
        assert!(gain >= least, "given weights at {given:.3}: {gain:+.4} after twenty editions");
        assert!(worst >= -0.01, "given weights at {given:.3}: {worst:+.4} at worst");
    }
}
