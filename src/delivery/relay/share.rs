//! One mail's share of what a new identity may send to a provider on a day: given back by itself, unless the mail left.
//!
//! Mails come out of a lane in many ways (a pause, a hold, a relay that is down, the end of a daemon), and none of these
//! has to remember it.

use std::sync::{Arc, Weak};

use jiff::civil::Date;

use super::Lane;

/// Taken of a day's cap.
#[derive(Debug)]
pub(in crate::delivery) struct Share {
    /// `None` once it was spent.
    lane: Option<Weak<Lane>>,
    day: Date,
}

impl Share {
    /// One of what was taken for this lane.
    pub(in crate::delivery) fn of(lane: &Arc<Lane>, day: Date) -> Self {
        Self { lane: Some(Arc::downgrade(lane)), day }
    }

    /// The mail was brought before the provider: it counts.
    pub(in crate::delivery) fn spend(mut self) {
        self.lane = None;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take().and_then(|lane| lane.upgrade()) {
            lane.note(|said| *said.back.entry(self.day).or_default() += 1);
        }
    }
}
