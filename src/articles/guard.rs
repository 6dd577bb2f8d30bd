//! Parsers of other people's documents run here: on a thread of their own, which may panic or take too long.
//!
//! A thread that takes too long cannot be stopped, only left behind; so it must hold nothing that anybody else
//! waits for. That is why it is no thread of the runtime's: those are waited for at the end of the process.

use std::time::Duration;

/// What one document may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The stack of the parser's thread; parsers of nested things call themselves.
const STACK_BYTES: usize = 32 << 20;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The parser has a fault that this document shows; the document is refused, the rest goes on.
    #[error("cannot be read: the parser failed on it")]
    Failed,
    /// The document takes too long; it is refused.
    #[error("cannot be read: it takes longer than 30 seconds")]
    TooSlow,
}

/// Runs `work` apart, and gives up on it after [`LIMIT`].
///
/// # Errors
/// [`Stopped`], when it panicked or took too long.
pub async fn guarded<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Stopped> {
    within(LIMIT, work).await
}

async fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    let (done, result) = tokio::sync::oneshot::channel();
    // A panic drops `done`, which ends the wait.
    let thread =
        std::thread::Builder::new().name("parser".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            // Nobody waits any more: the result is not wanted.
            drop(done.send(work()));
        });
    if let Err(error) = thread {
        tracing::error!(%error, "no thread for a parser");
        return Err(Stopped::Failed);
    }
    match tokio::time::timeout(limit, result).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(Stopped::Failed),
        Err(_) => Err(Stopped::TooSlow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn p10_a_parser_that_panics_or_hangs_stops_nobody() {
        assert_eq!(guarded(|| 7).await, Ok(7));
        assert_eq!(guarded(|| -> u8 { panic!("as a test") }).await, Err(Stopped::Failed));
        let (_open, never) = std::sync::mpsc::channel::<u8>();
        assert_eq!(within(Duration::from_millis(20), move || never.recv().ok()).await, Err(Stopped::TooSlow));
    }
}
