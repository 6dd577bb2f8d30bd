//! What articles are compared by: how often each stem and each run of four letters stands in them, and what that
//! weighs.
//!
//! Weights are whole numbers, the same on every machine.

use std::collections::HashMap;
use std::hash::Hash;

use super::Piece;
use crate::selection::logarithm::{log2, weight};
use crate::selection::places;
use crate::selection::text::{self, Tongue};

/// The length of a vector.
pub(super) const UNIT: u32 = 1 << 15;
const TITLE: u32 = 2;
const LEAD: u32 = 1;
/// A name tells more about an event than another word.
const NAME: u32 = 2;
/// A country counts no more than a word: it is not enough by itself to tell that two languages speak of one event.
const COUNTRY: u32 = 1;
/// So does a number, in tenths.
const NUMBER: u64 = 13;
/// So many articles without a word are thought to stand beside those in the window: the words of the morning's great
/// story would otherwise count as common.
const BACKGROUND: u64 = 600;
/// But few beside a handful: what every one of six says is a turn of phrase and no story, and of thirty it is not. The
/// cube of how many there are, by this; and one beside one alone, in which every word is common.
const HANDFUL: u64 = 48;

/// How often each term stands in each article.
pub(super) struct Counts {
    /// By article: term and count, by term.
    rows: Vec<Vec<(u32, u32)>>,
    /// By term: in how many articles it stands.
    documents: Vec<u32>,
    /// By term: whether it is a number.
    numbers: Vec<bool>,
}

/// Vectors of length [`UNIT`].
pub(super) struct Vectors {
    /// By article: term and weight, by term.
    pub(super) rows: Vec<Vec<(u32, u16)>>,
    /// How many terms there are.
    pub(super) terms: usize,
}

/// Gives each term a number, in the order in which they come.
struct Known<T>(HashMap<T, u32>);

impl<T: Hash + Eq> Known<T> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn number(&mut self, term: T) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(term).or_insert(next)
    }
}

