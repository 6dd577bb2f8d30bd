//! Drafts into the store: checked, and kept batch by batch, each batch in one transaction.

use jiff::Timestamp;
use serde::Serialize;

use super::article::ArticleId;
use super::draft::{Defaults, Draft, Refused};
use super::formats::{Found, Place};
use super::store::{self, Change};
use crate::db::{Db, Result};

/// How many drafts one transaction keeps; also the most that one push may bring.
pub const BATCH: usize = 500;

/// What became of one draft.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where it stood.
    pub place: Place,
    /// The link it came with, canonical where it was accepted.
    pub url: String,
    /// What became of it.
    pub result: std::result::Result<(ArticleId, Change), Refused>,
}

/// How many drafts became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Articles that nobody knew.
    pub new: usize,
    /// Articles that changed.
    pub updated: usize,
    /// Articles that did not.
    pub unchanged: usize,
    /// Drafts that were not kept.
    pub refused: usize,
}

impl Tally {
    /// Counts them.
    pub fn of(kept: &[Kept]) -> Self {
        let mut tally = Self::default();
        for one in kept {
            match one.result {
                Ok((_, Change::New)) => tally.new += 1,
                Ok((_, Change::Updated)) => tally.updated += 1,
                Ok((_, Change::Unchanged)) => tally.unchanged += 1,
                Err(_) => tally.refused += 1,
            }
        }
        tally
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            new: self.new + other.new,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            refused: self.refused + other.refused,
        }
    }
}

/// Keeps drafts, in order; a refused one does not stop the others.
pub async fn keep(
    db: &Db,
    drafts: Vec<(Place, std::result::Result<Draft, Refused>)>,
    defaults: &Defaults,
    origin: &str,
    now: Timestamp,
) -> Result<Vec<Kept>> {
    let mut out = Vec::with_capacity(drafts.len());
    // Checked before the transaction: guessing a language must not hold the one writer.
    let mut checked = drafts.into_iter().map(|(place, draft)| {
        let url = draft.as_ref().map(|draft| draft.url.clone()).unwrap_or_default();
        (place, url, draft.and_then(|draft| draft.check(defaults)))
    });
    loop {
        let batch: Vec<_> = checked.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(out);
        }
        if batch.iter().all(|(_, _, clean)| clean.is_err()) {
            out.extend(
                batch
                    .into_iter()
                    .filter_map(|(place, url, clean)| Some(Kept { place, url, result: Err(clean.err()?) })),
            );
            continue;
        }
        let mut tx = db.write().await?;
        for (place, url, clean) in batch {
            out.push(match clean {
                Ok(clean) => {
                    let result = store::upsert(&mut tx, &clean, origin, now).await?;
                    Kept { place, url: clean.draft().url.clone(), result: Ok(result) }
                }
                Err(refused) => Kept { place, url, result: Err(refused) },
            });
        }
        tx.commit().await?;
    }
}

/// A feed that dates its articles later than now has a wrong clock or zone: the date is not believed, so that no
/// article waits for its day. Who pushes an article with a later date means it.
pub fn disbelieve_future(found: &mut Found, now: Timestamp) {
    for (_, draft) in &mut found.drafts {
        if let Ok(draft) = draft {
            draft.published_at = draft.published_at.filter(|at| *at <= now);
        }
    }
}
