//! Connections that are kept for the next ones to ask.
//!
//! A pool pings whatever comes back to it: on SQLite that is a turn of its thread for each commit. PostgreSQL's are given
//! out in turn, too, or anew while others are pinged, and behind each stands a process of the server whose caches would be
//! cold: the one that was kept last is given out first.
//!
//! The rule a newcomer would break: where a pool has one connection, whoever asks the pool itself holds a [`Waiter`], or
//! waits for what is kept here.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};

/// A connection, the server that it leads to (counted as [`Db::server`](super::Db::server) does), and since when it is kept.
type Kept<DB> = (PoolConnection<DB>, u64, Instant);

/// A few places; cheap to clone.
pub(super) struct Spare<DB: Database>(Arc<Inner<DB>>);

struct Inner<DB: Database> {
    /// The last that was kept at the end.
    places: Mutex<Vec<Kept<DB>>>,
    /// How many there are places for.
    most: usize,
    /// How many wait for the pool itself.
    waiting: AtomicUsize,
}

impl<DB: Database> Spare<DB> {
    /// With room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { places: Mutex::default(), most, waiting: AtomicUsize::new(0) }))
    }

    /// Keeps a connection, unless somebody waits for the pool, or the pool closes and waits for all that it gave.
    pub(super) fn put(&self, connection: PoolConnection<DB>, server: u64, pool: &Pool<DB>) {
        let mut places = self.places();
        let wanted = self.0.waiting.load(Ordering::Acquire) == 0 && !pool.is_closed();
        if wanted && places.len() < self.0.most {
            places.push((connection, server, Instant::now()));
        }
    }

    /// What was kept last, if it leads to this server, and for how long it was.
    pub(super) fn take(&self, server: u64) -> Option<(PoolConnection<DB>, Duration)> {
        let (connection, to, since) = self.places().pop()?;
        (to == server).then(|| (connection, since.elapsed()))
    }

    /// Gives the pool back whatever was kept.
    pub(super) fn clear(&self) {
        let kept = std::mem::take(&mut *self.places());
        drop(kept);
    }

    /// Gives the pool back what was kept, and has nothing kept while somebody waits for it with this.
    pub(super) fn wait(&self) -> Waiter<DB> {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        self.clear();
        Waiter(self.clone())
    }

    fn places(&self) -> MutexGuard<'_, Vec<Kept<DB>>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Drop for Inner<DB> {
    fn drop(&mut self) {
        // The way back into a pool is a task, and the runtime may be over. The pool counts it as given out for ever, and
        // goes with it.
        let places = self.places.get_mut().unwrap_or_else(PoisonError::into_inner);
        places.drain(..).for_each(|(connection, ..)| drop(connection.leak()));
    }
}

impl<DB: Database> Clone for Spare<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Database> fmt::Debug for Spare<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").finish_non_exhaustive()
    }
}

/// Somebody who waits for the pool.
#[derive(Debug)]
pub(super) struct Waiter<DB: Database>(Spare<DB>);

impl<DB: Database> Drop for Waiter<DB> {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::Spare;
    use crate::db::{Db, Options};

    #[tokio::test]
    async fn p2_what_leads_to_a_server_whose_place_another_one_took_is_not_given_out() {
        let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
        let spare = Spare::new(3);
        spare.put(pool.acquire().await.unwrap(), 1, &pool);
        assert!(spare.take(1).is_some(), "the same");
        spare.put(pool.acquire().await.unwrap(), 1, &pool);
        assert!(spare.take(2).is_none(), "the next");
        assert!(spare.take(1).is_none(), "it went back to the pool");
    }

    #[test]
    fn p3_what_is_kept_goes_though_the_runtime_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("spare.db").display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let db = runtime.block_on(async {
            let db = Db::open(&Options::new(&url)).await.unwrap();
            db.keep(db.writer().await.unwrap());
            db
        });
        drop(runtime);
        drop(db);
    }
}
