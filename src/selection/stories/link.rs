//! Average link: which articles are joined to one story, by how alike every two of them are, and by what editors said.

use super::Bond;

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

    /// How alike two are, squared.
    pub(super) fn squared(&self, a: usize, b: usize) -> u16 {
        let value = u32::from(self.get(a, b));
        u16::try_from((value * value + 0x7fff) / 0xffff).unwrap_or(u16::MAX)
    }
}

/// Between two that must not meet, whatever else joins them.
const APART: u16 = 0;

/// Joins down to `theta`, first what editors joined, and never what they parted; gives each one's first member.
///
/// A mean reaches `theta` only where one pair does. So whatever no such pair connects, over any number of others, is
/// never joined, and each connected part is joined by itself: the same groups, with a small matrix in place of a great
/// one.
pub(super) fn join(
    n: usize,
    alike: impl Fn(usize, usize) -> u16,
    theta: u16,
    bonds: &[(usize, usize, Bond)],
) -> Vec<usize> {
    let mut out: Vec<usize> = (0..n).collect();
    let parts = connected(n, &alike, theta, bonds);
    let mut place = vec![(usize::MAX, 0); n];
    for (part, members) in parts.iter().enumerate() {
        for (at, member) in members.iter().enumerate() {
            place[*member] = (part, at);
        }
    }
    let mut said: Vec<Vec<(usize, usize, Bond)>> = vec![Vec::new(); parts.len()];
    for (a, b, bond) in bonds {
        let ((part, a), (other, b)) = (place[*a], place[*b]);
        if part == other && part != usize::MAX {
            said[part].push((a, b, *bond));
        }
    }
    for (members, bonds) in parts.iter().zip(&said) {
        let mut mean = Triangle::new(members.len());
        for (high, b) in members.iter().enumerate() {
            for (low, a) in members[..high].iter().enumerate() {
                mean.set(low, high, alike(*a, *b).max(APART + 1));
            }
        }
        for (at, first) in join_part(mean, theta, bonds).into_iter().enumerate() {
            out[members[at]] = members[first];
        }
    }
    out
}

/// What pairs that reach `theta`, and what editors joined, connect: each part's members in their order, without those
/// that stand alone.
fn connected(
    n: usize,
    alike: impl Fn(usize, usize) -> u16,
    theta: u16,
    bonds: &[(usize, usize, Bond)],
) -> Vec<Vec<usize>> {
    fn first(root: &mut [usize], mut at: usize) -> usize {
        while root[at] != at {
            root[at] = root[root[at]];
            at = root[at];
        }
        at
    }
    let mut root: Vec<usize> = (0..n).collect();
    let mut connect = |a: usize, b: usize| {
        let (a, b) = (first(&mut root, a), first(&mut root, b));
        root[a.max(b)] = a.min(b);
    };
    for high in 0..n {
        for low in (0..high).filter(|low| alike(*low, high) >= theta.max(APART + 1)) {
            connect(low, high);
        }
    }
    for (a, b, _) in bonds.iter().filter(|(_, _, bond)| *bond == Bond::Together) {
        connect(*a, *b);
    }
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); n];
    for at in 0..n {
        parts[first(&mut root, at)].push(at);
    }
    parts.retain(|members| members.len() > 1);
    parts
}

