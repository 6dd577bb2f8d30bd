//! The statements of a release: outcomes, moves, open attempts; all of them in one turn (`together`), what goes back
//! (`back`), and what a server lacks that was kept once (`again`).
//!
//! Reads `edition`, `subscription`, `subscriber` and `suppression`. Each is part of a short transaction of the release, or
//! is one of its own; none is ever open across the network.

mod again;
mod back;
mod rows;
mod together;

use std::sync::LazyLock;

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::{AssertSqlSafe, Either};

pub(super) use self::again::{lacking, open_again, tell_again};
pub(super) use self::back::{give_back, put_off, unopen};
use self::rows::{Column, Rows};
pub(super) use self::together::together;
use crate::db::{Conn, Result, Side, on};
use crate::delivery::classify::Class;
use crate::delivery::ledger::{Me, Move, Release, Verdict};
use crate::delivery::store::{json, pick};

// Each statement joins a list, which is written in front of it: `told`, `moved`, `asked` or `refused`. $1 and $2 are who
// we are and $3 is the civil time; the lists' own parameters come behind.

// One that a takeover made uncertain meanwhile is told as well: a late answer. A yes leaves the doubt standing, for the
// delivery may be on its way again: `ARRIVED` takes it away where it is not.
const FINISH: &str = "
UPDATE attempt
SET outcome = CASE WHEN attempt.outcome = 'uncertain' AND told.outcome = 'accepted' THEN 'uncertain'
                   ELSE told.outcome END,
    code = told.code, enhanced = told.enhanced, class = told.class,
    -- Of somebody who was erased meanwhile no words are kept: they may repeat the address.
    text = CASE WHEN attempt.address = '' THEN NULL ELSE told.text END
FROM told
WHERE attempt.delivery = told.delivery AND attempt.number = told.number
  AND (attempt.outcome IS NULL OR attempt.outcome = 'uncertain')";

// PostgreSQL plans this once, while there is hardly an attempt, and would go through a whole index from then on, for each
// commit of a first edition: that the list itself limits the keys leaves it no choice. `told` is the first of the lists.
static FINISH_POSTGRES: LazyLock<String> =
    LazyLock::new(|| format!("{FINISH}\n  AND attempt.delivery = ANY (${})", BEFORE_LISTS + 1));

// COALESCE keeps SQLite's planner off the index of claims: it would read all of it for each move. What was moved by this
// attempt is moved by it once: a statement whose answer was given up may still run when the next attempt is under way.
const MOVE: &str = "
UPDATE delivery
-- A late answer may have said of an earlier attempt, once in doubt, that it arrived: then that is how it ends.
SET state = CASE WHEN delivery.accepted_at IS NULL THEN moved.state ELSE 'accepted' END,
    next_at = moved.next_at, tries = moved.number, doubtful = moved.doubtful,
    accepted_at = COALESCE(delivery.accepted_at, moved.accepted_at),
    daemon = NULL, epoch = NULL
FROM moved
WHERE delivery.id = moved.delivery AND COALESCE(delivery.state, '') = 'claimed'
  AND delivery.daemon = $1 AND delivery.epoch = $2 AND delivery.tries < moved.number";

// Of somebody who was erased meanwhile neither address nor words are kept.
const REFUSE: &str = "
INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at, date_offset,
                     consent, outcome, code, enhanced, text, class)
SELECT refused.delivery, refused.number, $1, $2, refused.at, refused.relay,
       CASE WHEN subscriber.id IS NULL THEN '' ELSE refused.address END, refused.revision, refused.language,
       refused.date_at, refused.date_offset, CASE WHEN subscriber.id IS NULL THEN NULL ELSE refused.consent END,
       refused.outcome, refused.code, refused.enhanced,
       CASE WHEN subscriber.id IS NULL THEN NULL ELSE refused.text END, refused.class
FROM refused
JOIN delivery ON delivery.id = refused.delivery
LEFT JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE delivery.state = 'claimed' AND delivery.daemon = $1 AND delivery.epoch = $2
ON CONFLICT (delivery, number) DO NOTHING";

// CROSS JOIN is SQLite's word for "in this order": from what is asked for, by keys.
const RELEASE: &str = "
INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at, date_offset,
                     consent)
