//! The tables `story_article` and `story_bond`: which story each article was found in last, and what editors said of
//! two articles.
//!
//! Reads no other room's tables. Stories are found for a newsletter, out of what it may choose from; what editors say
//! of two articles holds for all newsletters.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sqlx::FromRow;

use super::Bond;
use crate::articles::ArticleId;
use crate::clock::timestamp;
use crate::db::{Conn, Error, Result, on};
use crate::selection::Candidate;

/// The bonds between articles that are in play.
pub type Bonds = Vec<(ArticleId, ArticleId, Bond)>;

impl Bond {
    fn as_str(self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Apart => "apart",
        }
    }
}

// Numbers grow with arrival: what lies below is in nobody's window.
const KNOWN: &str = "
SELECT article, story
FROM story_article
WHERE newsletter = $1 AND article >= $2";

/// The story each article bore last, from this article on.
pub async fn known(
    conn: &mut Conn,
    newsletter: &str,
    from: ArticleId,
) -> Result<BTreeMap<ArticleId, String>> {
    let rows: Vec<(i64, String)> =
        on!(conn, |c| sqlx::query_as(KNOWN).bind(newsletter).bind(from.0).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(article, story)| (ArticleId(article), story)).collect())
}

const REMEMBER: &str = "
INSERT INTO story_article (newsletter, article, story, at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (newsletter, article) DO UPDATE SET story = excluded.story, at = excluded.at";

// Nobody's candidates any more, and no edition that somebody still looks at asks what else reported its stories.
const DROP: &str = "
DELETE FROM story_article
WHERE newsletter = $1 AND article < $2 AND at < $3";
/// So long it is known which articles told one story, after they left the window.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Remembers the story of every candidate, writes only what differs, and drops what is old and out of the window.
pub async fn remember<'a>(
    conn: &mut Conn,
    newsletter: &str,
    candidates: impl Iterator<Item = &'a Candidate> + Clone,
    now: Timestamp,
) -> Result<()> {
    let Some(from) = candidates.clone().map(|candidate| candidate.article).min() else { return Ok(()) };
    let known = known(conn, newsletter, from).await?;
    let mut written = false;
    for candidate in candidates {
        if known.get(&candidate.article) != Some(&candidate.story) {
            on!(conn, |c| sqlx::query(REMEMBER)
                .bind(newsletter)
                .bind(candidate.article.0)
                .bind(&candidate.story)
                .bind(now.as_millisecond())
                .execute(c)
                .await
                .map(drop)?);
            written = true;
        }
    }
    if written {
        let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN).as_millisecond();
        on!(conn, |c| sqlx::query(DROP)
            .bind(newsletter)
            .bind(from.0)
            .bind(before)
            .execute(c)
            .await
            .map(drop)?);
    }
    Ok(())
}

const MEMBERS: &str = "
SELECT article
FROM story_article
WHERE newsletter = $1 AND story = $2
ORDER BY article";

/// The articles of a story, in the order of arrival.
pub async fn members(conn: &mut Conn, newsletter: &str, story: &str) -> Result<Vec<ArticleId>> {
    let rows: Vec<i64> =
        on!(conn, |c| sqlx::query_scalar(MEMBERS).bind(newsletter).bind(story).fetch_all(c).await?);
    Ok(rows.into_iter().map(ArticleId).collect())
}

const WITH: &str = "
SELECT DISTINCT other.article
FROM story_article AS own
JOIN story_article AS other ON other.newsletter = own.newsletter AND other.story = own.story
WHERE own.article = $1
ORDER BY other.article";

/// All that stand in one story with this article, for whatever newsletter; itself among them.
pub async fn with(conn: &mut Conn, article: ArticleId) -> Result<BTreeSet<ArticleId>> {
    let rows: Vec<i64> = on!(conn, |c| sqlx::query_scalar(WITH).bind(article.0).fetch_all(c).await?);
    Ok(rows.into_iter().map(ArticleId).chain([article]).collect())
}

const BIND: &str = "
INSERT INTO story_bond (one, other, bond, at, who)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (one, other) DO UPDATE SET bond = excluded.bond, at = excluded.at, who = excluded.who";

/// Remembers what an editor said of two articles, in place of what was said before.
pub async fn bind(
    conn: &mut Conn,
    one: ArticleId,
    other: ArticleId,
    bond: Bond,
    who: &str,
    now: Timestamp,
) -> Result<()> {
    let (low, high) = (one.min(other), one.max(other));
    on!(conn, |c| sqlx::query(BIND)
        .bind(low.0)
        .bind(high.0)
        .bind(bond.as_str())
        .bind(now.as_millisecond())
        .bind(who)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// A bond, and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The article that came first.
    pub one: ArticleId,
    /// The other one.
    pub other: ArticleId,
    /// What was said of them.
    pub bond: Bond,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
}

#[derive(FromRow)]
struct Row {
    one: i64,
    other: i64,
    bond: String,
    at: i64,
    who: String,
}

const BONDS: &str = "
SELECT one, other, bond, at, who
FROM story_bond
WHERE other >= $1
ORDER BY one, other";

/// Every bond of articles from this one on.
pub async fn bonds(conn: &mut Conn, from: ArticleId) -> Result<Vec<Kept>> {
    let rows: Vec<Row> = on!(conn, |c| sqlx::query_as(BONDS).bind(from.0).fetch_all(c).await?);
    rows.into_iter()
        .map(|row| {
            let bond = match row.bond.as_str() {
                "together" => Bond::Together,
                "apart" => Bond::Apart,
                _ => {
                    return Err(Error::Row {
                        table: "story_bond",
                        column: "bond",
                        id: row.one,
                        value: row.bond,
                    });
                }
            };
            Ok(Kept {
                one: ArticleId(row.one),
                other: ArticleId(row.other),
                bond,
                at: timestamp(row.at),
                who: row.who,
            })
        })
        .collect()
}
