//! PostgreSQL: one pool, `READ COMMITTED`, commits that wait for the disk, and wake-ups by `NOTIFY`.

use std::str::FromStr as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Postgres, Transaction};
use tokio::time::timeout;

use super::spare::Spare;
use super::{Error, Options, Result, Synchronous};

/// A process that is stopped in the middle of a transaction keeps its locks, and nobody could take its work over: the
/// server ends what stands still for so long, in milliseconds. Nothing of ours waits for anybody else while it is in one.
const IDLE_IN_TRANSACTION: u128 = 30_000;
/// For those who ask by indexes alone. A plan is kept once it is made: one from when a table was empty would read all of it,
/// for every commit, until the server's statistics are made anew, which is a minute into the edition or later. And it is
/// made once, whatever it is asked for: each index is named by the statement's own words.
const BY_INDEXES: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // What an index gives in order is not sorted anew for each page of it.
    ("enable_sort", "off"),
];
/// Statements of ours are many and short: compiling one takes the server longer than any of them, and what keeps its planner
/// to indexes makes some of them look dear enough for it.
const NO_COMPILER: [(&str, &str); 1] = [("jit", "off")];
/// In seconds, and a count: a session whose client went away without a word ends after a minute and a half, not after hours.
const KEEPALIVE: [(&str, u8); 3] =
    [("tcp_keepalives_idle", 60), ("tcp_keepalives_interval", 10), ("tcp_keepalives_count", 3)];
/// Of so many connections one is kept beside the pool: it may listen with one for good already.
const WITH_A_SPARE: u32 = 4;
/// Who commits, who claims and who looks: more are not at work at a time.
const SPARES: u32 = 3;
/// A connection that was used so recently is taken to be alive.
const FRESH: Duration = Duration::from_millis(50);

/// What goes in or out of the pool has to answer a ping within this, or less where less is waited for: with a server
/// that fell silent it would hang there for ever.
const ALIVE: Duration = Duration::from_secs(3);

#[derive(Clone, Debug)]
pub(super) struct Pools {
    pool: PgPool,
    /// How long an answer is waited for.
    timeout: Duration,
    spare: Spare<Postgres>,
    servers: Servers,
}

/// A connection that was given out.
#[derive(Debug)]
pub(super) struct Lent {
    connection: PoolConnection<Postgres>,
    /// The server that it leads to, unless another one took its place since.
    server: u64,
}

impl Lent {
    pub(super) fn bare(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// The servers that answered, one after the other; cheap to clone.
#[derive(Clone, Debug, Default)]
struct Servers(Arc<Mutex<Answering>>);

#[derive(Debug, Default)]
struct Answering {
    /// When the one that answers began, in its own words.
    began: Option<String>,
    /// How many answered before it.
    before: u64,
    /// Since when it does.
    since: Option<Instant>,
}

const BEGAN: &str = "
SELECT CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) AS TEXT)";

impl Servers {
    /// One that began then answers a new connection.
    fn answered(&self, began: String) {
        let mut answering = self.answering();
        if answering.began.as_ref() == Some(&began) {
            return;
        }
        if answering.began.replace(began).is_some() {
            answering.before += 1;
            answering.since = Some(Instant::now());
        }
    }

    fn before(&self) -> u64 {
        self.answering().before
    }

    /// Whether a connection that is so old may lead to another one than answers now.
    fn is_older(&self, age: Duration) -> bool {
        self.answering().since.is_some_and(|since| since.elapsed() < age)
    }

    fn answering(&self) -> MutexGuard<'_, Answering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pools {
    pub(super) async fn open(options: &Options) -> Result<Self> {
        Self::open_with(options, false).await
    }

    pub(super) async fn open_read_only(options: &Options) -> Result<Self> {
        Self::open_with(options, true).await
    }