/// Joins what is connected.
///
/// By chains of nearest neighbours: the same tree as joining the best pair again and again, in n². A rounded mean
/// lies between the two that it is the mean of, so that no joining brings a third one nearer, on which chains rely.
fn join_part(mut mean: Triangle, theta: u16, bonds: &[(usize, usize, Bond)]) -> Vec<usize> {
    for (a, b, _) in bonds.iter().filter(|(a, b, bond)| a != b && *bond == Bond::Apart) {
        mean.set(*a, *b, APART);
    }
    let mut joining = Joining::new(mean);
    for (a, b, _) in bonds.iter().filter(|(_, _, bond)| *bond == Bond::Together) {
        let (a, b) = (joining.first(*a), joining.first(*b));
        if a != b && joining.mean.get(a, b) != APART {
            joining.join(a, b);
        }
    }
    let mut waiting = joining.alive.clone();
    let mut chain: Vec<usize> = Vec::new();
    loop {
        if chain.is_empty() {
            let Some(first) = waiting.first() else { break };
            chain.push(*first);
        }
        let top = chain[chain.len() - 1];
        let before = chain.len().checked_sub(2).map(|at| chain[at]);
        let mut best = before.map(|before| (joining.mean.get(top, before), before));
        for other in waiting.iter().copied().filter(|other| *other != top) {
            let value = joining.mean.get(top, other);
            if best.is_none_or(|(highest, _)| value > highest) {
                best = Some((value, other));
            }
        }
        match best.filter(|(highest, _)| *highest >= theta.max(APART + 1)) {
            // Alone, or nothing near enough: it stays as it is.
            None => {
                waiting.retain(|other| *other != top);
                chain.pop();
            }
            Some((_, other)) if Some(other) == before => {
                chain.truncate(chain.len() - 2);
                joining.join(top, other);
                waiting.retain(|at| *at != top.max(other));
            }
            Some((_, other)) => chain.push(other),
        }
    }
    (0..joining.root.len()).map(|at| joining.first(at)).collect()
}

/// What is joined so far. A group goes by its first member.
struct Joining {
    /// Between groups, the mean over every two of their members.
    mean: Triangle,
    size: Vec<u64>,
    root: Vec<usize>,
    alive: Vec<usize>,
}

impl Joining {
    fn new(mean: Triangle) -> Self {
        let n = mean.n;
        Self { mean, size: vec![1; n], root: (0..n).collect(), alive: (0..n).collect() }
    }

    fn first(&self, mut at: usize) -> usize {
        while self.root[at] != at {
            at = self.root[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (keep, gone) = (a.min(b), a.max(b));
        self.alive.retain(|other| *other != gone);
        for third in self.alive.iter().copied().filter(|third| *third != keep) {
            let (near, far) = (self.mean.get(keep, third), self.mean.get(gone, third));
            let joined = between(near, self.size[keep], far, self.size[gone]);
            self.mean.set(keep, third, joined);
        }
        self.size[keep] += self.size[gone];
        self.root[gone] = keep;
    }
}

/// The mean of two values by their weights, rounded; what one is apart from, both are.
fn between(a: u16, by: u64, b: u16, and_by: u64) -> u16 {
    if a == APART || b == APART {
        return APART;
    }
    let weight = by + and_by;
    let mean = (u64::from(a) * by + u64::from(b) * and_by + weight / 2) / weight;
    u16::try_from(mean).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(triangle: &Triangle, theta: u16, bonds: &[(usize, usize, Bond)]) -> Vec<usize> {
        super::join(triangle.n, |a, b| triangle.get(a, b), theta, bonds)
    }

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
        assert_eq!(join(&triangle(3, &pairs), 350, &[]), [0, 0, 0]);
        assert_eq!(join(&triangle(3, &pairs), 351, &[]), [0, 0, 2]);
        assert_eq!(join(&triangle(3, &pairs), 901, &[]), [0, 1, 2]);
    }

    #[test]
    fn p8_what_editors_joined_stays_joined_and_what_they_parted_never_meets() {
        let pairs = [(0, 1, 900), (1, 2, 900), (0, 2, 900), (0, 3, 1), (1, 3, 1), (2, 3, 1)];
        let four = || triangle(4, &pairs);
        assert_eq!(join(&four(), 350, &[]), [0, 0, 0, 3]);
        assert_eq!(join(&four(), 350, &[(2, 0, Bond::Apart), (2, 1, Bond::Apart)]), [0, 0, 2, 3]);
        assert_eq!(join(&four(), 500, &[(3, 0, Bond::Together)]), [0, 1, 1, 0]);
        // Whoever comes later goes to the nearer side, and does not bring the two together.
        assert_eq!(join(&four(), 1, &[(0, 1, Bond::Apart)]), [0, 1, 0, 0]);
        // Apart weighs more than together, however the two are brought about.
        let both = [(0, 1, Bond::Together), (1, 2, Bond::Together), (0, 2, Bond::Apart)];
        assert_eq!(join(&four(), 350, &both), [0, 0, 2, 3]);
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
                assert_eq!(join(&triangle, theta, &[]), naive(&triangle, theta), "{n} {theta}");
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
