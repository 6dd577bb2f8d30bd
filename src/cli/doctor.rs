//! `doctor`: everything that a morning hangs on, each thing good, doubtful or bad, with what to do.

use std::sync::Arc;

use super::{Context, Exit, Out, Table};
use crate::config::Invalid;
use crate::morning::doctor::{Area, Finding, Limits, Patient, Verdict, examine, own_addresses};

/// Narrower than this no sentence can be read.
const NARROWEST: usize = 30;
/// What stands before a sentence: the longest area, the longest verdict, and the spaces behind them.
const BEFORE: usize = 30;

/// What `doctor` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask nobody but the database: no relay is greeted, no name looked up
    #[arg(long)]
    offline: bool,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let findings = match cx.config() {
        Ok(config) => {
            let patient = Patient {
                config: Arc::new(config.clone()),
                clock: cx.clock().clone(),
                random: cx.random().clone(),
                offline: args.offline,
                addresses: own_addresses(),
                limits: Limits::default(),
            };
            cx.say("Looking; whoever does not answer is waited for, a minute and a half at most.");
            examine(&patient).await
        }
        Err(error) => match error.downcast_ref::<Invalid>() {
            Some(invalid) => Finding::of_faults(&invalid.faults),
            None => return Err(error),
        },
    };
    tell(&findings, cx.out())?;
    let count = |verdict| findings.iter().filter(|found| found.verdict == verdict).count();
    let [good, doubtful, bad, unseen] =
        [Verdict::Good, Verdict::Doubtful, Verdict::Bad, Verdict::Unseen].map(count);
    cx.say(&format!("{good} good, {doubtful} doubtful, {bad} bad, {unseen} not looked at."));
    Ok(if bad > 0 { Exit::Failed } else { Exit::Done })
}

fn tell(findings: &[Finding], mut out: Out) -> anyhow::Result<()> {
    if out.json {
        for finding in findings {
            out.json(finding)?;
        }
    } else {
        let width = out.width().map_or(usize::MAX, |width| width.saturating_sub(BEFORE).max(NARROWEST));
        out.table(&table(findings, width))?;
    }
    out.finish()?;
    Ok(())
}

/// One finding after the other, its sentences in lines of so many columns; an area is named where it begins.
fn table(findings: &[Finding], width: usize) -> Table {
    let mut table = Table::new(&["area", "verdict", "what is so, and what to do"]);
    let mut area: Option<Area> = None;
    for found in findings {
        let mut lines = wrapped(&format!("{}: {}", found.subject, found.finding), width);
        if let Some(advice) = &found.advice {
            lines.extend(wrapped(&format!("→ {advice}"), width));
        }
        // Never broken: it is there to be copied.
        lines.extend(found.record.clone());
        let mut named = if area == Some(found.area) { "" } else { found.area.as_str() };
        let mut verdict = found.verdict.as_str();
        for line in lines {
            table.row(&[named, verdict, &line]);
            (named, verdict) = ("", "");
        }
        area = Some(found.area);
    }
    table
}

/// A text in lines of so many columns at the most, broken at its spaces; a longer word stands alone.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_ascii_whitespace() {
        match lines.last_mut() {
            Some(line) if Table::width(line) + 1 + Table::width(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_broken_at_spaces_and_a_longer_word_stands_alone() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a /very/long/path b", 6), ["a", "/very/long/path", "b"]);
        assert_eq!(wrapped("one two", usize::MAX), ["one two"]);
    }
}
