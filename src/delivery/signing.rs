//! Signatures, beside the thread that sends: each takes as long as ten messages take on the wire.
//!
//! As many threads as there are processors take them from one queue, so that none is woken while it has work. On Linux
//! they are nicer than the thread that sends: what can leave goes before what has yet to be signed.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;

use super::{Error, Result};

/// So much is added to their niceness. Without it the scheduler lets the thread that sends wait for its processor while
/// the other one only signs; with twice as much, signatures are interrupted so often that they cost more.
#[cfg(target_os = "linux")]
const NICER: i32 = 5;

type Work = Box<dyn FnOnce() + Send>;

/// Where work for them goes; the threads end with it.
#[derive(Debug)]
pub(super) struct Signing(mpsc::Sender<Work>);

impl Signing {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Thread`] when the operating system gives none.
    pub(super) fn start() -> Result<Self> {
        let (queue, work) = mpsc::channel::<Work>();
        let work = Arc::new(Mutex::new(work));
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            let work = work.clone();
            let next = move || work.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let run = move || {
                be_nicer();
                while let Ok(work) = next() {
                    // One message that breaks here costs nobody else their thread.
                    drop(catch_unwind(AssertUnwindSafe(work)));
                }
            };
            std::thread::Builder::new().name("signature".to_owned()).spawn(run).map_err(Error::Thread)?;
        }
        Ok(Self(queue))
    }

    /// Has this done by one of them; nothing comes back where it broke.
    pub(super) fn hand<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, waiting) = oneshot::channel();
        // Who no longer waits has lost its connection; and the threads live as long as this does.
        drop(self.0.send(Box::new(move || drop(done.send(work())))));
        waiting
    }
}

/// Lets others go first, where that can be said of one thread. Where it is refused, they sign all the same.
fn be_nicer() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICER) {
        tracing::debug!(%error, "signatures are made at the priority of everything else");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn p1_a_message_that_breaks_while_it_is_signed_stops_no_other() {
        let signing = Signing::start().unwrap();
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) * 2 {
            let broken = signing.hand::<i32>(|| panic!("it broke"));
            assert!(broken.await.is_err());
        }
        assert_eq!(signing.hand(|| 1).await, Ok(1));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn whoever_signs_is_nicer_than_whoever_sends() {
        // Of the thread that asks.
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let signing = Signing::start().unwrap();
        let their_own = signing.hand(niceness).await.unwrap();
        assert!(their_own > niceness() || their_own == 19, "{their_own}, {} here", niceness());
    }
}
