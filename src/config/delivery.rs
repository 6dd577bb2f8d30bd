//! `[delivery]`, `[bounces]`, `[notices]`, `[dkim.DOMAIN]`: how mail leaves the house.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use secrecy::SecretString;

use super::reader::Section;

/// What becomes of a delivery whose dot may have left without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uncertain {
    /// The same bytes go out again.
    #[default]
    Resend,
    /// It rests until an operator decides.
    Hold,
}

/// The `[delivery]` section.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The waits after temporary failures; the last one is followed by an hour, again and again.
    pub retry: Vec<Duration>,
    /// How long a daemon is believed alive without a sign of life.
    pub lease: Duration,
    /// What becomes of uncertain deliveries.
    pub uncertain: Uncertain,
    /// The machine's name in the ledger; the machine's own mark where `None`.
    pub host: Option<String>,
    /// Deliveries claimed at a time.
    pub batch: u32,
    /// How long a commit waits for more connections to join.
    pub linger: Duration,
    /// What replies mean, instead of the table compiled in.
    pub rules_file: Option<PathBuf>,
    /// What receiving providers bear, instead of the table compiled in.
    pub providers_file: Option<PathBuf>,
    /// Who is asked about names, where mail goes straight to the receivers' servers; the system's where `None`.
    pub resolver: Option<SocketAddr>,
    /// The deadlines of the wire.
    pub timeouts: Timeouts,
}

/// The `[delivery.timeouts]` section (RFC 5321 4.5.3.2).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// Until the greeting.
    pub banner: Duration,
    /// Until the reply to MAIL, and to EHLO, STARTTLS, AUTH, RSET.
    pub mail: Duration,
    /// Until the reply to RCPT.
    pub rcpt: Duration,
    /// Until the reply to DATA.
    pub data: Duration,
    /// Until one block of the body is written.
    pub block: Duration,
    /// Until the reply to the final dot.
    pub dot: Duration,
}

impl Delivery {
    pub(super) fn read(section: &Section) -> Self {
        let mut retry = section.parsed_list("retry", super::values::duration);
        if retry.is_empty() {
            section.fault("retry", "needs at least one wait, such as [\"1m\", \"3m\"]");
            retry = vec![Duration::from_secs(60)];
        }
        let lease = section.duration("lease").unwrap_or(Duration::from_secs(60));
        if lease < Duration::from_millis(300) {
            section.fault("lease", "is renewed every third of it: at least \"300ms\"");
        }
        let linger = section.duration("linger").unwrap_or(Duration::from_millis(1));
        if linger > Duration::from_secs(1) {
            section.fault("linger", "keeps every dot waiting: at most \"1s\"");
        }
        let uncertain = section.parse("uncertain", |text| match text {
            "resend" => Ok(Uncertain::Resend),
            "hold" => Ok(Uncertain::Hold),
            other => Err(format!("expected \"resend\" or \"hold\", found {other:?}")),
        });
        Self {
            retry,
            lease,
            uncertain: uncertain.unwrap_or_default(),
            host: section.text("host"),
            batch: section.count("batch", 1..=10_000).unwrap_or(500),
            linger,
            rules_file: section.path("rules_file"),
            providers_file: section.path("providers_file"),
            resolver: section.parse("resolver", resolver),
            timeouts: Timeouts::read(&section.section("timeouts")),
        }
    }
}

fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().or_else(|_| text.parse().map(|ip: std::net::IpAddr| SocketAddr::new(ip, 53)));
    address.map_err(|_| {
        format!("expected an address such as \"127.0.0.1\" or \"127.0.0.1:5353\", found {text:?}")
    })
}

impl Timeouts {
    fn read(section: &Section) -> Self {
        let or = |key, seconds| section.duration(key).unwrap_or(Duration::from_secs(seconds));
        Self {
            connect: or("connect", 30),
            banner: or("banner", 300),
            mail: or("mail", 300),
            rcpt: or("rcpt", 300),
            data: or("data", 120),
            block: or("block", 180),
            dot: or("dot", 600),
        }
    }
}

/// The `[bounces]` section.
#[derive(Clone, Debug)]
pub struct Bounces {
    /// The return path's domain; the newsletter's own where `None`.
    pub domain: Option<String>,
}

impl Bounces {
    pub(super) fn read(section: &Section) -> Self {
        Self { domain: section.parse("domain", domain) }
    }
}

/// The `[notices]` section.
#[derive(Clone, Debug)]
pub struct Notices {
    /// The relay they leave through; the newsletter's first where `None`.
    pub relay: Option<String>,
    /// Who they are from; the newsletter's From where `None`.
    pub from: Option<Mailbox>,
}

impl Notices {
    pub(super) fn read(section: &Section) -> Self {
        Self { relay: section.text("relay"), from: section.parse("from", super::newsletter::mailbox) }
    }
}

/// One `[dkim."DOMAIN"]` section.
#[derive(Clone, Debug)]
pub struct Dkim {
    /// The signing domain (`d=`).
    pub domain: String,
    /// The selector (`s=`).
    pub selector: String,
    /// The RSA key as PEM text.
    pub key: SecretString,
}

impl Dkim {
    pub(super) fn read(name: &str, section: &Section) -> Option<Self> {
        let selector = section.required("selector");
        section.required("key_file");
        let key = section.secret_file("key_file");
        if let Err(message) = domain(name) {
            section.fault("selector", message);
        }
        Some(Self { domain: name.to_ascii_lowercase(), selector, key: key? })
    }
}

/// A domain name in A-labels, lower case.
pub fn domain(text: &str) -> Result<String, String> {
    idna::domain_to_ascii_strict(text)
        .ok()
        .filter(|domain| !domain.is_empty() && !text.contains(char::is_whitespace))
        .ok_or_else(|| format!("expected a domain such as \"news.example.org\", found {text:?}"))
}
