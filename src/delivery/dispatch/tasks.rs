//! Everything that works for one life: kept count of, waited for, and noticed when it breaks.
//!
//! A task that panicked has let go of what it had in hand, and only the ledger still knows of it. Nothing here mends that:
//! whoever waits for [`Tasks::broken`] ends the life in good order, and the ledger gives it back.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The tasks of one life.
#[derive(Debug)]
pub(super) struct Tasks {
    /// `None` once they were taken.
    running: Mutex<Option<JoinSet<()>>>,
    broke: CancellationToken,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self { running: Mutex::new(Some(JoinSet::new())), broke: CancellationToken::new() }
    }

    /// Begins one more, until they are taken: whoever waits for them would not see another.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.as_mut() {
            while running.try_join_next().is_some() {}
            let broke = self.broke.clone();
            running.spawn(async move {
                // What it shares stands behind locks that are taken even when poisoned, and this life ends.
                if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                    tracing::error!(reason = words(&*panic), "a task of the sending panicked");
                    broke.cancel();
                }
            });
        }
    }

    /// Ends when one of them panicked: what that one held in hand only the ledger gives back, at the end of this life.
    pub(super) async fn broken(&self) {
        self.broke.cancelled().await;
    }

    /// All of them, to be waited for; nothing begins any more.
    pub(super) fn take(&self) -> JoinSet<()> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn p1_a_task_that_panics_is_noticed_and_the_others_go_on() {
        let tasks = Tasks::new();
        let (go_on, told) = tokio::sync::oneshot::channel();
        tasks.spawn(async { told.await.unwrap() });
        tasks.spawn(async {});
        tasks.spawn(async { panic!("it broke") });
        tasks.broken().await;
        go_on.send(()).expect("it still waits");
        // It would panic with whoever of them did.
        tasks.take().join_all().await;
    }

    #[tokio::test]
    async fn tasks_that_end_or_are_ended_broke_nothing() {
        let tasks = Tasks::new();
        tasks.spawn(async {});
        tasks.spawn(std::future::pending());
        let mut all = tasks.take();
        all.join_next().await.unwrap().unwrap();
        all.abort_all();
        assert!(all.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert_eq!(tasks.broken().now_or_never(), None);
    }
}
