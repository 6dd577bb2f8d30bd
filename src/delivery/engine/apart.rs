//! The engine's own thread.
//!
//! One thread serves every connection. What connections share is then never fought over, and no turn of the ledger
//! wakes a second thread that finds nothing to do: with several, a third of a message's time went there. Whatever else
//! the daemon does (a page, a picture, a feed) delays no dot. Signatures, which take longer than all the rest of a
//! message, are made by it when it has nothing else to do, and beside it (`signing`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::dispatcher;

use super::{Engine, Error, Result};
use crate::db::Db;

/// How long the database's connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

impl Engine {
    /// Does this work on a thread of its own, with database connections of its own. Whoever stops waiting for it ends
    /// it, and whatever it began. What a life left behind that was declared dead is heard to its end by that thread,
    /// though nobody waits for it.
    ///
    /// # Errors
    /// The work's own; [`Error::Thread`] when the operating system gives no thread, or nothing to wait for sockets with.
    pub(super) async fn apart<T, F>(&self, work: impl FnOnce(Self) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
    {
        let engine = self.clone();
        let (mut done, waiting) = oneshot::channel();
        // Who listens to the caller's log hears this thread too.
        let log = dispatcher::get_default(Clone::clone);
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(done.send(Err(Error::Thread(error)))),
            };
            runtime.block_on(async move {
                let (db, left_behind) = (engine.db.apart(), TaskTracker::new());
                let sending = async { work(engine.over(db.clone(), left_behind.clone())?).await };
                let ended = tokio::select! {
                    ended = sending => ended,
                    () = done.closed() => return,
                };
                // The caller may have gone just now.
                drop(done.send(ended));
                left_behind.close();
                left_behind.wait().await;
                drop(timeout(GOODBYE, db.close_apart()).await);
            });
        };
        let thread = std::thread::Builder::new().name("delivery".to_owned());
        let thread = thread.spawn(move || dispatcher::with_default(&log, run)).map_err(Error::Thread)?;
        match waiting.await {
            Ok(ended) => ended,
            Err(_) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                // It ends without a word only when nobody waits.
                Ok(()) => std::future::pending().await,
            },
        }
    }

    /// The same engine over another way to the same database.
    fn over(self, db: Db, left_behind: TaskTracker) -> Result<Self> {
        let ways =
            super::ways(&self.config, &self.providers, &self.random, (&db, &self.clock))?.map(Arc::new);
        Ok(Self { db, ways, left_behind, ..self })
    }
}
