//! Logs that a person can read and a machine can parse, on standard error.
//!
//! No addresses, tokens or bodies in them: ids, or [`masked`]. `error` means that someone must act; what is met again and
//! again while it lasts is a [`Trouble`].

mod trouble;

use std::fmt::Debug;
use std::io::IsTerminal as _;

use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{Log, LogFormat};
pub use trouble::Trouble;

/// Starts logging; a second call changes nothing. Libraries are heard from `warn` up unless `level` names them; of the
/// database's connections, from `error` up unless it names `sqlx_core::pool`.
pub fn start(log: &Log) {
    // That a connection is gone is told by whoever needs one, if nobody could have another.
    // That a certificate does not hold is told by whoever asked, with where it was.
    let targets: Targets = format!(
        "sqlx=warn,sqlx_core::pool=error,rustls_platform_verifier=off,lettre=warn,hyper=warn,html5ever=error,\
         selectors=error,{}",
        log.level
    )
    .parse()
    .unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    let registry = tracing_subscriber::registry();
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match log.format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let layer = layer.fmt_fields(debug_fn(field).delimited(" "));
            registry.with(layer.with_ansi(colour).with_filter(targets)).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true).with_filter(targets)).try_init(),
    };
    // Only a second start can fail, in tests that share a process.
    drop(started);
}

/// One field of an event. A statement that was slow is named by its first words, its `summary`: the whole of it would
/// fill the screen, and stands in the code.
fn field(out: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    match field.name() {
        "message" => write!(out, "{value:?}"),
        "db.statement" => Ok(()),
        name if name.starts_with("log.") => Ok(()),
        name => write!(out, "{name}={value:?}"),
    }
}

/// An address as logs may show it: `a***@e***.org`.
pub fn masked(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let (name, tld) = domain.rsplit_once('.').unwrap_or((domain, ""));
    let first = |text: &str| text.chars().next().map_or_else(String::new, |c| c.to_string());
    let tld = if tld.is_empty() { String::new() } else { format!(".{tld}") };
    format!("{}***@{}***{tld}", first(local), first(name))
}

/// Somebody else's words as logs and alarms may show them, with every address in them [`masked`].
pub fn nameless(words: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "<>()[]{}\"'`,;:|=".contains(c);
    let part = |part: &str| {
        let word = part.trim_end_matches(ends);
        if word.contains('@') { format!("{}{}", masked(word), &part[word.len()..]) } else { part.to_owned() }
    };
    words.split_inclusive(ends).map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::instrument::WithSubscriber as _;

    use super::*;

    #[test]
    fn p8_an_address_in_a_log_names_nobody() {
        assert_eq!(masked("awa.diop@example.org"), "a***@e***.org");
        assert_eq!(masked("nonsense"), "n***@***");
        assert_eq!(
            nameless("550 5.1.1 <awa.diop@example.org>: no mailbox of awa@x here; \u{e9}@ (S3150)"),
            "550 5.1.1 <a***@e***.org>: no mailbox of a***@x*** here; \u{e9}***@*** (S3150)"
        );
    }

    /// What is logged meanwhile, as lines.
    pub(super) async fn heard(doing: impl Future<Output = ()>) -> String {
        #[derive(Clone, Default)]
        struct Heard(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Heard {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let heard = Heard::default();
        let own = heard.clone();
        let layer = fmt::layer().with_ansi(false).with_target(false).with_writer(move || own.clone());
        let layer = layer.fmt_fields(debug_fn(field).delimited(" "));
        doing.with_subscriber(tracing_subscriber::registry().with(layer)).await;
        let heard = heard.0.lock().unwrap().clone();
        String::from_utf8(heard).unwrap()
    }

    #[tokio::test]
    async fn a_slow_statement_is_named_and_not_shown() {
        let heard = heard(async {
            let statement = "SELECT everything FROM somewhere WHERE it = 'is long'";
            tracing::warn!(summary = "SELECT everything", db.statement = statement, "slow statement");
        });
        let heard = heard.await;
        assert!(heard.contains("slow statement summary=\"SELECT everything\""), "{heard}");
        assert!(!heard.contains("somewhere"), "{heard}");
    }
}
