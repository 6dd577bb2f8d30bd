//! `[web]`, `[log]`, `[fetch]`: the doors to the outside.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use url::Url;

use super::reader::Section;

/// The `[web]` section.
#[derive(Clone, Debug)]
pub struct Web {
    /// Where pages and the push interface are served.
    pub listen: SocketAddr,
    /// What every link in a mail starts with, without a slash at its end.
    pub public_url: Url,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Web {
    pub(super) fn read(section: &Section) -> Self {
        let listen = section.parse("listen", |text| {
            text.parse()
                .map_err(|_| format!("expected an address such as \"127.0.0.1:8080\", found {text:?}"))
        });
        let public_url = section.parse("public_url", |text| {
            Url::parse(text)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
                .filter(|url| url.query().is_none() && url.fragment().is_none())
                .ok_or_else(|| {
                    format!("expected a URL such as \"https://matinale.example.org\", found {text:?}")
                })
        });
        Self {
            listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            public_url: public_url.unwrap_or_else(fallback_url),
            trusted_proxies: section.parsed_list("trusted_proxies", str::parse::<IpAddr>),
        }
    }

    /// The public URL as text, without a slash at its end: links are made by adding `/…`.
    pub fn base(&self) -> &str {
        self.public_url.as_str().trim_end_matches('/')
    }
}

fn fallback_url() -> Url {
    Url::parse("http://127.0.0.1:8080").expect("a constant that is a URL")
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The `[log]` section.
#[derive(Clone, Debug)]
pub struct Log {
    /// For people or machines.
    pub format: LogFormat,
    /// A level, or directives of `tracing-subscriber`.
    pub level: String,
}

impl Log {
    pub(super) fn read(section: &Section) -> Self {
        let format = section.parse("format", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("expected \"text\" or \"json\", found {other:?}")),
        });
        let level = section.parse("level", |text| {
            text.parse::<tracing_subscriber::filter::Targets>()
                .map(|_| text.to_owned())
                .map_err(|_| format!("expected error, warn, info, debug or trace, found {text:?}"))
        });
        Self { format: format.unwrap_or_default(), level: level.unwrap_or_else(|| "info".to_owned()) }
    }
}

/// The `[fetch]` section: how feeds and pages are fetched.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The deadline of one whole answer.
    pub timeout: Duration,
    /// The most bytes of an answer, decoded.
    pub max_bytes: u64,
    /// The most redirects followed.
    pub redirects: u32,
    /// Whether private addresses and odd ports may be reached.
    pub private_addresses: bool,
    /// How we present ourselves.
    pub user_agent: String,
}

impl Fetch {
    pub(super) fn read(section: &Section) -> Self {
        Self {
            timeout: section.duration("timeout").unwrap_or(Duration::from_secs(30)),
            max_bytes: section.size("max_bytes").unwrap_or(8 << 20),
            redirects: section.count("redirects", 0..=20).unwrap_or(5),
            private_addresses: section.flag("private_addresses").unwrap_or(false),
            user_agent: section.required("user_agent"),
        }
    }
}
