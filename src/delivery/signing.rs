//! Signatures: each takes as long as ten messages take on the wire, or more.
//!
//! As many threads as there are processors make them beside the thread that sends. Whenever nothing can leave, and none of
//! them has time, that thread makes one too: were it to sleep, a processor would stand still until the system noticed.
//! What can leave meanwhile waits for the end of that one.

use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, yield_now};

use super::{Error, Result};

type Work = Box<dyn FnOnce() + Send>;

/// Where signatures to be made go. The threads end with it, and with what was begun.
#[derive(Debug)]
pub(super) struct Signing {
    queue: Arc<Queue>,
    here: AbortHandle,
}

impl Signing {
    /// Starts the threads, and what the caller's own thread does of their work, which must serve one runtime alone: a
    /// worker of several would be kept from the others' work.
    ///
    /// # Errors
    /// [`Error::Thread`] when the operating system gives none.
    pub(super) fn start() -> Result<Self> {
        Self::with(std::thread::available_parallelism().map_or(1, NonZero::get))
    }

    fn with(threads: usize) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let here = tokio::spawn(sign_here(queue.clone())).abort_handle();
        let signing = Self { queue, here };
        for _ in 0..threads {
            let queue = signing.queue.clone();
            let run = move || {
                while let Some(work) = queue.next() {
                    make(work);
                }
            };
            std::thread::Builder::new().name("signature".to_owned()).spawn(run).map_err(Error::Thread)?;
        }
        Ok(signing)
    }

    /// Has this done by whoever has time; nothing comes back where it broke.
    pub(super) fn hand<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, waiting) = oneshot::channel();
        self.queue.put(Box::new(move || {
            // Who no longer waits has lost its connection.
            if !done.is_closed() {
                drop(done.send(work()));
            }
        }));
        waiting
    }
}

impl Drop for Signing {
    fn drop(&mut self) {
        self.queue.close();
        self.here.abort();
    }
}

/// One signature after the other that is left over, and in between whatever can leave.
async fn sign_here(queue: Arc<Queue>) {
    loop {
        queue.more_than_waited_for.notified().await;
        loop {
            // Twice: sockets are looked at when there is nothing else to do, and the ledger's answers, which come from
            // other threads, are heard when nothing of this thread's own is ready.
            yield_now().await;
            yield_now().await;
            let Some(work) = queue.left_over() else { break };
            make(work);
        }
    }
}

/// One message that breaks here costs nobody else their thread.
fn make(work: Work) {
    drop(catch_unwind(AssertUnwindSafe(work)));
}

/// What has to be done, first come, first served.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// There is more, or nothing more will come.
    changed: Condvar,
    /// There is more than threads that wait for it.
    more_than_waited_for: Notify,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    /// How many threads wait for some; who was woken for it counts until it took it.
    waiting: usize,
    closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, work: Work) {
        let mut state = self.state();
        state.work.push_back(work);
        let (waited_for, left_over) = (state.waiting > 0, state.work.len() > state.waiting);
        drop(state);
        if waited_for {
            self.changed.notify_one();
        }
        if left_over {
            self.more_than_waited_for.notify_one();
        }
    }

    /// The next work, as soon as there is some. `None`: there will be none any more.
    fn next(&self) -> Option<Work> {
        let mut state = self.state();
        loop {
            if let Some(work) = state.work.pop_front() {
                return Some(work);
            }
            if state.closed {
                return None;
            }
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// The next work, where there is more than threads that wait for it.
    fn left_over(&self) -> Option<Work> {
        let mut state = self.state();
        if state.work.len() > state.waiting { state.work.pop_front() } else { None }
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        let mut queue = f.debug_struct("Queue");
        queue.field("work", &state.work.len()).field("waiting", &state.waiting).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn who() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    /// Until so many threads wait for work.
    async fn at_leisure(signing: &Signing, threads: usize) {
        let all = async {
            while signing.queue.state().waiting < threads {
                yield_now().await;
            }
        };
        let all = tokio::time::timeout(Duration::from_secs(60), all).await;
        assert!(all.is_ok(), "{threads} threads should wait, and {:?}", signing.queue);
    }

    #[tokio::test]
    async fn p1_a_message_that_breaks_while_it_is_signed_stops_no_other() {
        for threads in [0, 2] {
            let signing = Signing::with(threads).unwrap();
            for _ in 0..4 {
                at_leisure(&signing, threads).await;
                let broken = signing.hand::<i32>(|| panic!("it broke"));
                assert!(broken.await.is_err());
            }
            at_leisure(&signing, threads).await;
            assert_eq!(signing.hand(|| 1).await, Ok(1));
        }
    }

    #[tokio::test]
    async fn whoever_sends_signs_what_no_thread_has_time_for_and_nothing_else() {
        let signing = Signing::with(1).unwrap();
        at_leisure(&signing, 1).await;
        let (begin, begun) = oneshot::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let slow = signing.hand(move || {
            begin.send(who()).unwrap();
            may_go_on.recv().unwrap();
        });
        assert!(signing.queue.left_over().is_none(), "a thread waits for it");
        assert_eq!(begun.await.unwrap(), "signature");
        assert_eq!(signing.hand(who).await.unwrap(), who());
        go_on.send(()).unwrap();
        slow.await.unwrap();
    }

    #[tokio::test]
    async fn the_threads_end_with_it() {
        let signing = Signing::with(2).unwrap();
        let queue = Arc::downgrade(&signing.queue);
        drop(signing);
        while queue.strong_count() > 0 {
            yield_now().await;
        }
    }
}
