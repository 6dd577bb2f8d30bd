//! How long PostgreSQL is waited for.
//!
//! A server whose machine lost its power says nothing, ever, and one that came back knows nothing of what it was asked:
//! no connection ends by itself. What is done in a moment has a limit. Beside what may take long, the server is asked
//! over another connection whether it is still there, and still the same.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::{Db, Error, Pools};

/// What touches a whole edition may take so long, on the slowest of servers.
const AT_LENGTH: Duration = Duration::from_secs(900);
/// How often the server is asked beside, or four times within the limit.
const TURN: Duration = Duration::from_secs(10);
/// What is over by then was not worth a second connection.
const SOON: Duration = Duration::from_secs(1);
/// It is there and starting, or ending: what it was asked before is gone or will be.
const CANNOT_CONNECT_NOW: &str = "57P03";

impl Db {
    /// Asks something and waits for the answer, as long as `database.timeout` says. What was asked may yet be done:
    /// whoever goes on from here goes on as after a lost answer.
    ///
    /// # Errors
    /// [`Error::Silent`] when there was none; never on SQLite, whose file does not go away.
    pub fn answered<T, E: From<Error>>(
        &self,
        asking: impl Future<Output = std::result::Result<T, E>>,
    ) -> impl Future<Output = std::result::Result<T, E>> {
        let limit = match &self.0 {
            Pools::Sqlite(_) => Duration::MAX,
            Pools::Postgres(pools) => pools.timeout(),
        };
        self.answered_within(limit, asking)
    }

    /// Asks something and waits for the answer for so long.
    ///
    /// # Errors
    /// [`Error::Silent`] when there was none; never on SQLite.
    pub fn answered_within<T, E: From<Error>>(
        &self,
        limit: Duration,
        asking: impl Future<Output = std::result::Result<T, E>>,
    ) -> impl Future<Output = std::result::Result<T, E>> {
        // Aside, or whoever waits would carry what he asks around twice.
        let asking = Box::pin(asking);
        async move {
            match &self.0 {
                Pools::Sqlite(_) => asking.await,
                Pools::Postgres(_) => {
                    timeout(limit, asking).await.unwrap_or_else(|_| Err(Error::Silent(limit).into()))
                }
            }
        }
    }

    /// Asks something that may touch a whole edition, and waits for the answer while the server is there, up to a
    /// quarter of an hour.
    ///
    /// # Errors
    /// [`Error::Silent`], [`Error::Restarted`], or why nobody can connect; never on SQLite.
    pub async fn answered_at_length<T, E: From<Error>>(
        &self,
        asking: impl Future<Output = std::result::Result<T, E>>,
    ) -> std::result::Result<T, E> {
        self.unless_lost(self.answered_within(AT_LENGTH, asking)).await
    }

    /// Asks something that takes as long as it takes, and waits for the answer while the server is there. That one
    /// connection alone is dead, whose way forgot it, is not seen.
    ///
    /// # Errors
    /// As [`Db::lost`]; never on SQLite.
    pub fn unless_lost<T, E: From<Error>>(
        &self,
        asking: impl Future<Output = std::result::Result<T, E>>,
    ) -> impl Future<Output = std::result::Result<T, E>> {
        let asking = Box::pin(asking);
        async move {
            tokio::select! {
                answer = asking => answer,
                error = self.lost() => Err(error.into()),
            }
        }
    }

    /// Ends when the server did not answer for as long as `database.timeout` says ([`Error::Silent`], or why nobody can
    /// connect), or began anew ([`Error::Restarted`]); never on SQLite.
    pub async fn lost(&self) -> Error {
        match &self.0 {
            Pools::Sqlite(_) => std::future::pending().await,
            Pools::Postgres(pools) => lost(&pools.pool().connect_options(), pools.timeout()).await,
        }
    }
}

async fn lost(connect: &PgConnectOptions, limit: Duration) -> Error {
    let connect = &connect.clone().disable_statement_logging();
    let began = Instant::now();
    let turn = TURN.min(limit / 4);
    let mut connection = None;
    // Turns without an answer are counted, and no clock is read: this process may have stood still itself.
    let mut silent = Duration::ZERO;
    let mut next = began + SOON.min(turn);
    loop {
        sleep_until(next).await;
        next = Instant::now() + turn;
        let waited = began.elapsed();
        let error = match timeout_at(next, ask(&mut connection, connect)).await {
            // It was not there yet when the wait began.
            Ok(Ok(age)) if age < waited.as_secs_f64() => return Error::Restarted,
            Ok(Ok(_)) => {
                silent = Duration::ZERO;
                continue;
            }
            // It says no to one more: it is there.
            Ok(Err(sqlx::Error::Database(error))) if error.code().as_deref() != Some(CANNOT_CONNECT_NOW) => {
                connection = None;
                silent = Duration::ZERO;
                continue;
            }
            Ok(Err(error)) => error.into(),
            Err(_) => Error::Silent(limit),
        };
        connection = None;
        silent += turn;
        if silent > limit {
            return error;
        }
    }
}

const AGE: &str = "
SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp() - pg_postmaster_start_time()) AS DOUBLE PRECISION)";

/// For how many seconds the server has been there, by its own clock.
async fn ask(connection: &mut Option<PgConnection>, connect: &PgConnectOptions) -> sqlx::Result<f64> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(PgConnection::connect_with(connect).await?),
    };
    sqlx::query_scalar(AGE).fetch_one(&mut *connection).await
}