SELECT asked.delivery, asked.number, $1, $2, asked.at, asked.relay, asked.address, asked.revision, asked.language,
       asked.date_at, asked.date_offset, asked.consent
FROM asked
CROSS JOIN delivery
CROSS JOIN edition
CROSS JOIN subscription
CROSS JOIN subscriber
WHERE delivery.id = asked.delivery AND edition.id = delivery.edition
  AND subscription.id = delivery.subscription AND subscriber.id = delivery.subscriber
  AND COALESCE(delivery.state, '') = 'claimed' AND delivery.daemon = $1 AND delivery.epoch = $2
  AND edition.state = 'sending' AND (delivery.doubtful = 1 OR edition.revision = asked.revision)
  AND delivery.deadline > $3 AND delivery.accepted_at IS NULL
  AND subscription.status = 'active' AND subscriber.address = asked.address
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
RETURNING delivery";

/// What an attempt came to, and where its delivery goes.
pub(super) type Told = (Verdict, Move);

fn told(rows: &[Told]) -> Rows<'_> {
    let mut columns = vec![
        Column::Numbers("delivery", rows.iter().map(|(_, to)| Some(to.delivery.0)).collect()),
        Column::Numbers("number", rows.iter().map(|(_, to)| Some(to.number)).collect()),
    ];
    columns.extend(verdicts(&rows.iter().map(|(verdict, _)| verdict)));
    Rows(columns)
}

fn verdicts<'a>(rows: &(impl Iterator<Item = &'a Verdict> + Clone)) -> [Column<'a>; 5] {
    let texts = |name, of: fn(&Verdict) -> Option<&str>| Column::Texts(name, rows.clone().map(of).collect());
    [
        texts("outcome", |verdict| Some(verdict.outcome.as_str())),
        Column::Numbers("code", rows.clone().map(|verdict| verdict.code).collect()),
        texts("enhanced", |verdict| verdict.enhanced.as_deref()),
        texts("text", |verdict| verdict.text.as_deref()),
        texts("class", |verdict| verdict.class.map(Class::as_str)),
    ]
}

fn moved(rows: &[Told]) -> Rows<'_> {
    let numbers = |name, of: fn(&Move) -> Option<i64>| {
        Column::Numbers(name, rows.iter().map(|(_, to)| of(to)).collect())
    };
    Rows(vec![
        numbers("delivery", |to| Some(to.delivery.0)),
        numbers("number", |to| Some(to.number)),
        Column::Texts("state", rows.iter().map(|(_, to)| Some(to.state.as_str())).collect()),
        numbers("next_at", |to| Some(to.next_at)),
        numbers("doubtful", |to| Some(i64::from(to.doubtful))),
        numbers("accepted_at", |to| to.accepted_at),
    ])
}

fn asked<'a>(rows: &(impl Iterator<Item = &'a Release> + Clone)) -> Rows<'a> {
    let numbers = |name, of: fn(&Release) -> i64| {
        Column::Numbers(name, rows.clone().map(|row| Some(of(row))).collect())
    };
    let texts = |name, of: fn(&Release) -> Option<&str>| Column::Texts(name, rows.clone().map(of).collect());
    Rows(vec![
        numbers("delivery", |row| row.delivery.0),
        numbers("number", |row| row.number),
        numbers("at", |row| row.at),
        texts("relay", |row| Some(&row.relay)),
        texts("address", |row| Some(&row.address)),
        numbers("revision", |row| row.revision),
        texts("language", |row| Some(&row.language)),
        numbers("date_at", |row| row.date_at),
        numbers("date_offset", |row| row.date_offset),
        texts("consent", |row| row.consent.as_deref()),
    ])
}

fn refused(rows: &[(Release, Verdict)]) -> Rows<'_> {
    let mut columns = asked(&rows.iter().map(|(release, _)| release)).0;
    columns.extend(verdicts(&rows.iter().map(|(_, verdict)| verdict)));
    Rows(columns)
}

/// On SQLite, texts have room for a multiple of this: one for each number of rows would be too many to keep prepared.
const STEP: usize = 4;

