//! `[relay.NAME]`: the servers that take mail from us.

use secrecy::SecretString;
use url::Url;

use super::reader::Section;
use super::values::{self, Rate};

/// What kind of relay it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayKind {
    /// An SMTP server.
    Smtp,
    /// The built-in inbox; refused outside `demo` and `rehearse`.
    Inbox,
}

/// Whether the wire is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS when offered.
    Opportunistic,
    /// STARTTLS, or nothing is sent.
    Required,
    /// Never.
    None,
    /// From the first byte (`smtps://`).
    Implicit,
}

/// One relay.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Its name in the configuration.
    pub name: String,
    /// What kind it is.
    pub kind: RelayKind,
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the wire is encrypted.
    pub tls: Tls,
    /// The most connections at a time, of one daemon.
    pub connections: u32,
    /// After so many messages a connection is closed and a new one opened.
    pub messages_per_connection: u32,
    /// The most messages, of all daemons together.
    pub rate: Option<Rate>,
    /// Who we are, where the relay asks.
    pub username: Option<String>,
    /// And how we prove it.
    pub password: Option<SecretString>,
    /// Its share beside others; 0 = only when the others are down.
    pub weight: u32,
    /// The name we greet with.
    pub helo: Option<String>,
}

impl Relay {
    pub(super) fn read(name: &str, section: &Section) -> Option<Self> {
        section.required("url");
        let place = section.parse("url", place);
        let relay = Self {
            name: name.to_owned(),
            kind: RelayKind::Smtp,
            host: String::new(),
            port: 25,
            tls: Tls::Opportunistic,
            connections: section.count("connections", 1..=500).unwrap_or(10),
            messages_per_connection: section.count("messages_per_connection", 1..=1_000_000).unwrap_or(100),
            rate: section.parse("rate", values::rate),
            username: section.text("username"),
            password: section.secret_file("password_file"),
            weight: section.count("weight", 0..=1000).unwrap_or(1),
            helo: section.text("helo"),
        };
        if relay.username.is_some() != section.has("password_file") {
            section.fault("username", "username and password_file go together");
        }
        let (kind, host, port, tls) = place?;
        if relay.username.is_some() && tls == Tls::None && !is_loopback(&host) {
            section.fault("url", "a password is not sent without TLS to another machine");
        }
        Some(Self { kind, host, port, tls, ..relay })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn place(text: &str) -> Result<(RelayKind, String, u16, Tls), String> {
    if text == "mx:" || text == "mx://" {
        return Err(
            "straight to the receivers' servers is not possible: name a relay, smtp://HOST:PORT".to_owned()
        );
    }
    let wrong = || {
        format!(
            "expected smtp://HOST:PORT (with ?tls=required or ?tls=none) or smtps://HOST:PORT, found {text:?}"
        )
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a password has no place in a URL: use username and password_file".to_owned());
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let mut tls = None;
    for (key, value) in url.query_pairs() {
        tls = match (key.as_ref(), value.as_ref()) {
            ("tls", "required") => Some(Tls::Required),
            ("tls", "none") => Some(Tls::None),
            ("tls", "opportunistic") => Some(Tls::Opportunistic),
            _ => return Err(format!("{key}={value} means nothing here; known: tls=required, tls=none")),
        };
    }
    match (url.scheme(), tls) {
        ("smtp", tls) => {
            Ok((RelayKind::Smtp, host, url.port().unwrap_or(25), tls.unwrap_or(Tls::Opportunistic)))
        }
        ("smtps", None | Some(Tls::Required)) => {
            Ok((RelayKind::Smtp, host, url.port().unwrap_or(465), Tls::Implicit))
        }
        ("inbox", None) => Ok((RelayKind::Inbox, host, url.port().unwrap_or(2525), Tls::None)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_url_says_where_and_how_encrypted() {
        let smtp = |port, tls| Ok((RelayKind::Smtp, "mx.example.org".to_owned(), port, tls));
        assert_eq!(place("smtp://mx.example.org"), smtp(25, Tls::Opportunistic));
        assert_eq!(place("smtp://mx.example.org:587?tls=required"), smtp(587, Tls::Required));
        assert_eq!(place("smtp://mx.example.org?tls=none"), smtp(25, Tls::None));
        assert_eq!(place("smtps://mx.example.org"), smtp(465, Tls::Implicit));
        assert!(place("smtp://me:secret@mx.example.org").unwrap_err().contains("password_file"));
        assert!(place("http://mx.example.org").is_err());
        assert!(place("mx:").unwrap_err().contains("name a relay"));
        assert!(place("smtp://mx.example.org?tsl=none").unwrap_err().contains("tsl=none"));
    }
}
