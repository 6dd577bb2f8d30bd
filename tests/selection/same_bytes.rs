//! The same input gives the same bytes: in a debug build and in a release build (one constant for both), on one thread
//! and on several at once, in whatever order the articles came.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use matinale::articles::Article;
use matinale::selection::learning::{Lesson, Shown, agreement, fit};
use matinale::selection::stories::{self, Piece};
use matinale::selection::{self, Ran, Settings, Standing};
use sha2::Digest as _;

use super::pick::{article, cut_off, title};

/// What a whole pass over this window comes to. Another number here is another choice for everybody: it changes only with
/// what is meant to be chosen.
const PASS: &str = "a7048b9a5ca2408d";
/// What is learned from these lessons.
const LEARNED: &str = "9627eb130a7b9572";

/// Stories of one to six reports over a day, some with a lead, in several sections, countries and languages.
fn window() -> Vec<Article> {
    let mut out = Vec::new();
    for event in 0..120_i64 {
        for report in 0..=event % 6 {
            let id = event * 10 + report;
            let mut article =
                article(id, &format!("{} {}", title(event), title(id + 5000)), (event + report) % 30);
            article.summary =
                if id % 3 == 0 { String::new() } else { format!("{}. {}.", title(event), title(id)) };
            article.section =
                Some(["politique", "économie", "sport"][usize::try_from(event % 3).unwrap()].to_owned());
            article.countries =
                vec![["SN", "ML", "CI", "KE"][usize::try_from(event % 4).unwrap()].to_owned()];
            article.language = Some(["fr", "en", "pt"][usize::try_from(event % 3).unwrap()].to_owned());
            out.push(article);
        }
    }
    out
}

fn ran() -> Vec<Ran> {
    (0..30)
        .map(|event| Ran {
            age: usize::try_from(event % 3).unwrap() + 1,
            story: String::new(),
            article: -1 - event,
            title: format!("{} {}", title(event * 3), title(event + 9000)),
            lead: format!("{}.", title(event * 3)),
            language: Some("fr".to_owned()),
        })
        .collect()
}

/// Stories and proposal, as one hash.
fn pass(articles: &[Article]) -> String {
    let pieces: Vec<Piece<'_>> = articles
        .iter()
        .map(|article| Piece {
            key: &article.url,
            title: &article.title,
            lead: selection::lead(article),
            language: article.language.as_deref(),
            at: article.dated().as_millisecond(),
        })
        .collect();
    let ids = stories::find(&pieces).ids(&pieces, |_| None);
    let told: BTreeMap<&str, String> = articles.iter().map(|article| article.url.as_str()).zip(ids).collect();
    let settings = Settings { lots: Some(3), ..Settings::default() };
    let proposal = selection::propose(articles, &ran(), &Standing::default(), &settings, cut_off());
    hash(&(told, proposal))
}

fn hash<T: serde::Serialize>(value: &T) -> String {
    let bytes = serde_json::to_vec(value).unwrap();
    let hash = sha2::Sha256::digest(&bytes);
    format!("{:016x}", hash.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn lessons() -> Vec<Lesson> {
    let points = |seed: i64| (seed * 7919 + 104_729) % 401 - 100;
    (0..25)
        .map(|day| Lesson {
            days: day,
            shown: (0..20)
                .map(|at| Shown {
                    terms: ["value", "freshness", "coverage", "seen"]
                        .into_iter()
                        .zip(0..)
                        .map(|(term, salt)| (term.to_owned(), points(day * 83 + at * 17 + salt * 5)))
                        .collect(),
                    traits: vec![format!("section {}", (day + at) % 4)],
                    proposed: at < 10,
                    taken: (at * 7 + day) % 20 < 10,
                    ..Shown::default()
                })
                .collect(),
        })
        .collect()
}

#[test]
fn p7_the_same_input_gives_the_same_bytes_in_every_build_on_any_threads_in_any_order() {
    let articles = window();
    let whole = pass(&articles);
    assert_eq!(whole, PASS);
    let mut turned = articles.clone();
    turned.reverse();
    turned.rotate_left(117);
    let on_threads: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> =
            [&articles, &turned].map(|articles| scope.spawn(|| pass(articles))).into_iter().collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(on_threads, [PASS, PASS]);
    // A report that comes a minute later is another input.
    let mut other = articles;
    let later = other[0].dated().checked_add(SignedDuration::from_mins(90)).unwrap();
    other[0].published_at = Some(later);
    assert_ne!(pass(&other), PASS);
}

#[test]
fn p7_what_is_learned_is_the_same_in_every_build() {
    let weights = fit(&lessons());
    assert!(!weights.is_given());
    let orders: Vec<i64> = (0..10)
        .map(|turn| {
            let mut last: Vec<i64> = (0..10).collect();
            last.rotate_left(turn);
            agreement(&(0..10).collect::<Vec<i64>>(), &last)
        })
        .collect();
    assert_eq!(hash(&(weights, orders)), LEARNED);
}
