//! `[relay.NAME]`: the servers that take mail from us.

use jiff::civil::Date;
use secrecy::SecretString;
use url::Url;

use super::reader::Section;
use super::values::{self, Rate};

/// What kind of relay it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayKind {
    /// An SMTP server.
    Smtp,
    /// Straight to the servers that the receivers' domains name (MX).
    Mx,
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

/// How a new identity is made known: a cap for each day and receiving provider, which grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUp {
    /// The first day's cap.
    pub start: u32,
    /// What each day's cap is of the day's before; under 2.
    pub growth: f64,
    /// The first day.
    pub from: Date,
}

/// One relay.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Its name in the configuration.
    pub name: String,
    /// What kind it is.
    pub kind: RelayKind,
    /// Its host name or address; empty where the receivers' own servers are written to.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the wire is encrypted: with a password for another machine always, and with who has its name.
    pub tls: Tls,
    /// The most connections at a time, of one daemon, to whomever.
    pub connections: u32,
    /// After so many messages a connection is closed and a new one opened.
    pub messages_per_connection: u32,
    /// The most messages, of all daemons together.
    pub rate: Option<Rate>,
    /// Who we are, where the relay asks.
    pub username: Option<String>,
    /// And how we prove it.
    pub password: Option<SecretString>,
    /// Its share beside others; 0 = what the others do not take: down, paused, at a limit, or out of a receiver's reach.
    pub weight: u32,
    /// The name we greet with.
    pub helo: Option<String>,
    /// Whether the limits of the receiving providers are kept here.
    pub providers: bool,
    /// How a new identity is made known.
    pub warm_up: Option<WarmUp>,
}

impl Relay {
    pub(super) fn read(name: &str, section: &Section) -> Option<Self> {
        section.required("url");
        let place = section.parse("url", place);
        let is_mx = place.as_ref().is_some_and(|(kind, ..)| *kind == RelayKind::Mx);
        let relay = Self {
            name: name.to_owned(),
            kind: RelayKind::Smtp,
            host: String::new(),
            port: 25,
            tls: Tls::Opportunistic,
            connections: section.count("connections", 1..=500).unwrap_or(if is_mx { 100 } else { 10 }),
            messages_per_connection: section.count("messages_per_connection", 1..=1_000_000).unwrap_or(100),
            rate: section.parse("rate", values::rate),
            username: section.text("username"),
            password: section.secret_file("password_file"),
            weight: section.count("weight", 0..=1000).unwrap_or(1),
            helo: section.text("helo"),
            providers: section.flag("providers").unwrap_or(is_mx),
            warm_up: section.has("warm_up").then(|| WarmUp::read(&section.section("warm_up"))).flatten(),
        };
        if is_mx && !relay.providers {
            section.fault("providers", "is always true where the receivers' own servers are written to");
        }
        if is_mx && relay.username.is_some() {
            section.fault("username", "the receivers' own servers ask for no password");
        }
        if relay.warm_up.is_some() && !relay.providers {
            section.fault("warm_up", "its caps are by receiving provider: providers = true goes with it");
        }
        if relay.username.is_some() != section.has("password_file") {
            section.fault("username", "username and password_file go together");
        }
        let (kind, host, port, said) = place?;
        // Whoever strips STARTTLS, or is there with a certificate of their own making, would be given it (RFC 4954 4).
        let is_guarded = relay.username.is_some() && !is_loopback(&host);
        if is_guarded && matches!(said, Some(Tls::None | Tls::Opportunistic)) {
            section.fault("url", "a password is not sent to another machine without TLS and a certificate that names it: tls=required goes with it");
        }
        let usual = if is_guarded { Tls::Required } else { Tls::Opportunistic };
        Some(Self { kind, host, port, tls: said.unwrap_or(usual), ..relay })
    }
}

