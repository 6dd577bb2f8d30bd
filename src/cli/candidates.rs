//! Candidates as an editor reads them at half past five: one line each, terms in columns that add up, and for those
//! left out what stopped them.

use std::io;

use super::output::{Out, Table};
use crate::selection::words::Phrases;
use crate::selection::{Candidate, Proposal, is_drawn};

/// What is left of a line for a title and the words beside it, however many columns there are.
const LEAST: usize = 24;

/// How a proposal is shown.
pub(super) struct Shown<'a> {
    pub(super) phrases: &'static Phrases,
    /// What a candidate is called, beside its title; nothing where that is enough.
    pub(super) id: &'a dyn Fn(&Candidate) -> String,
    /// So wide a line may be; any where `None`.
    pub(super) width: Option<usize>,
}

/// What a line-up does not keep, a line each.
pub(super) fn broken(proposal: &Proposal) -> impl Iterator<Item = String> {
    let words = proposal.relaxed.iter().map(|relaxed| &relaxed.words).chain(&proposal.short);
    words.map(|words| format!("! {words}"))
}

impl Shown<'_> {
    /// The chosen, a line each, their terms in columns; and what the line-up does not keep.
    pub(super) fn chosen(&self, proposal: &Proposal, out: &mut Out) -> io::Result<()> {
        // Only the terms that somebody has, in their order; what was learned by traits stands under one heading.
        let terms: Vec<&str> = self
            .phrases
            .terms
            .iter()
            .map(|(term, _)| *term)
            .filter(|term| proposal.chosen.iter().any(|candidate| of(candidate, term) != 0))
            .collect();
        let mut head = vec!["", self.phrases.points];
        head.extend(terms.iter().map(|term| self.phrases.term(term)));
        head.extend(["", "", ""]);
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (candidate, position) in proposal.chosen.iter().zip(1..) {
            let mut row = vec![position.to_string(), candidate.points.to_string()];
            row.extend(terms.iter().map(|term| match of(candidate, term) {
                0 => String::new(),
                points => format!("{points:+}"),
            }));
            row.push(candidate.country.clone().unwrap_or_default());
            row.push((self.id)(candidate));
            row.push(candidate.title.clone());
            rows.push(row);
        }
        if !rows.is_empty() {
            self.table(&head, rows, 1, out)?;
        }
        for line in broken(proposal) {
            out.line(&line)?;
        }
        Ok(())
    }

    /// Those that stand ready or were left out, a line each, with what stopped them.
    pub(super) fn stopped(&self, candidates: &[Candidate], first: usize, out: &mut Out) -> io::Result<()> {
        let rows = candidates
            .iter()
            .zip(first..)
            .map(|(candidate, position)| {
                let words = candidate.stopped.as_ref().map_or("", |stopped| stopped.words.as_str());
                let words = words.strip_prefix(self.phrases.not_taken).unwrap_or(words);
                let lot = if is_drawn(&candidate.reasons) { self.phrases.by_lot } else { "" };
                let between = if lot.is_empty() { "" } else { "; " };
                vec![
                    position.to_string(),
                    candidate.points.to_string(),
                    candidate.country.clone().unwrap_or_default(),
                    (self.id)(candidate),
                    candidate.title.clone(),
                    format!("{lot}{between}{words}"),
                ]
            })
            .collect();
        self.table(&["", self.phrases.points, "", "", "", ""], rows, 2, out)
    }

    /// Articles that are no candidates, a line each.
    pub(super) fn barred(&self, proposal: &Proposal, out: &mut Out) -> io::Result<()> {
        let rows =
            proposal.barred.iter().map(|barred| vec![barred.title.clone(), barred.words.clone()]).collect();
        self.table(&["", ""], rows, 2, out)
    }

    /// A table whose last `wide` columns share what the others leave.
    fn table(&self, head: &[&str], mut rows: Vec<Vec<String>>, wide: usize, out: &mut Out) -> io::Result<()> {
        // Columns that say nothing are left out.
        let kept: Vec<usize> = (0..head.len())
            .filter(|column| !head[*column].is_empty() || rows.iter().any(|row| !row[*column].is_empty()))
            .collect();
        let narrow = head.len() - wide;
        if let Some(width) = self.width {
            let used: usize = kept
                .iter()
                .filter(|column| **column < narrow)
                .map(|column| {
                    let cells = rows.iter().map(|row| Table::width(&row[*column]));
                    2 + cells.chain([Table::width(head[*column])]).max().unwrap_or(0)
                })
                .sum();
            let left = width.saturating_sub(used + 2 * (wide - 1)).max(LEAST);
            // Of two, the words beside the title are the longer ones.
            let title = if wide == 1 { left } else { left * 2 / 5 };
            for row in &mut rows {
                row[narrow] = Table::cut(&row[narrow], title);
                for cell in &mut row[narrow + 1..] {
                    *cell = Table::cut(cell, left - title);
                }
            }
        }
        let mut table = Table::new(&kept.iter().map(|column| head[*column]).collect::<Vec<_>>());
        for row in rows {
            table.row(&kept.iter().map(|column| row[*column].as_str()).collect::<Vec<_>>());
        }
        out.table(&table)
    }
}

fn of(candidate: &Candidate, term: &str) -> i64 {
    candidate.reasons.iter().filter(|reason| reason.term == term).map(|reason| reason.points).sum()
}

/// The whole proposal: the chosen and what gave way first, on one screen.
pub(super) fn explain(shown: &Shown<'_>, proposal: &Proposal, out: &mut Out) -> io::Result<()> {
    shown.chosen(proposal, out)?;
    let phrases = shown.phrases;
    let first = proposal.chosen.len() + 1;
    if !proposal.reserves.is_empty() {
        out.line("")?;
        out.line(phrases.in_reserve)?;
        shown.stopped(&proposal.reserves, first, out)?;
    }
    if !proposal.left_out.is_empty() {
        out.line("")?;
        out.line(phrases.left_out)?;
        shown.stopped(&proposal.left_out, first + proposal.reserves.len(), out)?;
    }
    if !proposal.barred.is_empty() {
        out.line("")?;
        out.line(phrases.no_candidates)?;
        shown.barred(proposal, out)?;
    }
    Ok(())
}
