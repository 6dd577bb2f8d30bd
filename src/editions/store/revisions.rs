//! The tables `revision` and `rendering`: what was frozen, and the bytes that are sent of it.

use jiff::Timestamp;

use crate::db::{Conn, Result, expect_rows, on};
use crate::editions::{EditionId, Who};

const ADD_REVISION: &str = "
INSERT INTO revision (edition, number, at, who, why, content)
VALUES ($1, $2, $3, $4, $5, $6)";

const SET_REVISION: &str = "
UPDATE edition
SET revision = $2, version = version + 1
WHERE id = $1 AND revision = $2 - 1";

const ADD_RENDERING: &str = "
INSERT INTO rendering (edition, revision, language, prepared)
VALUES ($1, $2, $3, $4)";

/// A revision about to be frozen.
#[derive(Clone, Debug)]
pub struct NewRevision<'a> {
    /// Its number: the edition's revision plus one.
    pub number: i64,
    /// Who froze it.
    pub who: &'a Who,
    /// Why: "lock", or what was corrected.
    pub why: &'a str,
    /// The content, as JSON.
    pub content: &'a str,
    /// The prepared bytes by language.
    pub renderings: &'a [(String, Vec<u8>)],
}

/// Freezes a revision and makes it the newest approved one.
///
/// # Errors
/// [`crate::db::Error::Rows`] when somebody froze that number first.
pub async fn freeze(conn: &mut Conn, id: EditionId, revision: &NewRevision<'_>, at: Timestamp) -> Result<()> {
    let rows = on!(conn, |c| sqlx::query(SET_REVISION)
        .bind(id.0)
        .bind(revision.number)
        .execute(c)
        .await?
        .rows_affected());
    expect_rows("set revision", 1, rows)?;
    on!(conn, |c| sqlx::query(ADD_REVISION)
        .bind(id.0)
        .bind(revision.number)
        .bind(at.as_millisecond())
        .bind(&revision.who.0)
        .bind(revision.why)
        .bind(revision.content)
        .execute(c)
        .await
        .map(drop)?);
    for (language, prepared) in revision.renderings {
        on!(conn, |c| sqlx::query(ADD_RENDERING)
            .bind(id.0)
            .bind(revision.number)
            .bind(language)
            .bind(prepared)
            .execute(c)
            .await
            .map(drop)?);
    }
    Ok(())
}

const CONTENT: &str = "
SELECT content
FROM revision
WHERE edition = $1 AND number = $2";

/// The content of a revision, as JSON.
pub async fn find_content(conn: &mut Conn, id: EditionId, revision: i64) -> Result<Option<String>> {
    Ok(on!(conn, |c| sqlx::query_scalar(CONTENT).bind(id.0).bind(revision).fetch_optional(c).await?))
}

const RENDERING: &str = "
SELECT prepared
FROM rendering
WHERE edition = $1 AND revision = $2 AND language = $3";

/// The prepared bytes of a revision in one language.
pub async fn find_rendering(
    conn: &mut Conn,
    id: EditionId,
    revision: i64,
    language: &str,
) -> Result<Option<Vec<u8>>> {
    Ok(on!(conn, |c| sqlx::query_scalar(RENDERING)
        .bind(id.0)
        .bind(revision)
        .bind(language)
        .fetch_optional(c)
        .await?))
}
