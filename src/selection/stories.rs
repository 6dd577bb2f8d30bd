//! Stories: articles that report the same event, found by their words and letters.
//!
//! TF-IDF over stems of title and lead, mixed with character 4-grams (names in other spellings, compounds), joined
//! by average link while the mean similarity holds. Recomputed whole each time; the order of arrival decides
//! nothing, for articles are put in an order of their own first. The rule a newcomer would break: the section is no
//! sign of a story, sources name sections differently.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{self, Tongue};

/// What an article is compared by.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    /// Tells articles apart and orders them where dates do not: the URL.
    pub key: &'a str,
    /// The title; counts twice.
    pub title: &'a str,
    /// The standfirst, or the first sentences.
    pub lead: &'a str,
    /// BCP 47, where it is known.
    pub language: Option<&'a str>,
    /// When it came out, in milliseconds since the epoch.
    pub at: i64,
}

/// Which story each article belongs to, and how alike any two are.
#[derive(Clone, Debug, Default)]
pub struct Stories {
    /// By article, in the order given: the index of the story's first article.
    pub of: Vec<usize>,
    similarity: Triangle,
    /// From the given order to our own.
    place: Vec<usize>,
}

/// Articles so far apart report different events, or one that came back; nearer ones are the less alike the further
/// apart they are: the same words about two mornings are often two events.
const WINDOW_MS: i64 = 48 * 3600 * 1000;
const WORDS: f32 = 0.6;
const LETTERS: f32 = 0.4;
/// The mean similarity down to which headlines are joined.
const HEADLINES: f32 = 0.085;
/// And texts with a lead, in which more words meet by chance.
const LEADS: f32 = 0.28;
/// Words in a headline, and in a title with a lead.
const SHORT: f32 = 12.0;
const LONG: f32 = 40.0;
const SENTENCES: usize = 3;

impl Stories {
    /// How alike two articles are, in thousandths.
    pub fn alike(&self, a: usize, b: usize) -> i64 {
        if a == b {
            return 1000;
        }
        // At most one, and rounded: the last bits of a sum decide nothing.
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1000")]
        let thousandths = (self.similarity.get(self.place[a], self.place[b]) * 1000.0).round() as i64;
        thousandths
    }
}

/// Finds the stories of these articles.
pub fn find(pieces: &[Piece<'_>]) -> Stories {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by(|a, b| (pieces[*a].at, pieces[*a].key).cmp(&(pieces[*b].at, pieces[*b].key)));
    let sorted: Vec<&Piece<'_>> = order.iter().map(|at| &pieces[*at]).collect();
    let words: Vec<Counts> = sorted.iter().map(|piece| words(piece)).collect();
    let letters: Vec<Counts> = sorted.iter().map(|piece| letters(piece)).collect();
    let theta = threshold(&words);
    let mut similarity = Triangle::new(pieces.len());
    for (counts, share) in [(&words, WORDS), (&letters, LETTERS)] {
        add_cosines(&weighted(counts), &sorted, share, &mut similarity);
    }
    let joined = join(&similarity, theta);
    let mut place = vec![0; pieces.len()];
    for (ours, given) in order.iter().enumerate() {
        place[*given] = ours;
    }
    let of = place.iter().map(|ours| order[joined[*ours]]).collect();
    Stories { of, similarity, place }
}

type Counts = BTreeMap<String, u32>;

fn words(piece: &Piece<'_>) -> Counts {
    let tongue = Tongue::of(piece.language, piece.title);
    let stemmer = tongue.stemmer();
    let mut counts = Counts::new();
    let mut add = |part: &str, times: u32| {
        for word in text::words(part, tongue) {
            if !text::is_stopword(&word.folded) {
                *counts.entry(text::stem(&word.folded, tongue, stemmer.as_ref())).or_default() += times;
            }
        }
    };
    add(piece.title, 2);
    for sentence in text::sentences(piece.lead).into_iter().take(SENTENCES) {
        add(sentence, 1);
    }
    counts
}

fn letters(piece: &Piece<'_>) -> Counts {
    let mut counts = Counts::new();
    let lead: Vec<&str> = text::sentences(piece.lead).into_iter().take(SENTENCES).collect();
    for (part, times) in [(piece.title, 2), (&lead.join(" "), 1)] {
        for word in text::fold(part).split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let padded: Vec<char> = format!(" {word} ").chars().collect();
            for gram in padded.windows(4.min(padded.len())) {
                *counts.entry(gram.iter().collect()).or_default() += times;
            }
        }
    }
    counts
}

