//! A trouble that lasts: told when it begins, now and then while it goes on, and when it is over.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// It is told so often while it lasts, however often it is met; each time only to whoever listens at `debug`.
const AGAIN: Duration = Duration::from_secs(60);

/// One kind of trouble of one part of the house.
#[derive(Debug)]
pub struct Trouble {
    what: &'static str,
    over: &'static str,
    /// While it lasts: since when, and when it was told last.
    lasts: Mutex<Option<(Instant, Instant)>>,
}

impl Trouble {
    /// None yet; what is told of it, and of its end.
    pub const fn new(what: &'static str, over: &'static str) -> Self {
        Self { what, over, lasts: Mutex::new(None) }
    }

    /// Whether it lasts.
    pub fn lasts(&self) -> bool {
        self.lasts.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// It was met, and this is what it said.
    pub fn met(&self, error: &dyn Display) {
        let now = Instant::now();
        let mut lasts = self.lasts.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *lasts {
            None => {
                *lasts = Some((now, now));
                tracing::error!(%error, "{}", self.what);
            }
            Some((since, told)) if now - *told >= AGAIN => {
                *told = now;
                tracing::error!(%error, seconds = (now - *since).as_secs(), "still: {}", self.what);
            }
            Some(_) => tracing::debug!(%error, "still: {}", self.what),
        }
    }

    /// It is not there: told, where it was.
    pub fn over(&self) {
        let lasted = self.lasts.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((since, _)) = lasted {
            tracing::info!(seconds = since.elapsed().as_secs(), "{}", self.over);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::tests::heard;

    #[tokio::test(start_paused = true)]
    async fn a_trouble_that_lasts_is_told_once_a_minute_and_its_end_once() {
        let trouble = Trouble::new("the ledger is away", "the ledger is back");
        let heard = heard(async {
            trouble.over();
            for _ in 0..=90 {
                trouble.met(&"refused");
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            assert!(trouble.lasts());
            trouble.over();
            trouble.over();
            assert!(!trouble.lasts());
            trouble.met(&"again");
        });
        let heard = heard.await;
        let lines = heard.lines().map(|line| line.split_once("Z ").unwrap().1.trim());
        let (debug, lines): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("DEBUG"));
        assert_eq!(debug, ["DEBUG still: the ledger is away error=refused"; 89]);
        assert_eq!(
            lines,
            [
                "ERROR the ledger is away error=refused",
                "ERROR still: the ledger is away error=refused seconds=60",
                "INFO the ledger is back seconds=91",
                "ERROR the ledger is away error=again",
            ]
        );
    }
}
