//! What is told of relays: once for each change, and until it is over.

use std::io::Write;
use std::sync::{Arc, Mutex};

use matinale::clock::Clock;
use matinale::delivery::{Mode, relay};
use matinale::lifecycle::Shutdown;
use tracing_subscriber::layer::SubscriberExt as _;

use super::ground::prepare_with;
use crate::support::databases::{both, free_port, sqlite};

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_relay_that_is_down_is_told_once_and_not_for_each_connection() {
    let heard = Heard::default();
    let own = heard.clone();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || own.clone());
    let layered = tracing_subscriber::registry().with(layer).with(tracing::level_filters::LevelFilter::WARN);
    // Of this thread alone, on which all of this test runs.
    let _listening = tracing::subscriber::set_default(layered);
    let readers: Vec<String> = (0..40).map(|n| format!("r{n}@example.org")).collect();
    let relay = format!("url = \"smtp://127.0.0.1:{}?tls=none\"\nconnections = 8", free_port());
    let test = sqlite().await;
    let bench = prepare_with(test.db, "", &relay, Clock::system(), &readers).await;
    let mode = Mode { once: true, ..bench.mode() };
    bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
    assert_eq!(bench.counts().await.planned, 40, "nothing of it was tried");
    let text = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("the relay takes nothing").count(), 1, "{text}");
}

#[tokio::test]
async fn why_a_relay_is_down_outlives_a_pause_and_a_resume() {
    for test in both().await {
        let mut tx = test.db.write().await.unwrap();
        let since = "2026-11-24T05:00:00Z".parse().unwrap();
        relay::store::mark_down(&mut tx, "main", since, "no route").await.unwrap();
        for (until, why) in [(Some(i64::MAX), Some("an operator paused it")), (None, None)] {
            relay::store::pause(&mut tx, "main", until, why).await.unwrap();
            let known = relay::store::list(&mut tx).await.unwrap().remove(0);
            assert_eq!(known.reason.as_deref(), Some("no route"), "{}: {until:?}", test.name);
            assert_eq!(known.paused_until, until, "{}", test.name);
        }
        relay::store::mark_up(&mut tx, "main").await.unwrap();
        relay::store::pause(&mut tx, "main", Some(i64::MAX), Some("an operator paused it")).await.unwrap();
        let known = relay::store::list(&mut tx).await.unwrap().remove(0);
        assert_eq!(known.reason.as_deref(), Some("an operator paused it"), "{}", test.name);
        relay::store::pause(&mut tx, "main", None, None).await.unwrap();
        let known = relay::store::list(&mut tx).await.unwrap().remove(0);
        assert_eq!((known.reason, known.paused_until), (None, None), "{}", test.name);
    }
}
