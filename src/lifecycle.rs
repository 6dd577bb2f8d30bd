//! Stopping well: the first signal drains, the second stops.
//!
//! Whoever works in the background takes a [`Shutdown`] and looks at it between two pieces of work, never inside
//! one: a body half-written is finished, a transaction begun is ended.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Says when to stop; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Shutdown {
    /// Nobody has asked to stop yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that ends with this one, and may end before it.
    pub fn child(&self) -> Self {
        Self { drain: self.drain.child_token(), stop: self.stop.child_token() }
    }

    /// Take on nothing new, finish what is in flight.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Stop now.
    pub fn stop(&self) {
        self.drain.cancel();
        self.stop.cancel();
    }

    /// Whether nothing new is to be taken on.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether everything must stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until nothing new is to be taken on.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Waits until everything must stop.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// The token behind [`Shutdown::draining`], for libraries that take one.
    pub fn token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Follows SIGTERM and SIGINT from now on: the first drains, the second stops.
    ///
    /// # Errors
    /// When the operating system gives no signal handler.
    pub fn follow_signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            tracing::info!("draining: finishing what is in flight; a second signal stops at once");
            shutdown.drain();
            either(&mut terminate, &mut interrupt).await;
            tracing::warn!("stopping at once");
            shutdown.stop();
        });
        Ok(())
    }
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}
