//! Pieces: what changes any number of deliveries does so in short transactions, each of which is kept for itself.
//!
//! A release waits for the writer in front of somebody's final dot, so a piece is looked for beside it. Whoever is
//! interrupted between two pieces is run again: what was done is not found any more.

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::{json, listed};
use crate::db::{Conn, Engine, Result, on};

/// The most deliveries of one piece.
const PIECE: i64 = 5_000;

/// Behind which delivery a piece begins, in the order of the index that it is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub(super) i64, pub(super) i64);

impl Place {
    /// Before all of them.
    pub const FIRST: Self = Self(i64::MIN, i64::MIN);
}

/// Some deliveries of an edition.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// Which, in order.
    pub ids: Vec<i64>,
    /// Where the next piece begins; `None` behind the last.
    pub next: Option<Place>,
}

/// How far somebody came through what nobody holds of an edition: what was never tried, and then what is to be tried
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Walk {
    fresh: bool,
    behind: Place,
}

impl Walk {
    pub(in crate::delivery) const START: Self = Self { fresh: true, behind: Place::FIRST };

    /// Where it goes on; `None` behind the last piece.
    fn on(self, next: Option<Place>) -> Option<Self> {
        match next {
            Some(behind) => Some(Self { behind, ..self }),
            None => self.fresh.then_some(Self { fresh: false, behind: Place::FIRST }),
        }
    }
}

const WAITING: &str = "
SELECT next_at, id
FROM delivery
WHERE edition = $1 AND state = 'planned' AND deadline <= $2 AND (next_at, id) > ($3, $4)
ORDER BY next_at, id
LIMIT $5";

static WAITING_AGAIN: LazyLock<String> = LazyLock::new(|| WAITING.replace("'planned'", "'deferred'"));

/// The next piece of what nobody holds of an edition and is too late at this moment, and where the walk goes on.
pub(in crate::delivery) async fn waiting(
    conn: &mut Conn,
    edition: i64,
    late: i64,
    walk: Walk,
) -> Result<(Vec<i64>, Option<Walk>)> {
    let sql = if walk.fresh { WAITING } else { &WAITING_AGAIN };
    let piece = find(conn, sql, edition, late, walk.behind).await?;
    Ok((piece.ids, walk.on(piece.next)))
}

/// A piece by a statement about edition $1, a bound $2, a place ($3, $4) and a limit $5, which gives places.
pub(super) async fn find(
    conn: &mut Conn,
    sql: &'static str,
    edition: i64,
    bound: i64,
    behind: Place,
) -> Result<Piece> {
    let query = AssertSqlSafe(sql);
    let rows: Vec<(i64, i64)> = on!(conn, |c| sqlx::query_as(query)
        .bind(edition)
        .bind(bound)
        .bind(behind.0)
        .bind(behind.1)
        .bind(PIECE)
        .fetch_all(c)
        .await?);
    let full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= PIECE);
    let next = rows.last().filter(|_| full).map(|(key, id)| Place(*key, *id));
    let mut ids: Vec<i64> = rows.into_iter().map(|(_, id)| id).collect();
    ids.sort_unstable();
    Ok(Piece { ids, next })
}

// The sum keeps PostgreSQL's planner off the index that gives this order: all of the ledger would be read by it.
const HOLD: &str = "
SELECT id
FROM delivery
WHERE id = LISTED
ORDER BY id + 0
FOR UPDATE";

/// Holds these deliveries still until the transaction ends, in order, so that nobody waits for each other; returns which.
/// `patient`: what somebody else holds is waited for, and passed over otherwise. On SQLite nobody else writes.
pub(in crate::delivery) async fn hold(conn: &mut Conn, ids: Vec<i64>, patient: bool) -> Result<Vec<i64>> {
    if conn.engine() == Engine::Sqlite {
        return Ok(ids);
    }
    let passing = format!("{HOLD} SKIP LOCKED");
    let (sql, list) = (listed(conn, if patient { HOLD } else { &passing }), json(&ids));
    Ok(on!(conn, |c| sqlx::query_scalar(sql).bind(&list).fetch_all(c).await?))
}

/// What looks for pieces, and what its plan must find its rows by.
#[cfg(test)]
pub(super) fn plans() -> Vec<(&'static str, &'static str)> {
    vec![(WAITING, "delivery_planned"), (WAITING_AGAIN.as_str(), "delivery_deferred")]
}
