//! The tables `article` (here) and `feed` (in `poll/store.rs`). Reads no other room's tables.
//!
//! An article is written only as a whole: read, changed by a checked draft, compared by fingerprint, written where
//! it differs. Two writers of one new URL meet at the unique key; the later one becomes an update.

use jiff::Timestamp;
use sqlx::FromRow;

use super::article::{Article, ArticleId, Lifetime};
use super::draft::Clean;
use crate::clock::timestamp;
use crate::db::{Conn, Error, Result, expect_rows, on};

/// What became of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Nobody knew its URL.
    New,
    /// Its content differs from what was known.
    Updated,
    /// Nothing differs.
    Unchanged,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    url: String,
    url_key: String,
    title: String,
    title_key: String,
    summary: String,
    body: String,
    language: Option<String>,
    section: Option<String>,
    countries: String,
    tags: String,
    author: Option<String>,
    source: String,
    published_at: Option<i64>,
    image_url: Option<String>,
    image_alt: Option<String>,
    image_credit: Option<String>,
    value: Option<i64>,
    lifetime: Option<String>,
    embargo_until: Option<i64>,
    origin: String,
    fingerprint: String,
    first_seen_at: i64,
    updated_at: i64,
    retracted_at: Option<i64>,
    retracted_why: Option<String>,
}

impl TryFrom<Row> for Article {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let broken = |column, value: String| Error::Row { table: "article", column, id: row.id, value };
        let lifetime = row
            .lifetime
            .map(|text| text.parse::<Lifetime>().map_err(|()| broken("lifetime", text)))
            .transpose()?;
        let value = row
            .value
            .map(|value| u8::try_from(value).map_err(|_| broken("value", value.to_string())))
            .transpose()?;
        let lines = |text: &str| text.lines().map(ToOwned::to_owned).collect();
        Ok(Self {
            id: ArticleId(row.id),
            url: row.url,
            url_key: row.url_key,
            title: row.title,
            title_key: row.title_key,
            summary: row.summary,
            body: row.body,
            language: row.language,
            section: row.section,
            countries: lines(&row.countries),
            tags: lines(&row.tags),
            author: row.author,
            source: row.source,
            published_at: row.published_at.map(timestamp),
            image_url: row.image_url,
            image_alt: row.image_alt,
            image_credit: row.image_credit,
            value,
            lifetime,
            embargo_until: row.embargo_until.map(timestamp),
            origin: row.origin,
            fingerprint: row.fingerprint,
            first_seen_at: timestamp(row.first_seen_at),
            updated_at: timestamp(row.updated_at),
            retracted_at: row.retracted_at.map(timestamp),
            retracted_why: row.retracted_why,
        })
    }
}

const BY_KEY: &str = "SELECT * FROM article WHERE url_key = $1";
const BY_ID: &str = "SELECT * FROM article WHERE id = $1";

const INSERT: &str = "INSERT INTO article (url, url_key, title, title_key, summary, body, language, section,
        countries, tags, author, source, published_at, image_url, image_alt, image_credit, value, lifetime,
        embargo_until, origin, fingerprint, first_seen_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $22)
    ON CONFLICT (url_key) DO NOTHING RETURNING id";

const UPDATE: &str = "UPDATE article SET url = $1, title = $2, title_key = $3, summary = $4, body = $5,
        language = $6, section = $7, countries = $8, tags = $9, author = $10, source = $11, published_at = $12,
        image_url = $13, image_alt = $14, image_credit = $15, value = $16, lifetime = $17, embargo_until = $18,
        fingerprint = $19, updated_at = $20
    WHERE id = $21";

/// Keeps a draft: as a new article, as a change of the known one, or not at all where nothing differs.
///
/// A retracted article takes the change and stays retracted.
pub async fn upsert(
    conn: &mut Conn,
    clean: &Clean,
    origin: &str,
    now: Timestamp,
) -> Result<(ArticleId, Change)> {
    if let Some(known) = find_by_key(conn, clean.url_key()).await? {
        return update(conn, clean, &known, origin, now).await;
    }
    if let Some(id) = insert(conn, &clean.apply(None, origin, now)).await? {
        return Ok((id, Change::New));
    }
    // Another writer was first, between the two statements.
    let known = find_by_key(conn, clean.url_key()).await?.ok_or(sqlx::Error::RowNotFound)?;
    update(conn, clean, &known, origin, now).await
}

async fn insert(conn: &mut Conn, article: &Article) -> Result<Option<ArticleId>> {
    let id: Option<i64> = on!(conn, |c| {
        sqlx::query_scalar(INSERT)
            .bind(&article.url)
            .bind(&article.url_key)
            .bind(&article.title)
            .bind(&article.title_key)
            .bind(&article.summary)
            .bind(&article.body)
            .bind(&article.language)
            .bind(&article.section)
            .bind(article.countries.join("\n"))
            .bind(article.tags.join("\n"))
            .bind(&article.author)
            .bind(&article.source)
            .bind(article.published_at.map(Timestamp::as_millisecond))
            .bind(&article.image_url)
            .bind(&article.image_alt)
            .bind(&article.image_credit)
            .bind(article.value.map(i64::from))
            .bind(article.lifetime.map(Lifetime::as_str))
            .bind(article.embargo_until.map(Timestamp::as_millisecond))
            .bind(&article.origin)
            .bind(&article.fingerprint)
            .bind(article.first_seen_at.as_millisecond())
            .fetch_optional(c)
            .await?
    });
    Ok(id.map(ArticleId))
}

