//! What was kept once and is told again, to a server that lacks it.
//!
//! Reads `subscriber`.

use super::{Column, Rows, arrived, asked, run, verdicts};
use crate::db::{Conn, Result};
use crate::delivery::ledger::{Me, Release, Remembered};

// Where the server did not even know of the plan, it was made anew, and may have given a number to somebody else: nothing is
// told of them. Whoever has changed their address in that moment is counted among those.

// What the server does not know of is lacking, too. That a mail arrived may be known by a late answer, and the attempt not.
const LACKING: &str = "
SELECT told.delivery
FROM told
LEFT JOIN delivery ON delivery.id = told.delivery
WHERE delivery.id IS NULL
   OR (delivery.accepted_at IS NULL AND (delivery.tries < told.number OR told.accepted_at IS NOT NULL))
   OR NOT EXISTS (SELECT 1 FROM attempt
                  WHERE attempt.delivery = told.delivery AND attempt.number = told.number)";

// Whoever else holds a claim is left with it. What the server ended without knowing of the mail may have arrived all the
// same, and so may what somebody put in doubt.
const MOVE_AGAIN: &str = "
UPDATE delivery
SET state = CASE WHEN delivery.accepted_at IS NOT NULL THEN 'accepted'
                 WHEN delivery.state NOT IN ('expired', 'withdrawn') OR told.state = 'accepted' THEN told.state
                 WHEN told.doubtful = 1 THEN 'uncertain'
                 ELSE delivery.state END,
    next_at = told.next_at, doubtful = told.doubtful,
    accepted_at = COALESCE(delivery.accepted_at, told.accepted_at),
    tries = CASE WHEN delivery.tries < told.number THEN told.number ELSE delivery.tries END,
    daemon = NULL, epoch = NULL
FROM told
WHERE delivery.id = told.delivery
  AND (delivery.tries < told.number OR (told.accepted_at IS NOT NULL AND delivery.accepted_at IS NULL))
  AND ((delivery.state = 'claimed' AND delivery.daemon = told.daemon AND delivery.epoch = told.epoch)
       OR (delivery.accepted_at IS NULL
           AND delivery.state IN ('planned', 'deferred', 'uncertain', 'expired', 'withdrawn')))
  AND NOT EXISTS (SELECT 1 FROM subscriber
                  WHERE subscriber.id = delivery.subscriber AND subscriber.address <> told.address)
RETURNING delivery.id";

// As a late answer: who holds it finds the note before anything more is released.
const NOTE_AGAIN: &str = "
UPDATE delivery
SET accepted_at = told.accepted_at
FROM told
WHERE delivery.id = told.delivery AND delivery.state = 'claimed' AND delivery.accepted_at IS NULL
  AND told.accepted_at IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM subscriber
                  WHERE subscriber.id = delivery.subscriber AND subscriber.address <> told.address)
RETURNING delivery.id";

// Of somebody who was erased meanwhile no words are kept. What another claim may yet release under this number is left
// alone; of what is known to have arrived it releases nothing.
const ATTEMPT_AGAIN: &str = "
INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at, date_offset,
                     consent, outcome, code, enhanced, text, class)
SELECT told.delivery, told.number, told.daemon, told.epoch, told.at, told.relay,
       CASE WHEN subscriber.id IS NULL THEN '' ELSE told.address END, told.revision, told.language,
       told.date_at, told.date_offset, CASE WHEN subscriber.id IS NULL THEN NULL ELSE told.consent END,
       told.outcome, told.code, told.enhanced,
       CASE WHEN subscriber.id IS NULL THEN NULL ELSE told.text END, told.class
FROM told
JOIN delivery ON delivery.id = told.delivery
LEFT JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE (delivery.tries >= told.number OR delivery.accepted_at IS NOT NULL)
  AND (subscriber.id IS NULL OR subscriber.address = told.address)
ON CONFLICT (delivery, number) DO UPDATE
SET outcome = CASE WHEN attempt.outcome = 'uncertain' AND excluded.outcome = 'accepted' THEN 'uncertain'
                   ELSE excluded.outcome END,
    code = excluded.code, enhanced = excluded.enhanced, class = excluded.class, text = excluded.text