    async fn open_with(options: &Options, read_only: bool) -> Result<Self> {
        let synchronous = match options.synchronous {
            Synchronous::Full => "on",
            Synchronous::Normal => "off",
        };
        let mut connect = PgConnectOptions::from_str(options.url.expose_secret())
            .map_err(|error| Error::Url(error.to_string()))?
            .application_name("matinale")
            .options([("synchronous_commit", synchronous)])
            .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)])
            .options(NO_COMPILER)
            .options(KEEPALIVE);
        // Never the other way: who keeps the server may have closed it for writing.
        if read_only {
            connect = connect.options([("default_transaction_read_only", "on")]);
        }
        let alive = ALIVE.min(options.timeout / 4);
        let servers = Servers::default();
        let (found, known) = (servers.clone(), servers.clone());
        let pool = PgPoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(Duration::from_secs(30))
            // A server that restarted is noticed by a ping, which a connection just used has no need of.
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let older = known.is_older(meta.age);
                Box::pin(async move {
                    if older {
                        return Ok(false);
                    }
                    if meta.idle_for > FRESH {
                        ping(connection, alive).await?;
                    }
                    Ok(true)
                })
            })
            .after_release(move |connection, _| {
                Box::pin(async move {
                    ping(connection, alive).await?;
                    Ok(true)
                })
            })
            // Before anything is asked over it: whoever asks learns whether the server is still the same.
            .after_connect(move |connection, _| {
                let found = found.clone();
                Box::pin(async move {
                    found.answered(sqlx::query_scalar(BEGAN).fetch_one(connection).await?);
                    Ok(())
                })
            })
            .connect_with(connect.clone())
            .await;
        let pool = match pool {
            // It has tried again and again, and does not say what became of it.
            Err(sqlx::Error::PoolTimedOut) => return Err(why_not(&connect).await),
            pool => pool?,
        };
        Ok(Self { pool, timeout: options.timeout, spare: spare(options.connections), servers })
    }

    /// Another pool to the same place, whose connections belong to the thread that first asks for them, and find rows by
    /// indexes. Sessions of it that were given up leave by themselves, or they would wait for each other's locks, and hold
    /// them, one after the other.
    pub(super) fn apart(&self) -> Self {
        // In milliseconds, of which the server takes no more.
        let given_up = self.timeout.as_millis().min(i32::MAX as u128);
        let connect = (*self.pool.connect_options())
            .clone()
            .options(BY_INDEXES)
            .options([("lock_timeout", given_up)])
            .options([("idle_in_transaction_session_timeout", given_up.min(IDLE_IN_TRANSACTION))]);
        let pool = self.pool.options().clone().connect_lazy_with(connect);
        let spare = spare(pool.options().get_max_connections());
        Self { pool, timeout: self.timeout, spare, servers: self.servers.clone() }
    }

    pub(super) fn server(&self) -> u64 {
        self.servers.before()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What was kept a moment ago, or what the pool gives: that pings what has been idle for longer.
    pub(super) async fn connection(&self) -> Result<Lent> {
        // Before the pool looks whether it leads there: another one may take its place meanwhile.
        let server = self.server();
        // One that is not wanted goes back before another is waited for.
        if let Some((connection, _)) = self.spare.take(server).filter(|(_, idle)| *idle <= FRESH) {
            return Ok(Lent { connection, server });
        }
        // Those below it are older.
        self.spare.clear();
        Ok(Lent { connection: self.pool.acquire().await?, server })
    }

    pub(super) fn keep(&self, lent: Lent) {
        // One whose place another took may go on answering. What leads to it goes to the pool, which knows how old it is.
        if lent.server == self.server() {
            self.spare.put(lent.connection, lent.server, &self.pool);
        }
    }

    pub(super) async fn close(&self) {
        let closed = self.pool.close();
        self.spare.clear();
        closed.await;
    }

    /// Begins in a task of its own, which ends whoever asked: a BEGIN that is given up half-way would leave its
    /// connection in a transaction that nobody knows of, and the next one to use it would commit nothing.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        let pool = self.pool.clone();
        match tokio::spawn(async move { pool.begin().await }).await {
            Ok(begun) => Ok(begun?),
            Err(_) => Err(sqlx::Error::WorkerCrashed.into()),
        }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) async fn listen(&self, channel: &str) -> Result<Notices> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(channel).await?;
        Ok(Notices(listener))
    }
}

/// What is kept beside a pool of so many.
fn spare(connections: u32) -> Spare<Postgres> {
    Spare::new((connections / WITH_A_SPARE).min(SPARES) as usize)
}

/// Why nobody can connect.
async fn why_not(connect: &PgConnectOptions) -> Error {
    match timeout(ALIVE, PgConnection::connect_with(connect)).await {
        Ok(Err(error)) => error.into(),
        Ok(Ok(_)) => sqlx::Error::PoolTimedOut.into(),
        Err(_) => Error::Silent(ALIVE),
    }
}

async fn ping(connection: &mut PgConnection, within: Duration) -> sqlx::Result<()> {
    timeout(within, connection.ping()).await.map_err(std::io::Error::from)?
}

/// Wake-ups sent by other daemons with [`super::Conn::notify`].
#[derive(Debug)]
pub struct Notices(PgListener);

impl Notices {
    /// Waits for the next wake-up. A lost connection counts as one: what was missed meanwhile is found by looking.
    pub async fn next(&mut self) -> Result<()> {
        self.0.try_recv().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_a_server_that_began_at_another_time_is_another_and_what_leads_to_an_earlier_one_is_known() {
        let servers = Servers::default();
        for (began, before) in [("1.5", 0), ("1.5", 0), ("2.5", 1), ("2.5", 1), ("1.5", 2)] {
            servers.answered(began.to_owned());
            assert_eq!(servers.before(), before, "{began}");
            assert_eq!(servers.is_older(Duration::from_secs(3600)), before > 0, "{began}");
            assert!(!servers.is_older(Duration::ZERO), "{began}");
        }
    }
}
