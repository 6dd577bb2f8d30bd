//! What the mail costs: rendering a revision, preparing it, judging it, filling one subscriber in, with and without
//! a signature.
//!
//! Prints medians and fails when the house is slower than it promises: a revision in 5 ms, a subscriber in 10 µs.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use matinale::mail::preflight::{Asked, check};
use matinale::mail::{Consent, Language, Personal, Prepared, render};

#[path = "../tests/mail/samples.rs"]
mod samples;

const RENDER: Duration = Duration::from_millis(5);
const FILL: Duration = Duration::from_micros(10);

fn main() -> ExitCode {
    let signer = samples::signer();
    let date = "2026-11-24T06:30:00+00:00[Africa/Abidjan]".parse().expect("a moment");
    let consent = Consent::of(Some("2025-08-03"), None, Some("https://news.example/abonnement"));
    let mut kept = true;
    println!("day    in     HTML      render     prepare   preflight        fill   fill+sign");
    for tag in samples::LANGUAGES {
        let language = Language::of(tag).expect("a known language");
        for (day, content) in
            [("full", samples::full(tag)), ("poor", samples::poor(tag)), ("ugly", samples::ugly(tag))]
        {
            let rendered = render(&content, language).expect("a mail");
            let prepared = Prepared::new(&rendered, &content);
            let personal = Personal {
                address: "a.reader@example.org",
                message_id: "<m.abcdefghij234567abcdefghij@news.example>",
                date: &date,
                subscription_token: "abcdefghij234567abcdefghij2345",
                consent: &consent,
            };
            let mut out = Vec::with_capacity(prepared.len());
            let rendering = median(500, || drop(black_box(render(&content, language))));
            let preparing = median(200, || drop(black_box(Prepared::new(&rendered, &content))));
            let judging = median(100, || {
                drop(black_box(check(&content, &[(language, &rendered)], &Asked::default())));
            });
            let filling = median(5000, || {
                out.clear();
                prepared.fill(black_box(&personal), None, &mut out).expect("fit values");
            });
            let signing = median(200, || {
                out.clear();
                prepared.fill(black_box(&personal), Some(&signer), &mut out).expect("fit values");
            });
            kept &= rendering < RENDER && filling < FILL;
            println!(
                "{day:<6} {tag} {:>8} {rendering:>11.1?} {preparing:>11.1?} {judging:>11.1?} {filling:>11.1?} {signing:>11.1?}",
                rendered.html.len()
            );
        }
    }
    let word = if kept { "kept" } else { "NOT kept" };
    println!(
        "{word}: a revision rendered in less than {RENDER:?}, a subscriber filled in in less than {FILL:?}"
    );
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn median(times: usize, mut what: impl FnMut()) -> Duration {
    for _ in 0..times / 10 {
        what();
    }
    let mut taken: Vec<Duration> = (0..times)
        .map(|_| {
            let start = Instant::now();
            what();
            start.elapsed()
        })
        .collect();
    taken.sort_unstable();
    taken[times / 2]
}
