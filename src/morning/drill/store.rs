//! What a drill reads of the ledger while it runs. Reads `attempt`, `delivery` and `daemon`.

use crate::db::{Conn, Result, on};

const OPEN: &str = "
SELECT COUNT(*)
FROM daemon
JOIN delivery ON delivery.daemon = daemon.id AND delivery.epoch = daemon.epoch AND delivery.state = 'claimed'
JOIN attempt ON attempt.delivery = delivery.id AND attempt.number = delivery.tries + 1
WHERE daemon.pid = $1 AND daemon.gone = 0 AND attempt.outcome IS NULL";

/// How many attempts of the daemon with this process are open.
pub(super) async fn open_attempts(conn: &mut Conn, pid: i64) -> Result<i64> {
    Ok(on!(conn, |c| sqlx::query_scalar(OPEN).bind(pid).fetch_one(c).await?))
}

const HERE: &str = "
SELECT pid
FROM daemon
WHERE gone = 0
ORDER BY id";

/// The processes of the daemons that have neither left nor been taken over.
pub(super) async fn not_gone(conn: &mut Conn) -> Result<Vec<i64>> {
    Ok(on!(conn, |c| sqlx::query_scalar(HERE).fetch_all(c).await?))
}
