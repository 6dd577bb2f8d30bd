//! Past days again, under other weights and limits: what would have stood in each edition, had nobody said a word.
//!
//! Reads and writes nothing back. The articles are as the store has them now; the cut-off and what had run before
//! are those of the day.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::Serialize;

use super::line_up::gather;
use super::{House, Result};
use crate::articles::ArticleId;
use crate::config::Newsletter;
use crate::editions;
use crate::selection::learning::agreement;
use crate::selection::{self, Candidate, Proposal, Settings};

/// Something to be set otherwise: the factor of a term, or a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// A term (`freshness`), or a limit by its name in the configuration (`limits.country`).
    pub name: String,
    /// A factor of the term's points, or a number of items.
    pub value: f64,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.trim().is_empty())
            .ok_or_else(|| "expected NAME=VALUE, such as freshness=1.5 or limits.country=2".to_owned())?;
        let name = name.trim();
        // As they were called before.
        let name = match name {
            "per_country" => "limits.country",
            "per_section" => "limits.section",
            "per_source" => "limits.source",
            other => other,
        };
        let name = name.to_owned();
        let limit = LIMITS.contains(&name.as_str());
        let value = value.trim().parse::<f64>().ok().filter(|value| {
            if limit {
                value.fract() == 0.0 && (1.0..=100.0).contains(value)
            } else {
                (0.0..=100.0).contains(value)
            }
        });
        let wanted = if limit { "a whole number from 1 to 100" } else { "a number from 0 to 100" };
        let value = value.ok_or_else(|| format!("{name}: expected {wanted}"))?;
        Ok(Self { name, value })
    }
}

/// As the configuration of a newsletter names them, below `selection` but for the first.
const LIMITS: [&str; 6] =
    ["items", "limits.country", "limits.section", "limits.source", "limits.alike", "limits.balance"];

/// Settings with these changes made.
fn with(settings: &Settings, changes: &[Setting]) -> Settings {
    let mut out = settings.clone();
    for Setting { name, value } in changes {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 100, checked")]
        let count = *value as usize;
        match name.as_str() {
            "items" => out.items = count,
            "limits.country" => out.rules.limits.country = count,
            "limits.section" => out.rules.limits.section = count,
            "limits.source" => out.rules.limits.source = count,
            "limits.alike" => out.rules.limits.alike = i64::try_from(count).unwrap_or(100),
            "limits.balance" => out.rules.limits.balance = i64::try_from(count).unwrap_or(100),
            term => {
                #[expect(clippy::cast_possible_truncation, reason = "from 0 to 100,000, checked")]
                let weight = (value * 1000.0).round() as i64;
                out.weights.terms.insert(term.to_owned(), weight);
            }
        }
    }
    out
}

/// One item that would stand elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its title.
    pub title: String,
    /// Its URL.
    pub url: String,
    /// Its place as things are, 1 for the first; `None`: not in.
    pub from: Option<usize>,
    /// Its place under the other weights.
    pub to: Option<usize>,
    /// Its points as things are.
    pub points: Option<i64>,
    /// Its points under the other weights.
    pub points_then: Option<i64>,
}

/// One day, replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The edition's date.
    pub date: String,
    /// What would come in, go out or move.
    pub changes: Vec<Change>,
    /// nDCG@10 against what ran, in ten-thousandths, as things are; `None` where nothing ran.
    pub agreement: Option<i64>,
    /// The same under the other weights.
    pub agreement_then: Option<i64>,
    /// Limits that would give way.
    pub relaxed: Vec<String>,
}

