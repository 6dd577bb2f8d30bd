//! A connection that is kept for the next one to write.
//!
//! A pool pings whatever comes back to it: on SQLite that is a turn of its thread for each commit. PostgreSQL's is given
//! out in turn with the others, too, and behind each stands a process of the server whose caches would be cold.
//!
//! The rule a newcomer would break: where a pool has one connection, whoever asks the pool itself holds a [`Waiter`], or
//! waits for what is kept here.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};

/// One place; cheap to clone.
pub(super) struct Spare<DB: Database>(Arc<Inner<DB>>);

struct Inner<DB: Database> {
    place: Mutex<Option<(PoolConnection<DB>, Instant)>>,
    /// How many wait for the pool itself.
    waiting: AtomicUsize,
}

impl<DB: Database> Spare<DB> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner { place: Mutex::default(), waiting: AtomicUsize::new(0) }))
    }

    /// Keeps a connection, unless somebody waits for the pool, or the pool closes and waits for all that it gave.
    pub(super) fn put(&self, connection: PoolConnection<DB>, pool: &Pool<DB>) {
        let mut place = self.place();
        if self.0.waiting.load(Ordering::Acquire) == 0 && !pool.is_closed() {
            *place = Some((connection, Instant::now()));
        }
    }

    /// What was kept, and for how long.
    pub(super) fn take(&self) -> Option<(PoolConnection<DB>, Duration)> {
        self.place().take().map(|(connection, since)| (connection, since.elapsed()))
    }

    /// Gives the pool back what was kept, and has nothing kept while somebody waits for it with this.
    pub(super) fn wait(&self) -> Waiter<DB> {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        drop(self.take());
        Waiter(self.clone())
    }

    fn place(&self) -> MutexGuard<'_, Option<(PoolConnection<DB>, Instant)>> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Drop for Inner<DB> {
    fn drop(&mut self) {
        // The way back into a pool is a task, and the runtime may be over. The pool counts it as given out for ever, and
        // goes with it.
        let kept = self.place.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop(kept.map(|(connection, _)| connection.leak()));
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
    use crate::db::{Db, Options};

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
