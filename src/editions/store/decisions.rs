//! The table `decision`: what editors said of single articles.

use std::collections::BTreeMap;

use sqlx::FromRow;

use super::{json, parse_json};
use crate::articles::{ArticleId, Lifetime};
use crate::db::{Conn, Result, expect_rows, on};
use crate::editions::{Decision, EditionId, ItemWords};
use crate::selection::Given;

#[derive(FromRow)]
struct DecisionRow {
    article: i64,
    pinned: Option<i64>,
    removed: i64,
    words: String,
    value: Option<i64>,
    lifetime: Option<String>,
}

const DECISIONS: &str = "
SELECT article, pinned, removed, words, value, lifetime
FROM decision
WHERE edition = $1
ORDER BY article";

/// What editors decided about this edition's articles.
pub async fn decisions(conn: &mut Conn, id: EditionId) -> Result<BTreeMap<ArticleId, Decision>> {
    let rows: Vec<DecisionRow> = on!(conn, |c| sqlx::query_as(DECISIONS).bind(id.0).fetch_all(c).await?);
    rows.into_iter()
        .map(|row| {
            let words: ItemWords = parse_json("decision", "words", row.article, &row.words)?;
            // The table's own checks leave nothing else.
            let given = Given {
                value: row.value.and_then(|value| u8::try_from(value).ok()),
                lifetime: row.lifetime.and_then(|lifetime| lifetime.parse().ok()),
            };
            let (pinned, removed) = (row.pinned, row.removed != 0);
            Ok((ArticleId(row.article), Decision { pinned, removed, words, given }))
        })
        .collect()
}

const DECIDE: &str = "
INSERT INTO decision (edition, article, pinned, removed, words, value, lifetime)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (edition, article) DO UPDATE
SET pinned = excluded.pinned, removed = excluded.removed, words = excluded.words, value = excluded.value,
    lifetime = excluded.lifetime";

const TOUCH: &str = "
UPDATE edition
SET version = version + 1
WHERE id = $1";

/// Keeps what an editor decided about one article.
pub async fn decide(conn: &mut Conn, id: EditionId, article: ArticleId, decision: &Decision) -> Result<()> {
    let words = json(&decision.words);
    on!(conn, |c| sqlx::query(DECIDE)
        .bind(id.0)
        .bind(article.0)
        .bind(decision.pinned)
        .bind(i64::from(decision.removed))
        .bind(words)
        .bind(decision.given.value.map(i64::from))
        .bind(decision.given.lifetime.map(Lifetime::as_str))
        .execute(c)
        .await
        .map(drop)?);
    let rows = on!(conn, |c| sqlx::query(TOUCH).bind(id.0).execute(c).await?.rows_affected());
    expect_rows("touch edition", 1, rows)
}
