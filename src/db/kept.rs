//! A connection that is kept for the next one to write.
//!
//! A pool pings whatever comes back to it: on SQLite that is a turn of its thread for each commit. PostgreSQL's is given
//! out in turn with the others, too, and behind each stands a process of the server whose caches would be cold.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};

/// One place; cheap to clone.
pub(super) struct Kept<DB: Database>(Arc<Inner<DB>>);

struct Inner<DB: Database> {
    place: Mutex<Option<(PoolConnection<DB>, Instant)>>,
    /// How many wait for the pool itself.
    waiting: AtomicUsize,
}

impl<DB: Database> Kept<DB> {
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
    pub(super) fn wait(&self) -> Waits<DB> {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        drop(self.take());
        Waits(self.clone())
    }

    fn place(&self) -> MutexGuard<'_, Option<(PoolConnection<DB>, Instant)>> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Drop for Inner<DB> {
    fn drop(&mut self) {
        // The way back into a pool is a task, and the runtime may be over.
        let kept = self.place.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop(kept.map(|(connection, _)| connection.leak()));
    }
}

impl<DB: Database> Clone for Kept<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Database> fmt::Debug for Kept<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

/// Somebody who waits for the pool.
#[derive(Debug)]
pub(super) struct Waits<DB: Database>(Kept<DB>);

impl<DB: Database> Drop for Waits<DB> {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
