//! The table `connection`: how many sessions all daemons together may have with a provider, each with its number.

use crate::db::{Conn, Result, on};
use crate::delivery::ledger::Me;

const TAKEN: &str = "
SELECT connection.number, connection.daemon, connection.epoch
FROM connection
JOIN daemon ON daemon.id = connection.daemon AND daemon.epoch = connection.epoch AND daemon.gone = 0
WHERE connection.relay = $1 AND connection.provider = $2";

const OPEN: &str = "
INSERT INTO connection (relay, provider, number, daemon, epoch)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (relay, provider, number) DO UPDATE
SET daemon = excluded.daemon, epoch = excluded.epoch
WHERE NOT EXISTS (SELECT 1 FROM daemon
                  WHERE daemon.id = connection.daemon AND daemon.epoch = connection.epoch AND daemon.gone = 0)
   OR (connection.daemon = excluded.daemon AND connection.epoch = excluded.epoch)
RETURNING number";

/// Takes one of so many connections; `None` when all are taken. Of our own rows only those are taken that are named as
/// `held`: another is left from a connection that could not be given back.
pub(in crate::delivery) async fn connect(
    conn: &mut Conn,
    relay: &str,
    provider: &str,
    limit: u32,
    me: Me,
    held: &[i64],
) -> Result<Option<i64>> {
    let rows: Vec<(i64, i64, i64)> =
        on!(conn, |c| sqlx::query_as(TAKEN).bind(relay).bind(provider).fetch_all(c).await?);
    let ours = |daemon, epoch| (daemon, epoch) == (me.daemon, me.epoch);
    let taken = |number: i64| {
        held.contains(&number)
            || rows.iter().any(|&(other, daemon, epoch)| other == number && !ours(daemon, epoch))
    };
    for number in (1..=i64::from(limit)).filter(|number| !taken(*number)) {
        let ours: Option<i64> = on!(conn, |c| sqlx::query_scalar(OPEN)
            .bind(relay)
            .bind(provider)
            .bind(number)
            .bind(me.daemon)
            .bind(me.epoch)
            .fetch_optional(c)
            .await?);
        // Somebody else may have taken it since we looked.
        if ours.is_some() {
            return Ok(ours);
        }
    }
    Ok(None)
}

const CLOSE: &str = "
DELETE FROM connection
WHERE relay = $1 AND provider = $2 AND number = $3 AND daemon = $4 AND epoch = $5";

/// Gives a connection back.
pub(in crate::delivery) async fn disconnect(
    conn: &mut Conn,
    relay: &str,
    provider: &str,
    number: i64,
    me: Me,
) -> Result<()> {
    on!(conn, |c| sqlx::query(CLOSE)
        .bind(relay)
        .bind(provider)
        .bind(number)
        .bind(me.daemon)
        .bind(me.epoch)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const OURS: &str = "
SELECT relay, provider, number
FROM connection
WHERE daemon = $1 AND epoch = $2";

/// A connection of ours in the ledger: relay, provider, number.
pub(in crate::delivery) type Numbered = (String, String, i64);

/// Every connection that the ledger says is ours.
pub(in crate::delivery) async fn ours(conn: &mut Conn, me: Me) -> Result<Vec<Numbered>> {
    Ok(on!(conn, |c| sqlx::query_as(OURS).bind(me.daemon).bind(me.epoch).fetch_all(c).await?))
}

const USED: &str = "
SELECT connection.relay, connection.provider, COUNT(*)
FROM connection
JOIN daemon ON daemon.id = connection.daemon AND daemon.epoch = connection.epoch AND daemon.gone = 0
GROUP BY connection.relay, connection.provider";

/// How many connections are open to whom, of all daemons.
pub async fn connections(conn: &mut Conn) -> Result<Vec<(String, String, i64)>> {
    Ok(on!(conn, |c| sqlx::query_as(USED).fetch_all(c).await?))
}