async fn update(
    conn: &mut Conn,
    clean: &Clean,
    known: &Article,
    origin: &str,
    now: Timestamp,
) -> Result<(ArticleId, Change)> {
    let article = clean.apply(Some(known), origin, now);
    if article.fingerprint == known.fingerprint {
        return Ok((known.id, Change::Unchanged));
    }
    let rows = on!(conn, |c| {
        sqlx::query(UPDATE)
            .bind(&article.url)
            .bind(&article.title)
            .bind(&article.title_key)
            .bind(&article.summary)
            .bind(&article.body)
            .bind(&article.language)
            .bind(&article.section)
            .bind(article.countries.join("\n"))
            .bind(article.tags.join("\n"))
            .bind(&article.author)
            .bind(&article.source)
            .bind(article.published_at.map(Timestamp::as_millisecond))
            .bind(&article.image_url)
            .bind(&article.image_alt)
            .bind(&article.image_credit)
            .bind(article.value.map(i64::from))
            .bind(article.lifetime.map(Lifetime::as_str))
            .bind(article.embargo_until.map(Timestamp::as_millisecond))
            .bind(&article.fingerprint)
            .bind(article.updated_at.as_millisecond())
            .bind(article.id.0)
            .execute(c)
            .await?
            .rows_affected()
    });
    expect_rows("update article", 1, rows)?;
    Ok((known.id, Change::Updated))
}

async fn find_by_key(conn: &mut Conn, key: &str) -> Result<Option<Article>> {
    let row: Option<Row> = on!(conn, |c| sqlx::query_as(BY_KEY).bind(key).fetch_optional(c).await?);
    row.map(Article::try_from).transpose()
}

/// The article at this URL, in whatever form it is written.
pub async fn find_by_url(conn: &mut Conn, url: &str) -> Result<Option<Article>> {
    match super::canonical::canonical(url, None) {
        Ok(canonical) => find_by_key(conn, &canonical.key).await,
        Err(_) => Ok(None),
    }
}

/// The article of this number.
pub async fn find(conn: &mut Conn, id: ArticleId) -> Result<Option<Article>> {
    let row: Option<Row> = on!(conn, |c| sqlx::query_as(BY_ID).bind(id.0).fetch_optional(c).await?);
    row.map(Article::try_from).transpose()
}

/// The articles of these numbers that exist, in the order asked for.
pub async fn find_by_ids(conn: &mut Conn, ids: &[ArticleId]) -> Result<Vec<Article>> {
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        out.extend(find(conn, *id).await?);
    }
    Ok(out)
}

// Came out in the window; or was first seen in it, having come out (or saying no date) before its end. What is
// dated later is the future's, whenever it was pushed.
const WINDOW: &str = "SELECT * FROM article
    WHERE retracted_at IS NULL
      AND (embargo_until IS NULL OR embargo_until <= $2)
      AND (published_at IS NULL OR published_at < $2)
      AND ((published_at >= $1) OR (first_seen_at >= $1 AND first_seen_at < $2))
    ORDER BY id";

/// What an edition may choose from: published or first seen from `from` and before `until`, not retracted, its
/// embargo over at `until`; in the order of arrival.
pub async fn list_window(conn: &mut Conn, from: Timestamp, until: Timestamp) -> Result<Vec<Article>> {
    let rows: Vec<Row> = on!(conn, |c| {
        sqlx::query_as(WINDOW).bind(from.as_millisecond()).bind(until.as_millisecond()).fetch_all(c).await?
    });
    rows.into_iter().map(Article::try_from).collect()
}

const LATEST: &str = "SELECT * FROM article
    WHERE ($1 = '' OR source = $1) AND ($2 = 1 OR retracted_at IS NULL)
    ORDER BY COALESCE(published_at, first_seen_at) DESC, id DESC LIMIT $3";

/// The newest articles, newest first; of one source where it is named, the retracted too where wished.
pub async fn list_latest(
    conn: &mut Conn,
    source: Option<&str>,
    retracted: bool,
    limit: u32,
) -> Result<Vec<Article>> {
    let rows: Vec<Row> = on!(conn, |c| {
        sqlx::query_as(LATEST)
            .bind(source.unwrap_or_default())
            .bind(i64::from(retracted))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await?
    });
    rows.into_iter().map(Article::try_from).collect()
}

const RETRACT: &str =
    "UPDATE article SET retracted_at = COALESCE(retracted_at, $1), retracted_why = $2 WHERE id = $3";
const RESTORE: &str = "UPDATE article SET retracted_at = NULL, retracted_why = NULL WHERE id = $1";

/// Takes an article back: no edition that is still open shows it. Again, it changes only the reason.
pub async fn retract(conn: &mut Conn, id: ArticleId, why: Option<&str>, now: Timestamp) -> Result<()> {
    let rows = on!(conn, |c| {
        sqlx::query(RETRACT).bind(now.as_millisecond()).bind(why).bind(id.0).execute(c).await?.rows_affected()
    });
    expect_rows("retract article", 1, rows)
}

/// Lets a retracted article stand again.
pub async fn restore(conn: &mut Conn, id: ArticleId) -> Result<()> {
    let rows = on!(conn, |c| sqlx::query(RESTORE).bind(id.0).execute(c).await?.rows_affected());
    expect_rows("restore article", 1, rows)
}

const COUNT: &str = "SELECT COUNT(*) FROM article WHERE retracted_at IS NULL";

/// How many articles stand in the store.
pub async fn count(conn: &mut Conn) -> Result<u64> {
    let count: i64 = on!(conn, |c| sqlx::query_scalar(COUNT).fetch_one(c).await?);
    Ok(u64::try_from(count).unwrap_or_default())
}
