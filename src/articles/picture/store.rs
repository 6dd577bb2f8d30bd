//! The tables `picture` and `picture_source`: pictures fit for mail, and what became of their own addresses.

use jiff::Timestamp;
use sqlx::FromRow;

use super::fit::{Fitted, Kind};
use crate::clock::timestamp;
use crate::db::{Conn, Error, Result, on};

/// What is known of a picture's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The picture, or `None` where there is none to be had.
    pub picture: Option<Kept>,
    /// When it was asked.
    pub asked_at: Timestamp,
}

/// A picture that is kept, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub hash: String,
    /// What it was encoded as.
    pub kind: Kind,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Its weight.
    pub bytes: u64,
}

#[derive(FromRow)]
struct KnownRow {
    asked_at: i64,
    hash: Option<String>,
    kind: Option<String>,
    width: Option<i64>,
    height: Option<i64>,
    bytes: Option<i64>,
}

const FIND_SOURCE: &str = "
SELECT s.asked_at, p.hash, p.kind, p.width, p.height, CAST(LENGTH(p.bytes) AS BIGINT) AS bytes
FROM picture_source s
LEFT JOIN picture p ON p.hash = s.hash
WHERE s.url = $1";

/// What became of this address; `None` while nobody asked it.
pub async fn find_source(conn: &mut Conn, url: &str) -> Result<Option<Known>> {
    let row: Option<KnownRow> =
        on!(conn, |c| sqlx::query_as(FIND_SOURCE).bind(url).fetch_optional(c).await?);
    Ok(row.map(|row| Known { picture: kept(&row), asked_at: timestamp(row.asked_at) }))
}

fn kept(row: &KnownRow) -> Option<Kept> {
    Some(Kept {
        hash: row.hash.clone()?,
        kind: Kind::of(row.kind.as_deref()?)?,
        width: u32::try_from(row.width?).ok()?,
        height: u32::try_from(row.height?).ok()?,
        bytes: u64::try_from(row.bytes?).ok()?,
    })
}

const FIND: &str = "
SELECT bytes
FROM picture
WHERE hash = $1 AND kind = $2";

/// The bytes of the picture of this name.
pub async fn find(conn: &mut Conn, hash: &str, kind: Kind) -> Result<Option<Vec<u8>>> {
    let row: Option<(Vec<u8>,)> =
        on!(conn, |c| sqlx::query_as(FIND).bind(hash).bind(kind.ending()).fetch_optional(c).await?);
    Ok(row.map(|(bytes,)| bytes))
}

const KEEP: &str = "
INSERT INTO picture (hash, kind, width, height, bytes, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (hash) DO NOTHING";

const KEEP_SOURCE: &str = "
INSERT INTO picture_source (url, hash, why, asked_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (url) DO UPDATE
SET hash = excluded.hash, why = excluded.why, asked_at = excluded.asked_at";

/// Keeps what an address gave: a picture, or why there is none.
pub async fn keep(
    conn: &mut Conn,
    url: &str,
    gave: &std::result::Result<Fitted, String>,
    at: Timestamp,
) -> Result<()> {
    let at = at.as_millisecond();
    if let Ok(fitted) = gave {
        on!(conn, |c| sqlx::query(KEEP)
            .bind(&fitted.hash)
            .bind(fitted.kind.ending())
            .bind(i64::from(fitted.width))
            .bind(i64::from(fitted.height))
            .bind(&fitted.bytes)
            .bind(at)
            .execute(c)
            .await
            .map(drop)?);
    }
    on!(conn, |c| sqlx::query(KEEP_SOURCE)
        .bind(url)
        .bind(gave.as_ref().ok().map(|fitted| &fitted.hash))
        .bind(gave.as_ref().err())
        .bind(at)
        .execute(c)
        .await
        .map(drop)
        .map_err(Error::from)?);
    Ok(())
}
