//! `cargo bench --bench stories`: a full pass over a window of articles: their stories, and the ten.
//!
//! Held against what anybody would write first: the word cosine of every pair over hash maps, without letters, without
//! joining. Both on one thread. The peak of memory is this process's own, articles and all, before the other one runs.
//!
//! `cargo bench --bench stories -- [ARTICLES]...` (1000 and 5000 when none is named)

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Instant;

use jiff::Timestamp;
use matinale::articles::{Article, ArticleId};
use matinale::selection::stories::{self, Piece};
use matinale::selection::{self, Settings, Standing};

fn main() {
    let named: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if named.is_empty() { vec![1000, 5000] } else { named };
    for size in sizes {
        let articles = articles(size);
        let pieces: Vec<Piece<'_>> = articles.iter().map(piece).collect();
        let begin = Instant::now();
        let found = stories::find(&pieces);
        let stories = begin.elapsed();
        let begin = Instant::now();
        let settings = Settings::default();
        let proposal = selection::propose(&articles, &[], &Standing::default(), &settings, now());
        let pick = begin.elapsed();
        let memory = peak();
        let begin = Instant::now();
        let alike = every_pair(&pieces);
        let pairs = begin.elapsed();
        let mut firsts = found.of.clone();
        firsts.sort_unstable();
        firsts.dedup();
        println!(
            "{size} articles: {} stories in {:.2} s, {} chosen in {:.2} s, peak {memory} MB; \
             every pair by maps: {:.2} s ({alike} alike); stories take {:.2} of it",
            firsts.len(),
            stories.as_secs_f64(),
            proposal.chosen.len(),
            pick.as_secs_f64(),
            pairs.as_secs_f64(),
            stories.as_secs_f64() / pairs.as_secs_f64(),
        );
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_775_000_000).unwrap_or_default()
}

fn piece(article: &Article) -> Piece<'_> {
    Piece {
        key: &article.url,
        title: &article.title,
        lead: &article.summary,
        language: article.language.as_deref(),
        at: article.dated().as_millisecond(),
    }
}

/// A window of made-up articles: stories of one to twelve reports, a title of ten words, a lead of thirty, words as
/// common as words are, over two days.
fn articles(count: usize) -> Vec<Article> {
    let mut dice = Dice(5);
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        let event: Vec<String> = (0..12).map(|_| word(dice.rare())).collect();
        let reports = 1 + dice.below(12).min(dice.below(12));
        let hour = dice.below(48);
        for _ in 0..reports.min(count - out.len()) {
            let mut text = |length: usize, telling: usize| {
                let mut text = String::new();
                for at in 0..length {
                    let word = if at % (length / telling) == 0 {
                        event[dice.below(event.len())].clone()
                    } else {
                        word(dice.rare())
                    };
                    write!(text, "{}{word}", if at == 0 { "" } else { " " }).unwrap_or_default();
                }
                text
            };
            let (title, summary) = (text(10, 5), format!("{}. {}.", text(15, 5), text(15, 5)));
            let at = out.len();
            let hours = jiff::SignedDuration::from_hours(i64::try_from(hour).unwrap_or(0));
            let dated = now().checked_sub(hours).unwrap_or_default();
            out.push(Article {
                id: ArticleId(i64::try_from(at).unwrap_or_default()),
                summary,
                language: Some("fr".to_owned()),
                source: format!("Source {}", dice.below(60)),
                ..Article::new(&format!("https://press.example/{at}"), &title, dated)
            });
        }
    }
    out
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % count
    }

    /// A number whose halves are as likely as the whole: few words are common, most are rare.
    fn rare(&mut self) -> usize {
        let bits = self.below(15);
        self.below(1 << bits)
    }
}

/// A word that one could say, a number written in syllables.
fn word(mut number: usize) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "lo", "ki", "ren", "tu", "mar", "se", "vi", "don", "pa", "ge", "lin", "cho", "fe", "nou", "zar",
    ];
    let mut out = String::new();
    loop {
        out.push_str(SYLLABLES[number % 16]);
        number /= 16;
        if number == 0 {
            return out + "te";
        }
    }
}

/// How many pairs have a word cosine of a quarter or more.
fn every_pair(pieces: &[Piece<'_>]) -> usize {
    let rows: Vec<HashMap<&str, f64>> = pieces
        .iter()
        .map(|piece| {
            let mut row = HashMap::new();
            for word in piece.title.split(' ').chain(piece.lead.split([' ', '.'])) {
                *row.entry(word).or_insert(0.0) += 1.0;
            }
            row
        })
        .collect();
    let mut documents: HashMap<&str, f64> = HashMap::new();
    for word in rows.iter().flat_map(HashMap::keys) {
        *documents.entry(word).or_insert(0.0) += 1.0;
    }
    let total = rows.len() as f64;
    let rows: Vec<HashMap<&str, f64>> = rows
        .into_iter()
        .map(|row| {
            let row: HashMap<&str, f64> =
                row.into_iter().map(|(word, count)| (word, count * (total / documents[word]).ln())).collect();
            let length =
                row.values().map(|weight| weight * weight).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            row.into_iter().map(|(word, weight)| (word, weight / length)).collect()
        })
        .collect();
    let mut alike = 0;
    for (at, one) in rows.iter().enumerate() {
        for other in &rows[..at] {
            let cosine: f64 = one.iter().filter_map(|(word, weight)| Some(weight * other.get(word)?)).sum();
            alike += usize::from(cosine >= 0.25);
        }
    }
    alike
}

/// The most memory that this process had, in megabytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
