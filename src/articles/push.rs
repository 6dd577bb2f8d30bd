//! What a newsroom's system pushes: one article object, or an array of up to [`MAX_ARTICLES`].
//!
//! Owns the meaning of a push and its answer; the door itself (HTTP, tokens) is `web::api`. Every object has a
//! result of its own, by index. Good ones are kept even where others are refused, and the answer is then a 422: the
//! client mends what is named and sends all of it again, for what was kept is unchanged the second time.

use serde::Serialize;
use serde_json::Value;

use super::article::ArticleId;
use super::draft::Defaults;
use super::formats::{Place, record};
use super::guard::guarded;
use super::ingest::{self, Tally};
use super::store::Change;
use crate::clock::Clock;
use crate::db::{self, Db};

/// The most articles of one push.
pub const MAX_ARTICLES: usize = ingest::BATCH;
/// The most bytes of one push.
pub const MAX_BYTES: usize = 12 << 20;

/// The answer to a push.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Every object was looked at.
    Done {
        /// How many became what.
        #[serde(flatten)]
        tally: Tally,
        /// One result an object, in order.
        results: Vec<OneResult>,
    },
    /// Nothing was looked at.
    Rejected {
        /// The status code that says it.
        #[serde(skip)]
        status: u16,
        /// What is wrong.
        error: String,
    },
}

/// What became of one object.
#[derive(Clone, Debug, Serialize)]
pub struct OneResult {
    /// Its place in the array, from 0.
    pub index: usize,
    /// `new`, `updated`, `unchanged` or `refused`.
    pub result: &'static str,
    /// The canonical URL of what was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The number of what was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<ArticleId>,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Answer {
    /// The status code of HTTP that goes with it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Done { tally, .. } if tally.refused == 0 => 200,
            Self::Done { .. } => 422,
            Self::Rejected { status, .. } => *status,
        }
    }

    /// A push that was not looked at.
    pub fn rejected(status: u16, error: impl Into<String>) -> Self {
        Self::Rejected { status, error: error.into() }
    }
}

/// Keeps what was pushed by the token of this name.
///
/// # Errors
/// Only where the database fails; nothing was kept then, and the client may send it again.
pub async fn push(db: &Db, clock: &Clock, token: &str, body: Vec<u8>) -> db::Result<Answer> {
    if body.len() > MAX_BYTES {
        return Ok(Answer::rejected(413, format!("the body is larger than {} MiB", MAX_BYTES >> 20)));
    }
    let drafts = match guarded(move || drafts(&body)).await {
        Ok(Ok(drafts)) => drafts,
        Ok(Err(rejected)) => return Ok(rejected),
        Err(stopped) => return Ok(Answer::rejected(422, format!("the body {stopped}"))),
    };
    let origin = format!("push:{token}");
    let kept = ingest::keep(db, drafts, &Defaults::default(), &origin, clock.now()).await?;
    let tally = Tally::of(&kept);
    let results = kept
        .into_iter()
        .enumerate()
        .map(|(index, one)| match one.result {
            Ok((id, change)) => OneResult {
                index,
                result: match change {
                    Change::New => "new",
                    Change::Updated => "updated",
                    Change::Unchanged => "unchanged",
                },
                url: Some(one.url),
                id: Some(id),
                field: None,
                why: None,
            },
            Err(refused) => OneResult {
                index,
                result: "refused",
                url: Some(one.url).filter(|url| !url.is_empty()),
                id: None,
                field: Some(refused.field),
                why: Some(refused.why),
            },
        })
        .collect();
    Ok(Answer::Done { tally, results })
}

type Drafts = Vec<(Place, Result<super::Draft, super::Refused>)>;

fn drafts(body: &[u8]) -> Result<Drafts, Answer> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Answer::rejected(400, format!("the body is no JSON: {error}")))?;
    let list = match value {
        Value::Array(list) if list.len() > MAX_ARTICLES => {
            return Err(Answer::rejected(
                413,
                format!("{} articles in one push; {MAX_ARTICLES} at most", list.len()),
            ));
        }
        Value::Array(list) => list,
        one @ Value::Object(_) => vec![one],
        _ => return Err(Answer::rejected(422, "the body is neither an article nor an array of articles")),
    };
    Ok(list.iter().enumerate().map(|(at, value)| (Place::Entry(at + 1), record::draft(value))).collect())
}