/// PostgreSQL's parameters before a list's own.
const BEFORE_LISTS: usize = 3;

/// A statement for SQLite, in one life. Its `$3`, the civil time or a claim's list, is bound where it stands.
fn in_life(statement: &str, me: Me) -> String {
    let (daemon, epoch) = (me.daemon.to_string(), me.epoch.to_string());
    statement.replace("$1", &daemon).replace("$2", &epoch).replace("$3", "?")
}

/// Runs one statement over one list of so many rows and gives back what it returns.
async fn run(
    conn: &mut Conn,
    (name, list, rows): (&str, Rows<'_>, usize),
    statement: &str,
    me: Me,
    civil: i64,
) -> Result<(u64, Vec<i64>)> {
    match conn.side() {
        Side::Sqlite(c) => {
            let sql = format!("WITH {name} {}{}", list.as_values(rows), in_life(statement, me));
            let query = list.bind_values(sqlx::query(AssertSqlSafe(sql)), rows).persistent(false);
            let query = if statement.contains("$3") { query.bind(civil) } else { query };
            gather(sqlx::Executor::fetch_many(c, query)).await
        }
        Side::Postgres(c) => {
            // A parameter that a statement has no use for still wants a type.
            let sql = format!(
                "WITH me AS (SELECT CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS BIGINT)), {name} {}{statement}",
                list.as_arrays(BEFORE_LISTS + 1)
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(me.daemon).bind(me.epoch).bind(civil);
            gather(sqlx::Executor::fetch_many(c, list.bind_arrays(query))).await
        }
    }
}

/// How many rows were touched, and the ids that came back.
async fn gather<R: sqlx::Row, D: Touched>(
    mut results: BoxStream<'_, sqlx::Result<Either<D, R>>>,
) -> Result<(u64, Vec<i64>)>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let (mut count, mut returned) = (0, Vec::new());
    while let Some(result) = results.try_next().await? {
        match result {
            Either::Left(done) => count += done.rows(),
            Either::Right(row) => returned.push(row.try_get(0)?),
        }
    }
    Ok((count, returned))
}

/// What both drivers say of a statement that is done.
trait Touched {
    fn rows(&self) -> u64;
}

impl Touched for sqlx::sqlite::SqliteQueryResult {
    fn rows(&self) -> u64 {
        self.rows_affected()
    }
}

impl Touched for sqlx::postgres::PgQueryResult {
    fn rows(&self) -> u64 {
        self.rows_affected()
    }
}

/// Records what open attempts came to.
pub(super) async fn finish(conn: &mut Conn, me: Me, rows: &[Told]) -> Result<()> {
    let statement = pick(conn, FINISH, &FINISH_POSTGRES);
    run(conn, ("told", told(rows), rows.len()), statement, me, 0).await.map(drop)
}

/// Records attempts that were refused before their body: they were never open.
pub(super) async fn refuse(conn: &mut Conn, me: Me, rows: &[(Release, Verdict)]) -> Result<()> {
    run(conn, ("refused", refused(rows), rows.len()), REFUSE, me, 0).await.map(drop)
}

// A claimed one stays its owner's, who finds the note at its release, or when it moves it or gives it back.
const LATE: &str = "
UPDATE delivery
SET state = CASE WHEN state = 'claimed' THEN 'claimed' ELSE 'accepted' END,
    accepted_at = $2, tries = CASE WHEN tries < $3 THEN $3 ELSE tries END
WHERE id = $1 AND state IN ('deferred', 'planned', 'uncertain', 'claimed') AND accepted_at IS NULL";

// The first that is known to have arrived, of a delivery that ended by it: no other attempt of it was accepted.
const ARRIVED: &str = "
UPDATE attempt
SET outcome = 'accepted'
WHERE delivery IN (SELECT id FROM told) AND outcome = 'uncertain' AND code BETWEEN 200 AND 299
  AND EXISTS (SELECT 1 FROM delivery WHERE delivery.id = attempt.delivery AND delivery.state = 'accepted')
  AND NOT EXISTS (SELECT 1 FROM attempt AS other
                  WHERE other.delivery = attempt.delivery
                    AND (other.outcome = 'accepted'
                         OR (other.outcome = 'uncertain' AND other.code BETWEEN 200 AND 299
                             AND other.number < attempt.number)))";

static ARRIVED_SQLITE: LazyLock<String> =
    LazyLock::new(|| format!("WITH told AS (SELECT value AS id FROM json_each($1)){ARRIVED}"));
static ARRIVED_POSTGRES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH told AS (SELECT CAST(value AS BIGINT) AS id FROM jsonb_array_elements_text(CAST($1 AS JSONB))){ARRIVED}"
    )
});