/// What language each is written in.
pub(super) fn tongues(pieces: &[&Piece<'_>]) -> Vec<Tongue> {
    pieces.iter().map(|piece| Tongue::of(piece.language, piece.title)).collect()
}

/// Stems of titles and leads; with them the countries that they name, where these are given.
pub(super) fn words(
    pieces: &[&Piece<'_>],
    leads: &[Vec<&str>],
    tongues: &[Tongue],
    countries: Option<&[u128]>,
) -> Counts {
    let mut known = Known::new();
    let mut numbers = Vec::new();
    let rows = pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| {
            let tongue = tongues[at];
            let stemmer = tongue.stemmer();
            let mut row = HashMap::new();
            let mut add = |part: &str, times: u32| {
                let words = text::words(part, tongue);
                // Where Most Words Bear A Capital it says nothing.
                let telling = words.iter().filter(|word| word.capital).count() * 2 < words.len();
                for word in &words {
                    if text::is_stopword(&word.folded) {
                        continue;
                    }
                    let name = if telling && word.capital && !word.opens { NAME } else { 1 };
                    let term = known.number(text::stem(&word.folded, tongue, stemmer.as_ref()));
                    if numbers.len() <= term as usize {
                        numbers.push(word.folded.chars().any(char::is_numeric));
                    }
                    *row.entry(term).or_default() += times * name;
                }
            };
            add(piece.title, TITLE);
            for sentence in &leads[at] {
                add(sentence, LEAD);
            }
            let named = countries.map_or(0, |countries| countries[at]);
            for bit in (0..u128::BITS).filter(|bit| named >> bit & 1 == 1) {
                let term = known.number(format!("={bit}"));
                if numbers.len() <= term as usize {
                    numbers.push(false);
                }
                *row.entry(term).or_default() += COUNTRY;
            }
            in_order(row)
        })
        .collect();
    Counts::new(rows, known.0.len(), numbers)
}

/// The countries that each title and lead are about, one bit a country; none where none is named.
pub(super) fn countries(pieces: &[&Piece<'_>]) -> Vec<u128> {
    let mut known = Known::new();
    pieces
        .iter()
        .map(|piece| {
            let end = piece.lead.char_indices().nth(places::LEAD).map_or(piece.lead.len(), |(at, _)| at);
            places::countries(piece.title, &piece.lead[..end])
                .into_iter()
                // More countries than bits: those that come last tell nothing.
                .filter_map(|code| 1_u128.checked_shl(known.number(code)))
                .fold(0, |all, one| all | one)
        })
        .collect()
}

/// Runs of four letters within the words of titles and leads.
pub(super) fn letters(pieces: &[&Piece<'_>], leads: &[Vec<&str>]) -> Counts {
    const RUN: usize = 4;
    let mut known = Known::new();
    let rows = pieces
        .iter()
        .zip(leads)
        .map(|(piece, lead)| {
            let mut row = HashMap::new();
            let mut add = |part: &str, times: u32| {
                let folded = text::fold(part);
                for word in folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                    let padded: Vec<char> =
                        std::iter::once(' ').chain(word.chars()).chain(std::iter::once(' ')).collect();
                    for run in padded.windows(RUN.min(padded.len())) {
                        // A sign takes 21 bits.
                        let key = run.iter().fold(0_u128, |key, c| key << 21 | u128::from(*c));
                        *row.entry(known.number(key)).or_default() += times;
                    }
                }
            };
            add(piece.title, TITLE);
            for sentence in lead {
                add(sentence, LEAD);
            }
            in_order(row)
        })
        .collect();
    let numbers = vec![false; known.0.len()];
    Counts::new(rows, known.0.len(), numbers)
}

/// One article's terms by their numbers. A map takes several times the room, and thousands of articles have one each.
fn in_order(row: HashMap<u32, u32>) -> Vec<(u32, u32)> {
    let mut row: Vec<(u32, u32)> = row.into_iter().collect();
    row.sort_unstable();
    row
}

impl Counts {
    fn new(rows: Vec<Vec<(u32, u32)>>, terms: usize, numbers: Vec<bool>) -> Self {
        let mut documents = vec![0; terms];
        for (term, _) in rows.iter().flatten() {
            documents[*term as usize] += 1;
        }
        Self { rows, documents, numbers }
    }

    /// How many terms each article has.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.rows.iter().map(Vec::len).collect()
    }

    /// Unit vectors of TF-IDF.
    pub(super) fn weighted(&self) -> Vectors {
        let there = self.rows.len() as u64;
        let total = 1 + there + BACKGROUND.min(1 + there.saturating_pow(3) / HANDFUL);
        let rarity: Vec<u64> =
            self.documents.iter().map(|count| log2(total, 1 + u64::from(*count))).collect();
        let rows = self
            .rows
            .iter()
            .map(|row| {
                let weights: Vec<u64> = row
                    .iter()
                    .map(|(term, count)| {
                        let term = *term as usize;
                        let number = if self.numbers[term] { NUMBER } else { 10 };
                        weight(*count, rarity[term]) * number / 10
                    })
                    .collect();
                let length = weights.iter().map(|weight| weight * weight).sum::<u64>().isqrt().max(1);
                row.iter()
                    .zip(weights)
                    .map(|((term, _), weight)| {
                        let part = (weight * u64::from(UNIT) + length / 2) / length;
                        (*term, u16::try_from(part).unwrap_or(u16::MAX))
                    })
                    .filter(|(_, weight)| *weight > 0)
                    .collect()
            })
            .collect();
        Vectors { rows, terms: self.documents.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_number_weigh_more_than_another_word() {
        let piece = Piece {
            key: "",
            title: "Selon nos sources, Haftar refuse 12 ports",
            lead: "",
            language: Some("fr"),
            at: 0,
        };
        let row = words(&[&piece], &[vec![piece.lead]], &[Tongue::French], None).weighted().rows.remove(0);
        // sources, Haftar, refuse, 12, ports.
        let weights: Vec<u16> = row.iter().map(|(_, weight)| *weight).collect();
        assert_eq!(weights.len(), 5);
        assert!(weights[1] > weights[3] && weights[3] > weights[0], "{weights:?}");
        assert_eq!(weights[0], weights[4]);
    }

    #[test]
    fn vectors_have_one_length() {
        let piece = Piece {
            key: "",
            title: "Le port de Lomé rouvre après deux jours de grève",
            lead: "Les dockers ont repris le travail jeudi matin. Un accord a été signé.",
            language: Some("fr"),
            at: 0,
        };
        for counts in [
            words(&[&piece], &[vec![piece.lead]], &[Tongue::French], None),
            letters(&[&piece], &[vec![piece.lead]]),
        ] {
            let sum: u64 = counts.weighted().rows[0].iter().map(|(_, w)| u64::from(*w) * u64::from(*w)).sum();
            let length = sum.isqrt();
            assert!(length.abs_diff(u64::from(UNIT)) < 20, "{length}");
        }
    }
}
