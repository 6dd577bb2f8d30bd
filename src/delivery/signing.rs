//! Signatures: each takes as long as ten messages take on the wire, or more.
//!
//! Each processor but one has a thread that makes them, and the thread that sends makes one whenever nothing can leave and
//! more wait than threads. Of two processors it makes the only one, too, and its one helper sleeps on: were the sender to
//! sleep, the system would wake it where the server that answers runs, if that is on this machine, and the other processor
//! would stand still. What can leave meanwhile waits for the end of that one signature.
//!
//! Between two signatures a thread lets whoever waits for its processor go first. The ledger does, for a tenth of one, and
//! everybody waits for it; the system itself would not interrupt a signature for milliseconds.

use std::collections::VecDeque;
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
    /// Starts what the caller's own thread does, which must serve one runtime alone (a worker of several would be kept from
    /// the others' work), and a thread for each further processor.
    ///
    /// # Errors
    /// [`Error::Thread`] when the operating system gives none.
    pub(super) fn start() -> Result<Self> {
        Self::with(std::thread::available_parallelism().map_or(0, |processors| processors.get() - 1))
    }

    fn with(threads: usize) -> Result<Self> {
        let queue = Arc::new(Queue { leaves_to_threads: threads > 1, ..Queue::default() });
        let here = tokio::spawn(sign_here(queue.clone())).abort_handle();
        let signing = Self { queue, here };
        for _ in 0..threads {
            let queue = signing.queue.clone();
            let run = move || {
                while let Some(work) = queue.next() {
                    make(work);
                    std::thread::yield_now();
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

/// One signature after the other, and in between whatever can leave.
async fn sign_here(queue: Arc<Queue>) {
    loop {
        queue.more.notified().await;
        loop {
            // Twice: sockets are looked at when there is nothing else to do, and the ledger's answers, which come from
            // other threads, are heard when nothing of this thread's own is ready.
            yield_now().await;
            yield_now().await;
            let Some(work) = queue.left_over() else { break };
            make(work);
            std::thread::yield_now();
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
    /// Whether whoever sends leaves it to the threads that wait.
    leaves_to_threads: bool,
    /// There is more, for whoever sends.
    more: Notify,
    /// There is more, or nothing more will come: for the threads.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    /// How many threads wait for some; who was woken for it counts until it looked.
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
        let for_threads = state.waiting > 0 && (self.leaves_to_threads || state.work.len() > 1);
        drop(state);
        self.more.notify_one();
        if for_threads {
            self.changed.notify_one();
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

    /// The next work that is for whoever sends.
    fn left_over(&self) -> Option<Work> {
        let mut state = self.state();
        let left = if self.leaves_to_threads { state.waiting } else { 0 };
        if state.work.len() > left { state.work.pop_front() } else { None }
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
        for threads in [0, 1, 2] {
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
    async fn whoever_sends_signs_the_only_one_and_a_thread_what_more_there_is() {
        let signing = Signing::with(1).unwrap();
        at_leisure(&signing, 1).await;
        assert_eq!(signing.hand(who).await.unwrap(), who());
        at_leisure(&signing, 1).await;
        let (told, by) = std::sync::mpsc::channel();
        let two = [told.clone(), told].map(|told| signing.hand(move || told.send(who()).unwrap()));
        // Whoever sends has other things to do.
        for _ in &two {
            assert_eq!(by.recv_timeout(Duration::from_secs(60)).unwrap(), "signature");
        }
    }

    #[tokio::test]
    async fn what_threads_have_time_for_is_theirs_where_there_are_several() {
        let signing = Signing::with(2).unwrap();
        for _ in 0..4 {
            at_leisure(&signing, 2).await;
            assert_eq!(signing.hand(who).await.unwrap(), "signature");
        }
    }

    #[tokio::test]
    async fn whoever_sends_signs_while_every_thread_does() {
        let signing = Signing::with(1).unwrap();
        at_leisure(&signing, 1).await;
        let (begin, begun) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let slow = signing.hand(move || {
            begin.send(who()).unwrap();
            may_go_on.recv().unwrap();
        });
        let other = signing.hand(who);
        assert_eq!(begun.recv_timeout(Duration::from_secs(60)).unwrap(), "signature");
        assert_eq!(other.await.unwrap(), who());
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
