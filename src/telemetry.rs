//! Logs that a person can read and a machine can parse, on standard error.
//!
//! No addresses, tokens or bodies in them: ids, or [`masked`]. `error` means that someone must act.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{Log, LogFormat};

/// Starts logging; a second call changes nothing. Libraries are heard from `warn` up unless `level` names them.
pub fn start(log: &Log) {
    let targets: Targets =
        format!("sqlx=warn,lettre=warn,hyper=warn,html5ever=error,selectors=error,{}", log.level)
            .parse()
            .unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    let registry = tracing_subscriber::registry();
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match log.format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(layer.with_ansi(colour).with_filter(targets)).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true).with_filter(targets)).try_init(),
    };
    // Only a second start can fail, in tests that share a process.
    drop(started);
}

/// An address as logs may show it: `a***@e***.org`.
pub fn masked(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let (name, tld) = domain.rsplit_once('.').unwrap_or((domain, ""));
    let first = |text: &str| text.chars().next().map_or_else(String::new, |c| c.to_string());
    let tld = if tld.is_empty() { String::new() } else { format!(".{tld}") };
    format!("{}***@{}***{tld}", first(local), first(name))
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn p8_an_address_in_a_log_names_nobody() {
        assert_eq!(masked("awa.diop@example.org"), "a***@e***.org");
        assert_eq!(masked("nonsense"), "n***@***");
    }
}