impl WarmUp {
    fn read(section: &Section) -> Option<Self> {
        for key in ["start", "from"] {
            if !section.has(key) {
                section
                    .fault(key, "is required, such as { start = 500, growth = 1.5, from = \"2026-12-01\" }");
            }
        }
        let start = section.count("start", 1..=10_000_000);
        // Twice as much from one day to the next is what providers answer with limits (V7).
        let growth = section.decimal("growth", 1.0..=1.99);
        let from = section.parse("from", |text| {
            text.parse::<Date>().map_err(|_| "expected a date such as \"2026-12-01\"".to_owned())
        });
        let growth = if section.has("growth") { growth? } else { 1.5 };
        Some(Self { start: start?, growth, from: from? })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What a URL says: the kind of relay, its host and port, and what it says of TLS, if it does.
fn place(text: &str) -> Result<(RelayKind, String, u16, Option<Tls>), String> {
    let wrong = || {
        format!(
            "expected smtp://HOST:PORT (with ?tls=required or ?tls=none), smtps://HOST:PORT or mx:, found {text:?}"
        )
    };
    if let Some(rest) = text.strip_prefix("mx:") {
        let rest = rest.trim_start_matches("//");
        // Another port than 25 is for laboratories: no receiver listens there.
        let port = match rest.strip_prefix("?port=") {
            Some(port) => port.parse().map_err(|_| wrong())?,
            None if rest.is_empty() => 25,
            None => return Err(format!("{rest} means nothing here: write mx: alone")),
        };
        return Ok((RelayKind::Mx, String::new(), port, None));
    }
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
        ("smtp", tls) => Ok((RelayKind::Smtp, host, url.port().unwrap_or(25), tls)),
        ("smtps", None | Some(Tls::Required)) => {
            Ok((RelayKind::Smtp, host, url.port().unwrap_or(465), Some(Tls::Implicit)))
        }
        ("inbox", None) => Ok((RelayKind::Inbox, host, url.port().unwrap_or(2525), Some(Tls::None))),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_relay_url_says_where_and_how_encrypted() {
        let smtp = |port, tls| Ok((RelayKind::Smtp, "mx.example.org".to_owned(), port, tls));
        assert_eq!(place("smtp://mx.example.org"), smtp(25, None));
        assert_eq!(place("smtp://mx.example.org?tls=opportunistic"), smtp(25, Some(Tls::Opportunistic)));
        assert_eq!(place("smtp://mx.example.org:587?tls=required"), smtp(587, Some(Tls::Required)));
        assert_eq!(place("smtp://mx.example.org?tls=none"), smtp(25, Some(Tls::None)));
        assert_eq!(place("smtps://mx.example.org"), smtp(465, Some(Tls::Implicit)));
        assert!(place("smtp://me:secret@mx.example.org").unwrap_err().contains("password_file"));
        assert!(place("http://mx.example.org").is_err());
        assert_eq!(place("mx:"), Ok((RelayKind::Mx, String::new(), 25, None)));
        assert_eq!(place("mx://?port=2525"), Ok((RelayKind::Mx, String::new(), 2525, None)));
        assert!(place("mx:example.org").unwrap_err().contains("mx: alone"));
        assert!(place("smtp://mx.example.org?tsl=none").unwrap_err().contains("tsl=none"));
    }

    #[test]
    fn rfc4954_a_password_goes_to_another_machine_with_tls_and_a_certificate_or_not_at_all() {
        let relay = |url: &str, password: &str| {
            let text = format!("[relay.main]\nurl = \"{url}\"\n{password}");
            config::tests::load(&text, &[]).map(|config| config.relays["main"].tls)
        };
        let password = "username = \"m\"\npassword_file = \"secret.key\"\n";
        let table = [
            ("smtp://mx.example.org:587", Tls::Required),
            ("smtp://mx.example.org:587?tls=required", Tls::Required),
            ("smtps://mx.example.org", Tls::Implicit),
            // Nobody is in between here.
            ("smtp://127.0.0.1", Tls::Opportunistic),
            ("smtp://localhost?tls=none", Tls::None),
        ];
        for (url, tls) in table {
            assert_eq!(relay(url, password), Ok(tls), "{url}");
        }
        for url in ["smtp://mx.example.org?tls=opportunistic", "smtp://mx.example.org?tls=none"] {
            let faults = relay(url, password).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains("relay.main.url")), "{url}: {faults:?}");
        }
        assert_eq!(relay("smtp://mx.example.org", ""), Ok(Tls::Opportunistic), "it has no password to lose");
    }
}
