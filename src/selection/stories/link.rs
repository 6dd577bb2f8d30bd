//! Average link: which articles are joined to one story, by how alike every two of them are.

/// Half a matrix, without its diagonal: how alike every two are, as a part of 65535.
#[derive(Clone, Debug, Default)]
pub(super) struct Triangle {
    n: usize,
    values: Vec<u16>,
}

impl Triangle {
    pub(super) fn new(n: usize) -> Self {
        Self { n, values: vec![0; n * n.saturating_sub(1) / 2] }
    }

    fn at(a: usize, b: usize) -> usize {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        high * (high - 1) / 2 + low
    }

    pub(super) fn get(&self, a: usize, b: usize) -> u16 {
        self.values[Self::at(a, b)]
    }

    fn set(&mut self, a: usize, b: usize, value: u16) {
        self.values[Self::at(a, b)] = value;
    }

    pub(super) fn add(&mut self, a: usize, b: usize, value: u16) {
        let known = &mut self.values[Self::at(a, b)];
        *known = known.saturating_add(value);
    }

    /// The same with every value squared.
    pub(super) fn squared(&self) -> Self {
        let square = |value: &u16| {
            let value = u32::from(*value);
            u16::try_from((value * value + 0x7fff) / 0xffff).unwrap_or(u16::MAX)
        };
        Self { n: self.n, values: self.values.iter().map(square).collect() }
    }
}

/// Joins down to `theta`; gives each one's first member.
///
/// By chains of nearest neighbours: the same tree as joining the best pair again and again, in n². A rounded mean
/// lies between the two that it is the mean of, so that no joining brings a third one nearer, on which chains rely.
pub(super) fn join(mut mean: Triangle, theta: u16) -> Vec<usize> {
    let n = mean.n;
    let mut size = vec![1_u64; n];
    let mut root: Vec<usize> = (0..n).collect();
    let mut alive: Vec<usize> = (0..n).collect();
    let mut chain: Vec<usize> = Vec::new();
    loop {
        if chain.is_empty() {
            let Some(first) = alive.first() else { break };
            chain.push(*first);
        }
        let top = chain[chain.len() - 1];
        let before = chain.len().checked_sub(2).map(|at| chain[at]);
        let mut best = before.map(|before| (mean.get(top, before), before));
        for other in alive.iter().copied().filter(|other| *other != top) {
            let value = mean.get(top, other);
            if best.is_none_or(|(highest, _)| value > highest) {
                best = Some((value, other));
            }
        }
        match best.filter(|(highest, _)| *highest >= theta) {
            // Alone, or nothing near enough: it stays as it is.
            None => {
                alive.retain(|other| *other != top);
                chain.pop();
            }
            Some((_, other)) if Some(other) == before => {
                chain.truncate(chain.len() - 2);
                let (keep, gone) = (top.min(other), top.max(other));
                alive.retain(|other| *other != gone);
                for third in alive.iter().copied().filter(|third| *third != keep) {
                    let joined =
                        between(mean.get(keep, third), size[keep], mean.get(gone, third), size[gone]);
                    mean.set(keep, third, joined);
                }
                size[keep] += size[gone];
                root[gone] = keep;
            }
            Some((_, other)) => chain.push(other),
        }
    }
    (0..n)
        .map(|mut at| {
            while root[at] != at {
                at = root[at];
            }
            at
        })
        .collect()
}

/// The mean of two values by their weights, rounded.
fn between(a: u16, by: u64, b: u16, and_by: u64) -> u16 {
    let weight = by + and_by;
    let mean = (u64::from(a) * by + u64::from(b) * and_by + weight / 2) / weight;
    u16::try_from(mean).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triangle(n: usize, pairs: &[(usize, usize, u16)]) -> Triangle {
        let mut out = Triangle::new(n);
        for (a, b, value) in pairs {
            out.add(*a, *b, *value);
        }
        out
    }

    #[test]
    fn two_chained_by_a_third_are_joined_only_where_the_mean_holds() {
        let pairs = [(0, 1, 900), (1, 2, 600), (0, 2, 100)];
        assert_eq!(join(triangle(3, &pairs), 350), [0, 0, 0]);
        assert_eq!(join(triangle(3, &pairs), 351), [0, 0, 2]);
        assert_eq!(join(triangle(3, &pairs), 901), [0, 1, 2]);
    }

    #[test]
    fn it_is_the_tree_of_joining_the_best_pair_again_and_again() {
        // Values that no two pairs share, from a generator of our own.
        let mut state = 7_u64;
        for n in 2..40 {
            let mut values: Vec<u16> =
                (1..=u16::try_from(n * (n - 1) / 2).unwrap()).map(|v| v * 80).collect();
            for at in (1..values.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                values.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
            }
            let triangle = Triangle { n, values };
            for theta in [1, 20_000, 35_000] {
                assert_eq!(join(triangle.clone(), theta), naive(&triangle, theta), "{n} {theta}");
            }
        }
    }

    /// The best pair by its mean, in fractions of whole sums.
    fn naive(similarity: &Triangle, theta: u16) -> Vec<usize> {
        let mut groups: Vec<Vec<usize>> = (0..similarity.n).map(|at| vec![at]).collect();
        loop {
            let mut best: Option<(u64, usize, usize)> = None;
            for high in 1..groups.len() {
                for low in 0..high {
                    let sum: u64 = groups[low]
                        .iter()
                        .flat_map(|a| groups[high].iter().map(|b| u64::from(similarity.get(*a, *b))))
                        .sum();
                    let count = (groups[low].len() * groups[high].len()) as u64;
                    let mean = sum * 1_000_000 / count;
                    if mean >= u64::from(theta) * 1_000_000 && best.is_none_or(|(known, _, _)| mean > known) {
                        best = Some((mean, low, high));
                    }
                }
            }
            let Some((_, low, high)) = best else { break };
            let gone = groups.remove(high);
            groups[low].extend(gone);
        }
        let mut out = vec![0; similarity.n];
        for group in groups {
            let first = group.iter().min().copied().unwrap();
            for at in group {
                out[at] = first;
            }
        }
        out
    }
}
