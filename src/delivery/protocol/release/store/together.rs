//! A whole release in one turn: outcomes, moves, open attempts and, on SQLite, a claim, as a transaction of their own.
//!
//! What it cannot do (what goes back, what was refused, what may have been done already) the release does step by step.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _};

use super::{BEFORE_LISTS, FINISH, FINISH_POSTGRES, MOVE, RELEASE, STEP, asked, in_life, moved, told};
use crate::db::{Conn, Result, Side};
use crate::delivery::ledger::Me;
use crate::delivery::protocol::claim::{CLAIM_FRESH_SQLITE, claimed_of};
use crate::delivery::protocol::release::Group;
use crate::delivery::store::json;

// What a life that is over hears is told together with what comes of it: between the two a second copy would leave.
const ALIVE: &str = "
  AND EXISTS (SELECT 1 FROM daemon WHERE daemon.id = $1 AND daemon.epoch = $2 AND daemon.gone = 0)";

/// A whole release in one turn of SQLite's worker thread, BEGIN and COMMIT included: there the turns cost more than the
/// statements, and so does each row that comes back. The lists have room for so many rows; with `due` it claims, too.
fn together_sqlite(me: Me, rows: usize, due: bool) -> Arc<str> {
    type Texts = BTreeMap<(i64, i64, usize, bool), Arc<str>>;
    // A life has a few, which stay prepared.
    static TEXTS: Mutex<Texts> = Mutex::new(BTreeMap::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if texts.len() > 64 {
        texts.clear();
    }
    let text = texts.entry((me.daemon, me.epoch, rows, due)).or_insert_with(|| {
        let told = told(&[]).as_values(rows);
        let moved = moved(&[]).as_values(rows);
        let asked = asked(&[].iter()).as_values(rows);
        let release = RELEASE.trim_end_matches("\nRETURNING delivery");
        let claim = if due { format!("{CLAIM_FRESH_SQLITE}{ALIVE};\n") } else { String::new() };
        let all = format!(
            "BEGIN IMMEDIATE;\nWITH told {told}{FINISH}{ALIVE};\nWITH moved {moved}{MOVE};\nWITH asked {asked}{release};\n{claim}COMMIT"
        );
        in_life(&all, me).into()
    });
    text.clone()
}

/// Which statement of [`together_sqlite`] is which.
const AT_FINISH: usize = 1;
const AT_MOVES: usize = 2;
const AT_RELEASES: usize = 3;
const AT_CLAIMS: usize = 4;

pub(super) const OPENED_SQLITE: &str = "
SELECT delivery
FROM attempt
WHERE delivery IN (SELECT value FROM json_each($1)) AND outcome IS NULL AND daemon = $2 AND epoch = $3";

// The same as one statement, which is a transaction of its own: one answer from the server instead of six. The fence's
// lock is taken before anything else is looked at, because everything else hangs on `me`: FOR SHARE is held against the
// takeover's FOR UPDATE.
static TOGETHER_POSTGRES: LazyLock<String> = LazyLock::new(|| {
    let (told, moved, asked) = (told(&[]), moved(&[]), asked(&[].iter()));
    let at_told = BEFORE_LISTS + 1;
    let at_moved = at_told + told.width();
    let at_asked = at_moved + moved.width();
    let lists = [("told", told, at_told), ("moved", moved, at_moved), ("asked", asked, at_asked)]
        .map(|(name, list, first)| format!("{name} {}", list.as_arrays(first)))
        .join(",\n");
    let finish = FINISH_POSTGRES.as_str();
    let release = RELEASE.replace("\nRETURNING", "\n  AND EXISTS (SELECT 1 FROM me)\nRETURNING");
    format!(
        "WITH me AS MATERIALIZED (\n\
         SELECT 1 FROM daemon WHERE id = $1 AND epoch = $2 AND gone = 0 FOR SHARE\n),\n{lists},\n\
         finish AS ({finish}\n  AND EXISTS (SELECT 1 FROM me)\nRETURNING attempt.delivery),\n\
         moves AS ({MOVE}\n  AND EXISTS (SELECT 1 FROM me)\nRETURNING delivery.id),\n\
         release AS ({release})\n\
         SELECT CAST(0 AS BIGINT), COUNT(*) FROM finish\n\
         UNION ALL SELECT CAST(1 AS BIGINT), COUNT(*) FROM moves\n\
         UNION ALL SELECT CAST(2 AS BIGINT), delivery FROM release"
    )
});

/// What [`together`] found.
#[derive(Debug, Default)]
pub(in crate::delivery::protocol::release) struct Together {
    /// How many attempts were ended.
    pub(in crate::delivery::protocol::release) finished: u64,
    /// How many deliveries were moved: fewer than told where this life is over, or somebody took a claim over.
    pub(in crate::delivery::protocol::release) moved: u64,
    /// The deliveries whose attempts are open now.
    pub(in crate::delivery::protocol::release) released: Vec<i64>,
    /// The deliveries that were claimed.
    pub(in crate::delivery::protocol::release) claimed: Vec<i64>,
}

/// Keeps what became of open attempts and opens those that a group asks for. A life that is over holds no claims, and nothing is kept of it
/// here. The connection must not be in a transaction.
pub(in crate::delivery::protocol::release) async fn together(
    conn: &mut Conn,
    me: Me,
    group: &Group,
    civil: i64,
) -> Result<Together> {
    let Group { finished, asked: wanted, due, .. } = group;
    let (told, moved, asked) = (told(finished), moved(finished), asked(&wanted.iter()));
    match conn.side() {
        Side::Sqlite(c) => {
            let rows = finished.len().max(wanted.len()).max(1).next_multiple_of(STEP);
            let query = told
                .bind_values(sqlx::query(AssertSqlSafe(together_sqlite(me, rows, !due.is_empty()))), rows);
            let mut query = asked.bind_values(moved.bind_values(query, rows), rows).bind(civil);
            if !due.is_empty() {
                query = query.bind(json(due));
            }
            let counts: Result<Vec<u64>> = async {
                let results = sqlx::Executor::fetch_many(&mut *c, query);
                let done = results.try_filter_map(|result| async move {
                    Ok(result.left().map(|done| done.rows_affected()))
                });
                Ok(done.try_collect().await?)
            }
            .await;
            let counts = match counts {
                Ok(counts) => counts,
                Err(error) => {
                    // Whatever failed may have left the transaction open; the connection is the only writer.
                    drop(sqlx::query("ROLLBACK").execute(c).await);
                    return Err(error);
                }
            };
            let all = || wanted.iter().map(|release| release.delivery.0);
            let released = if counts.get(AT_RELEASES) == Some(&(wanted.len() as u64)) {
                all().collect()
            } else {
                let ids = json(&all().collect::<Vec<_>>());
                let opened = sqlx::query_scalar(OPENED_SQLITE).bind(ids).bind(me.daemon).bind(me.epoch);
                opened.fetch_all(&mut *c).await?
            };
            let count = |at: usize| counts.get(at).copied().unwrap_or(0);
            // Where nothing is due, that is COMMIT's count.
            let claimed = if due.is_empty() || count(AT_CLAIMS) == due.len() as u64 {
                due.iter().map(|looked| looked.0).collect()
            } else {
                claimed_of(conn, me, due).await?
            };
            Ok(Together { finished: count(AT_FINISH), moved: count(AT_MOVES), released, claimed })
        }
        Side::Postgres(c) => {
            let query = sqlx::query(AssertSqlSafe(TOGETHER_POSTGRES.as_str()));
            let query = told.bind_arrays(query.bind(me.daemon).bind(me.epoch).bind(civil));
            let mut found = Together::default();
            for row in asked.bind_arrays(moved.bind_arrays(query)).fetch_all(c).await? {
                let (what, value): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
                match what {
                    0 => found.finished = value.unsigned_abs(),
                    1 => found.moved = value.unsigned_abs(),
                    _ => found.released.push(value),
                }
            }
            Ok(found)
        }
    }
}
