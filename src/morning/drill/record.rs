//! The sink's own record: how often each Message-ID came, and whether its bytes were the same each time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::clock::Random;
use crate::morning::stage::sink::{Observer, Taken};

/// The copies of one mail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copies {
    pub(super) count: u64,
    pub(super) altered: bool,
    pub(super) hash: [u8; 32],
}

/// Notes every mail, and answers as slowly as it is told to.
pub(super) struct Recorder {
    had: Mutex<HashMap<String, Copies>>,
    taken: AtomicU64,
    /// The mean wait before a dot is answered.
    wait_us: AtomicU64,
    random: Random,
}

impl Recorder {
    pub(super) fn new(random: Random) -> Self {
        Self { had: Mutex::default(), taken: AtomicU64::new(0), wait_us: AtomicU64::new(1000), random }
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    pub(super) fn set_wait(&self, wait: Duration) {
        self.wait_us.store(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(super) fn had(&self) -> HashMap<String, Copies> {
        self.had.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Recorder {
    fn taken(&self, taken: Taken<'_>) -> Duration {
        let id = message_id(taken.bytes).unwrap_or_default();
        let hash: [u8; 32] = Sha256::digest(taken.bytes).into();
        let mut had = self.had.lock().unwrap_or_else(PoisonError::into_inner);
        had.entry(id)
            .and_modify(|copies| {
                copies.count += 1;
                copies.altered |= copies.hash != hash;
            })
            .or_insert(Copies { count: 1, altered: false, hash });
        drop(had);
        self.taken.fetch_add(1, Ordering::AcqRel);
        let wait = self.wait_us.load(Ordering::Acquire);
        if wait == 0 { Duration::ZERO } else { Duration::from_micros(self.random.between(0, wait * 2 + 1)) }
    }
}

fn message_id(bytes: &[u8]) -> Option<String> {
    let at = memchr::memmem::find(bytes, b"\r\nMessage-ID: ")? + 14;
    let end = memchr::memchr(b'\r', &bytes[at..])?;
    Some(String::from_utf8_lossy(&bytes[at..at + end]).into_owned())
}
