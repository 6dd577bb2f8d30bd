//! Whether a PostgreSQL server still is who was asked: looked at aside, over another connection, while something is
//! waited for that may take long.
//!
//! A server whose machine lost its power says nothing, ever, and one that came back knows nothing of what it was asked.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use super::Error;

/// How often it is asked, or four times within the limit.
const TURN: Duration = Duration::from_secs(10);
/// What is over by then was not worth a second connection.
const SOON: Duration = Duration::from_secs(1);

/// Ends once the server was silent for this long, or began anew.
pub(super) async fn lost(connect: &PgConnectOptions, limit: Duration) -> Error {
    let turn = TURN.min(limit / 4);
    let mut connection = None;
    let mut began = None;
    let mut heard = Instant::now();
    sleep(SOON.min(turn)).await;
    loop {
        let left = limit.saturating_sub(heard.elapsed());
        match timeout(left, ask(&mut connection, connect)).await {
            Ok(Ok(beginning)) => {
                heard = Instant::now();
                if *began.get_or_insert(beginning) != beginning {
                    return Error::Restarted;
                }
            }
            // It closed the connection, or says no to another: it is asked again until the limit.
            Ok(Err(_)) if !left.is_zero() => connection = None,
            Ok(Err(_)) | Err(_) => return Error::Silent(limit),
        }
        sleep(turn).await;
    }
}

/// When the server began, in microseconds of its own clock: the same answer as long as it is the same server.
async fn ask(connection: &mut Option<PgConnection>, connect: &PgConnectOptions) -> sqlx::Result<i64> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(PgConnection::connect_with(connect).await?),
    };
    sqlx::query_scalar("SELECT (EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000)::bigint")
        .fetch_one(&mut *connection)
        .await
}