/// Between the threshold of headlines and that of leads, by how long the texts are.
fn threshold(words: &[Counts]) -> f32 {
    let mut lengths: Vec<usize> = words.iter().map(BTreeMap::len).collect();
    lengths.sort_unstable();
    let Some(median) = lengths.get(lengths.len() / 2) else { return HEADLINES };
    #[expect(clippy::cast_precision_loss, reason = "a number of words")]
    let share = ((*median as f32 - SHORT) / (LONG - SHORT)).clamp(0.0, 1.0);
    HEADLINES + share * (LEADS - HEADLINES)
}

/// Unit vectors of TF-IDF, as (term, weight) in the order of terms.
fn weighted(counts: &[Counts]) -> Vec<Vec<(usize, f32)>> {
    let terms: BTreeSet<&str> = counts.iter().flat_map(|own| own.keys().map(String::as_str)).collect();
    let index: BTreeMap<&str, usize> = terms.iter().enumerate().map(|(at, term)| (*term, at)).collect();
    let mut documents = vec![0_u32; terms.len()];
    for own in counts {
        for term in own.keys() {
            documents[index[term.as_str()]] += 1;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of articles")]
    let total = counts.len() as f32;
    counts
        .iter()
        .map(|own| {
            let mut vector: Vec<(usize, f32)> = own
                .iter()
                .map(|(term, count)| {
                    let at = index[term.as_str()];
                    #[expect(clippy::cast_precision_loss, reason = "small counts")]
                    let (tf, df) = (*count as f32, documents[at] as f32);
                    (at, (1.0 + tf.ln()) * ((1.0 + total) / (1.0 + df)).ln())
                })
                .collect();
            let length = vector.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
            if length > 0.0 {
                vector.iter_mut().for_each(|(_, weight)| *weight /= length);
            }
            vector
        })
        .collect()
}

/// Adds a share of every pair's cosine, within the window.
fn add_cosines(vectors: &[Vec<(usize, f32)>], sorted: &[&Piece<'_>], share: f32, similarity: &mut Triangle) {
    let terms = vectors.iter().flatten().map(|(term, _)| term + 1).max().unwrap_or(0);
    let mut postings: Vec<Vec<(u32, f32)>> = vec![Vec::new(); terms];
    let mut sums = vec![0.0_f32; vectors.len()];
    for (row, vector) in vectors.iter().enumerate() {
        for (term, weight) in vector {
            for (other, known) in &postings[*term] {
                sums[*other as usize] += weight * known;
            }
        }
        for (other, sum) in sums.iter_mut().enumerate().take(row) {
            if *sum > 0.0 {
                let apart = sorted[row].at - sorted[other].at;
                if apart < WINDOW_MS {
                    #[expect(clippy::cast_precision_loss, reason = "hours, in milliseconds")]
                    let near = 1.0 - apart as f32 / WINDOW_MS as f32;
                    similarity.add(row, other, share * near * *sum);
                }
                *sum = 0.0;
            }
        }
        for (term, weight) in vector {
            postings[*term].push((u32::try_from(row).unwrap_or(u32::MAX), *weight));
        }
    }
}

/// Average link by chains of nearest neighbours: the same tree as joining the best pair again and again, in n².
/// Returns each one's first member.
fn join(similarity: &Triangle, theta: f32) -> Vec<usize> {
    let n = similarity.n;
    let mut mean = similarity.clone();
    let mut size = vec![1.0_f32; n];
    let mut alive = vec![true; n];
    let mut root: Vec<usize> = (0..n).collect();
    let mut chain: Vec<usize> = Vec::new();
    let mut next = 0;
    loop {
        if chain.is_empty() {
            while next < n && !alive[next] {
                next += 1;
            }
            if next == n {
                break;
            }
            chain.push(next);
        }
        let top = chain[chain.len() - 1];
        let before = chain.len().checked_sub(2).map(|at| chain[at]);
        let mut best = before;
        let mut highest = before.map_or(f32::MIN, |before| mean.get(top, before));
        for (other, _) in alive.iter().enumerate().filter(|(other, alive)| **alive && *other != top) {
            let value = mean.get(top, other);
            if value > highest {
                highest = value;
                best = Some(other);
            }
        }
        match best {
            // Alone, or nothing near enough: it stays as it is. Means only fall, so nothing will come nearer.
            other if other.is_none() || highest < theta => {
                alive[top] = false;
                chain.pop();
            }
            Some(other) if Some(other) == before => {
                chain.truncate(chain.len() - 2);
                let (keep, gone) = (top.min(other), top.max(other));
                for (third, alive) in alive.iter().enumerate() {
                    if *alive && third != keep && third != gone {
                        let joined = (size[keep] * mean.get(keep, third)
                            + size[gone] * mean.get(gone, third))
                            / (size[keep] + size[gone]);
                        mean.set(keep, third, joined);
                    }
                }
                size[keep] += size[gone];
                alive[gone] = false;
                root[gone] = keep;
            }
            Some(other) => chain.push(other),
            None => {}
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

/// One number for each pair.
#[derive(Clone, Debug, Default)]
struct Triangle {
    n: usize,
    cells: Vec<f32>,
}

impl Triangle {
    fn new(n: usize) -> Self {
        Self { n, cells: vec![0.0; n * n.saturating_sub(1) / 2] }
    }

    fn at(a: usize, b: usize) -> usize {
        let (high, low) = if a > b { (a, b) } else { (b, a) };
        high * (high - 1) / 2 + low
    }

    fn get(&self, a: usize, b: usize) -> f32 {
        self.cells[Self::at(a, b)]
    }

    fn set(&mut self, a: usize, b: usize, value: f32) {
        self.cells[Self::at(a, b)] = value;
    }

    fn add(&mut self, a: usize, b: usize, value: f32) {
        self.cells[Self::at(a, b)] += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: [(&str, &str); 6] = [
        ("a", "Le cacao ivoirien franchit un nouveau record"),
        ("b", "Cacao : nouveau record pour les planteurs ivoiriens"),
        ("c", "Dakar adopte la loi sur l’accès à l’information"),
        ("d", "Sénégal : la loi sur l’accès à l’information adoptée à Dakar"),
        ("e", "Kenya suspends its fuel levy"),
        ("f", "Court in Kenya suspends the new fuel levy"),
    ];

    fn pieces() -> Vec<Piece<'static>> {
        TITLES.iter().map(|(key, title)| Piece { key, title, lead: "", language: None, at: 0 }).collect()
    }

    #[test]
    fn the_same_event_in_other_words_is_one_story() {
        let stories = find(&pieces()).of;
        assert_eq!(stories, [0, 0, 2, 2, 4, 4]);
    }

    #[test]
    fn the_order_of_arrival_decides_nothing() {
        let mut turned = pieces();
        turned.reverse();
        let stories = find(&turned).of;
        let keys: Vec<&str> = stories.iter().map(|at| turned[*at].key).collect();
        assert_eq!(keys, ["e", "e", "c", "c", "a", "a"]);
    }

    #[test]
    fn what_lies_days_apart_is_another_story() {
        let mut apart = pieces();
        apart[1].at = WINDOW_MS;
        assert_eq!(find(&apart).of[1], 1);
    }
}