/// Replays the editions from one date to another; refuses a name that stands for nothing.
pub async fn replay(
    house: &House,
    newsletter: &Newsletter,
    from: Date,
    to: Date,
    changes: &[Setting],
) -> Result<std::result::Result<Vec<Day>, String>> {
    let mut conn = house.db.read().await?;
    let mut editions = editions::store::list(&mut conn, &newsletter.id, i64::MAX).await?;
    drop(conn);
    editions.retain(|edition| edition.corrects.is_none() && (from..=to).contains(&edition.date));
    editions.sort_by_key(|edition| edition.date);
    let mut days = Vec::new();
    let mut terms: BTreeSet<String> = BTreeSet::new();
    for edition in &editions {
        let mut conn = house.db.read().await?;
        let gathered = gather(&mut conn, newsletter, edition).await?;
        let ran = match edition.revision {
            0 => Vec::new(),
            _ => editions::store::line_up(&mut conn, edition.id).await?.chosen,
        };
        drop(conn);
        let changes = changes.to_vec();
        let date = edition.date;
        let (day, known) = tokio::task::spawn_blocking(move || {
            let as_is = gathered.alone(gathered.settings.weights.clone());
            let settings = with(&gathered.settings, &changes);
            let then = selection::propose(
                &gathered.articles,
                &gathered.ran,
                &gathered.standing.facts(),
                &settings,
                gathered.cut_off,
            );
            let ran: Vec<ArticleId> = ran.iter().map(|item| item.article).collect();
            let known: BTreeSet<String> = all(&as_is)
                .flat_map(|candidate| candidate.reasons.iter().map(|reason| reason.term.clone()))
                .collect();
            (compare(date, &as_is, &then, &ran), known)
        })
        .await
        .map_err(|error| super::Error::Start(error.to_string()))?;
        days.push(day);
        terms.extend(known);
    }
    let known = |name: &str| LIMITS.contains(&name) || terms.contains(name) || days.is_empty();
    if let Some(wrong) = changes.iter().find(|setting| !known(&setting.name)) {
        let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
        return Ok(Err(format!(
            "no candidate of these days has a term {:?}; there are {}, and the limits {}",
            wrong.name,
            terms.join(", "),
            LIMITS.join(", ")
        )));
    }
    Ok(Ok(days))
}

fn all(proposal: &Proposal) -> impl Iterator<Item = &Candidate> {
    proposal.chosen.iter().chain(&proposal.reserves).chain(&proposal.left_out)
}

fn compare(date: Date, as_is: &Proposal, then: &Proposal, ran: &[ArticleId]) -> Day {
    let ids = |proposal: &Proposal| -> Vec<ArticleId> {
        proposal.chosen.iter().map(|candidate| candidate.article).collect()
    };
    let (now, other) = (ids(as_is), ids(then));
    let place = |ids: &[ArticleId], id: ArticleId| ids.iter().position(|known| *known == id).map(|at| at + 1);
    let points: BTreeMap<ArticleId, i64> = all(as_is).map(|c| (c.article, c.points)).collect();
    let points_then: BTreeMap<ArticleId, i64> = all(then).map(|c| (c.article, c.points)).collect();
    let gone = as_is.chosen.iter().filter(|candidate| !other.contains(&candidate.article));
    let changes = then
        .chosen
        .iter()
        .chain(gone)
        .map(|candidate| Change {
            title: candidate.title.clone(),
            url: candidate.url.clone(),
            from: place(&now, candidate.article),
            to: place(&other, candidate.article),
            points: points.get(&candidate.article).copied(),
            points_then: points_then.get(&candidate.article).copied(),
        })
        .filter(|change| change.from != change.to)
        .collect();
    let agreed = |ids: &[ArticleId]| (!ran.is_empty()).then(|| agreement(ids, ran));
    Day {
        date: date.to_string(),
        changes,
        agreement: agreed(&now),
        agreement_then: agreed(&other),
        relaxed: then.relaxed.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_setting_is_a_name_and_a_number_that_can_be() {
        let setting: Setting = "freshness=1.5".parse().unwrap();
        assert_eq!((setting.name.as_str(), setting.value), ("freshness", 1.5));
        for wrong in [
            "freshness",
            "freshness=",
            "freshness=x",
            "freshness=-1",
            "per_country=0",
            "limits.country=0",
            "limits.alike=1.5",
            "items=2.5",
            "a=NaN",
            "=",
            "items=101",
        ] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
        let limits =
            ["limits.country=2", "per_section=1", "limits.balance=90"].map(|text| text.parse().unwrap());
        let settings = with(&Settings::default(), &[vec![setting], limits.to_vec()].concat());
        assert_eq!((settings.rules.limits.country, settings.weights.terms["freshness"]), (2, 1500));
        assert_eq!((settings.rules.limits.section, settings.rules.limits.balance), (1, 90));
    }
}
