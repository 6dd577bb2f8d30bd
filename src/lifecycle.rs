//! Stopping well: the first signal drains, the second stops.
//!
//! Whoever works in the background takes a [`Shutdown`] and looks at it between two pieces of work, never inside
//! one: a body half-written is finished, a transaction begun is ended.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The number of SIGHUP, the same on every Unix.
const HANGUP: u32 = 1;

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

    /// Follows SIGTERM and SIGINT from now on: the first drains, the second stops. SIGHUP, of a terminal that was lost,
    /// drains too and never stops: shell and kernel may each send one. Whom `nohup` told not to hear it does not.
    ///
    /// # Errors
    /// When the operating system gives no signal handler.
    pub fn follow_signals(&self) -> std::io::Result<()> {
        let hears_hangup =
            !ignores(&std::fs::read_to_string("/proc/self/status").unwrap_or_default(), HANGUP);
        let mut hangup = hears_hangup.then(|| signal(SignalKind::hangup())).transpose()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = either(&mut terminate, &mut interrupt) => {}
                Some(()) = async { hangup.as_mut()?.recv().await } => {}
            }
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

/// Whether a process with this `/proc/PID/status` ignores a signal.
fn ignores(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_started_with_nohup_is_known_by_its_status() {
        let status = |mask| format!("Name:\tmatinale\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(ignores(&status("0000000000001001"), HANGUP));
        assert!(!ignores(&status("0000000000001000"), HANGUP));
        assert!(!ignores("", HANGUP));
    }
}