WHERE (attempt.outcome IS NULL OR attempt.outcome = 'uncertain') AND attempt.daemon = excluded.daemon AND attempt.epoch = excluded.epoch";

const CLAIM_AGAIN: &str = "
UPDATE delivery
SET state = 'claimed', daemon = $1, epoch = $2
FROM asked
WHERE delivery.id = asked.delivery AND delivery.tries = asked.number - 1 AND delivery.accepted_at IS NULL
  AND delivery.state IN ('planned', 'deferred', 'expired', 'withdrawn')
  AND NOT EXISTS (SELECT 1 FROM subscriber
                  WHERE subscriber.id = delivery.subscriber AND subscriber.address <> asked.address)";

// Its dot may be on the wire, whoever may want it no more.
const OPEN_AGAIN: &str = "
INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at, date_offset,
                     consent)
SELECT asked.delivery, asked.number, $1, $2, asked.at, asked.relay, asked.address, asked.revision, asked.language,
       asked.date_at, asked.date_offset, asked.consent
FROM asked
JOIN delivery ON delivery.id = asked.delivery
WHERE delivery.state = 'claimed' AND delivery.daemon = $1 AND delivery.epoch = $2
  AND delivery.tries = asked.number - 1
  AND NOT EXISTS (SELECT 1 FROM subscriber
                  WHERE subscriber.id = delivery.subscriber AND subscriber.address <> asked.address)
ON CONFLICT (delivery, number) DO NOTHING";

fn remembered(rows: &[Remembered]) -> Rows<'_> {
    let numbers =
        |name, of: fn(&Remembered) -> Option<i64>| Column::Numbers(name, rows.iter().map(of).collect());
    let mut columns = asked(&rows.iter().map(|row| &row.release)).0;
    columns.extend(verdicts(&rows.iter().map(|row| &row.verdict)));
    columns.extend([
        numbers("daemon", |row| Some(row.life.daemon)),
        numbers("epoch", |row| Some(row.life.epoch)),
        Column::Texts("state", rows.iter().map(|row| Some(row.to.state.as_str())).collect()),
        numbers("next_at", |row| Some(row.to.next_at)),
        numbers("doubtful", |row| Some(i64::from(row.to.doubtful))),
        numbers("accepted_at", |row| row.to.accepted_at),
    ]);
    Rows(columns)
}

/// Nobody's: what is told again says itself whose it was.
const NOBODY: Me = Me { daemon: 0, epoch: 0 };

/// How many of these the server lacks.
pub(in crate::delivery::protocol::release) async fn lacking(
    conn: &mut Conn,
    rows: &[Remembered],
) -> Result<usize> {
    Ok(run(conn, ("told", remembered(rows), rows.len()), LACKING, NOBODY, 0).await?.1.len())
}

/// Tells again what attempts came to, and moves their deliveries, each of which is among them once; returns how many the
/// server lacked.
pub(in crate::delivery::protocol::release) async fn tell_again(
    conn: &mut Conn,
    rows: &[Remembered],
) -> Result<u64> {
    let list = || ("told", remembered(rows), rows.len());
    let (_, moved) = run(conn, list(), MOVE_AGAIN, NOBODY, 0).await?;
    let (_, noted) = run(conn, list(), NOTE_AGAIN, NOBODY, 0).await?;
    run(conn, list(), ATTEMPT_AGAIN, NOBODY, 0).await?;
    arrived(conn, &moved).await?;
    Ok((moved.len() + noted.len()) as u64)
}

/// Opens attempts again that this life released, and claims their deliveries again; returns how many the server lacked.
pub(in crate::delivery::protocol::release) async fn open_again(
    conn: &mut Conn,
    me: Me,
    rows: &[Release],
) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let list = || ("asked", asked(&rows.iter()), rows.len());
    run(conn, list(), CLAIM_AGAIN, me, 0).await?;
    Ok(run(conn, list(), OPEN_AGAIN, me, 0).await?.0)
}