/// Of these deliveries, those that ended by a late answer: the attempt that it belongs to was accepted, as it turned
/// out. Where another one was accepted too, the doubt stays, for the reader has two copies.
pub(in crate::delivery::protocol) async fn arrived(conn: &mut Conn, deliveries: &[i64]) -> Result<()> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let sql = AssertSqlSafe(pick(conn, &ARRIVED_SQLITE, &ARRIVED_POSTGRES));
    let list = json(deliveries);
    on!(conn, |c| sqlx::query(sql).bind(&list).execute(c).await.map(drop)?);
    Ok(())
}

/// Moves the deliveries of told attempts. An acceptance that comes after a takeover still ends its delivery, when
/// nobody holds it again: no resend. Somebody who does is told.
pub(super) async fn move_on(conn: &mut Conn, me: Me, rows: &[Told]) -> Result<()> {
    let (count, _) = run(conn, ("moved", moved(rows), rows.len()), MOVE, me, 0).await?;
    if count < rows.len() as u64 {
        // The statement leaves alone what moved already.
        for (_, late) in rows {
            let Some(accepted_at) = late.accepted_at else { continue };
            on!(conn, |c| sqlx::query(LATE)
                .bind(late.delivery.0)
                .bind(accepted_at)
                .bind(late.number)
                .execute(c)
                .await
                .map(drop)?);
        }
    }
    let once_in_doubt = |to: &Move| to.doubtful || count < rows.len() as u64;
    let told: Vec<i64> =
        rows.iter().filter(|(_, to)| once_in_doubt(to)).map(|(_, to)| to.delivery.0).collect();
    arrived(conn, &told).await
}

/// Opens an attempt for each delivery that may still leave; returns those. The others were held, withdrawn, expired,
/// corrected or moved meanwhile.
pub(super) async fn release(conn: &mut Conn, me: Me, rows: &[Release], civil: i64) -> Result<Vec<i64>> {
    let list = ("asked", asked(&rows.iter()), rows.len());
    Ok(run(conn, list, RELEASE, me, civil).await?.1)
}

/// Each statement of a release, and what its plan must find its rows by.
#[cfg(test)]
pub(in crate::delivery::protocol) fn plans() -> Vec<(String, &'static str)> {
    use self::back::{GIVE_BACK_SQLITE, PUT_OFF_SQLITE, UNOPEN_SQLITE};
    use self::together::OPENED_SQLITE;

    let (told, moved) = (told(&[]).as_values(STEP), moved(&[]).as_values(STEP));
    let wanted = asked(&[].iter()).as_values(STEP);
    let release = in_life(&format!("WITH asked {wanted}{RELEASE}"), Me { daemon: 1, epoch: 1 });
    vec![
        (format!("WITH told {told}{FINISH}"), "SEARCH attempt USING PRIMARY KEY"),
        (format!("WITH moved {moved}{MOVE}"), "SEARCH delivery USING INTEGER PRIMARY KEY"),
        (release.clone(), "SEARCH delivery USING INTEGER PRIMARY KEY"),
        (release, "SEARCH subscriber USING INTEGER PRIMARY KEY"),
        (OPENED_SQLITE.to_owned(), "SEARCH attempt USING PRIMARY KEY"),
        (GIVE_BACK_SQLITE.clone(), "SEARCH delivery USING"),
        (PUT_OFF_SQLITE.to_owned(), "SEARCH delivery USING INTEGER PRIMARY KEY"),
        (UNOPEN_SQLITE.to_owned(), "SEARCH attempt USING PRIMARY KEY"),
        (ARRIVED_SQLITE.to_owned(), "SEARCH attempt USING PRIMARY KEY"),
    ]
}
