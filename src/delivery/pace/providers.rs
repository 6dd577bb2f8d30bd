//! What is known of receiving providers: who they are by their MX hosts, what they bear, and what their words ask for.
//!
//! Rules as data (`providers.toml`), compiled in and replaceable. A rule that names a provider which is not in the same
//! file is an error: a misspelt name would silently switch the rule off.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::config::{Rate, values};
use crate::delivery::reply::Reply;
use crate::delivery::rules::{Fits, at};

const RULES: &str = include_str!("providers.toml");

/// Whether what goes to a provider is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsPolicy {
    /// Where it is offered.
    #[default]
    Opportunistic,
    /// With a certificate that names the host, or nothing is sent.
    Required,
}

/// What a provider bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bears {
    /// Connections at a time, of all daemons together.
    pub connections: u32,
    /// Messages on one connection.
    pub messages_per_connection: u32,
    /// Messages in a length of time, of all daemons together.
    pub rate: Option<Rate>,
    /// Whether it is encrypted.
    pub tls: TlsPolicy,
}

/// What a reply asks for, of everything that goes to its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asks {
    /// Nothing is sent for so long.
    pub suspend: Duration,
    /// And then over no more connections than this.
    pub connections: Option<u32>,
    /// And no faster than this.
    pub rate: Option<Rate>,
    /// How long these hold before the first step back.
    pub lasts: Duration,
    /// How long each step takes.
    pub step: Duration,
}

#[derive(Clone, Debug)]
struct Provider {
    mx: Vec<String>,
    bears: Bears,
}

#[derive(Clone, Debug)]
struct Signal {
    provider: Option<String>,
    fits: Fits,
    asks: Asks,
}

/// The rules.
#[derive(Clone, Debug)]
pub struct Providers {
    default: Bears,
    known: BTreeMap<String, Provider>,
    signals: Vec<Signal>,
}

impl Providers {
    /// The rules compiled in.
    pub fn built_in() -> Self {
        Self::parse(RULES).expect("the rules compiled in are tested to parse")
    }

    /// The rules of this file, or those compiled in.
    ///
    /// # Errors
    /// What is wrong, with the file's name and the line.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        let Some(path) = file else { return Ok(Self::built_in()) };
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        text.and_then(|text| Self::parse(&text)).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Rules from a file's text.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: file::Rules = toml::from_str(text).map_err(|error| error.to_string())?;
        let default = file.default.over(None).map_err(|(span, why)| at(text, span, &why))?;
        let mut known = BTreeMap::new();
        for (name, provider) in file.provider {
            let named =
                |(span, why): (Range<usize>, String)| at(text, span, &format!("provider.{name}: {why}"));
            let bears = provider.bears.over(Some(default)).map_err(named)?;
            if provider.mx.get_ref().is_empty() {
                return Err(at(
                    text,
                    provider.mx.span(),
                    &format!("provider.{name}.mx: is empty: nobody would fit"),
                ));
            }
            let mx = provider.mx.into_inner().iter().map(|host| host.to_ascii_lowercase()).collect();
            known.insert(name, Provider { mx, bears });
        }
        let mut signals = Vec::new();
        for signal in file.signal {
            let place = signal.span();
            let signal = signal.into_inner();
            if let Some(name) = signal.provider.as_ref().filter(|name| !known.contains_key(name.get_ref())) {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let why = format!(
                    "signal.provider: there is no [provider.{}]; known: {}",
                    name.get_ref(),
                    names.join(", ")
                );
                return Err(at(text, name.span(), &why));
            }
            signals.push(signal.read(place).map_err(|(span, why)| at(text, span, &why))?);
        }
        Ok(Self { default, known, signals })
    }

    /// The provider that a host belongs to, by its name; `None` where no rule fits it.
    pub fn of_host(&self, host: &str) -> Option<&str> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let mut fitting: Vec<(usize, &str)> = self
            .known
            .iter()
            .flat_map(|(name, provider)| provider.mx.iter().map(move |mx| (mx, name)))
            .filter(|(mx, _)| fits_host(mx, &host))
            .map(|(mx, name)| (mx.len(), name.as_str()))
            .collect();
        // The narrowest entry knows best.
        fitting.sort_unstable();
        fitting.last().map(|(_, name)| *name)
    }

    /// What this provider bears; the default where it is not known.
    pub fn bears(&self, provider: &str) -> Bears {
        self.known.get(provider).map_or(self.default, |provider| provider.bears)
    }

    /// What this reply of that provider asks for.
    pub fn asks(&self, provider: &str, reply: &Reply) -> Option<Asks> {
        let text = reply.words();
        self.signals
            .iter()
            .filter(|signal| signal.provider.as_deref().is_none_or(|name| name == provider))
            .find(|signal| signal.fits.fit(reply, &text))
            .map(|signal| signal.asks)
    }

    /// Whether there are rules for this provider.
    pub fn knows(&self, provider: &str) -> bool {
        self.known.contains_key(provider)
    }
}

fn fits_host(mx: &str, host: &str) -> bool {
    if mx.starts_with('.') { host.ends_with(mx) } else { host == mx }
}

/// The file as it is written.
mod file {
    use super::{
        Asks, BTreeMap, Bears, Deserialize, Duration, Fits, Range, Rate, Signal, Spanned, TlsPolicy, values,
    };

    type Fault = (Range<usize>, String);

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Rules {
        pub(super) default: BearsText,
        #[serde(default)]
        pub(super) provider: BTreeMap<String, ProviderText>,
        #[serde(default)]
        pub(super) signal: Vec<Spanned<SignalText>>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct BearsText {
        connections: Option<Spanned<u32>>,
        messages_per_connection: Option<Spanned<u32>>,
        rate: Option<Spanned<String>>,
        tls: Option<TlsPolicy>,
    }

    // serde cannot flatten where unknown keys are refused: the keys stand here again.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, from = "ProviderKeys")]
    pub(super) struct ProviderText {
        pub(super) mx: Spanned<Vec<String>>,
        pub(super) bears: BearsText,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ProviderKeys {
        mx: Spanned<Vec<String>>,
        connections: Option<Spanned<u32>>,
        messages_per_connection: Option<Spanned<u32>>,
        rate: Option<Spanned<String>>,
        tls: Option<TlsPolicy>,
    }

    impl From<ProviderKeys> for ProviderText {
        fn from(keys: ProviderKeys) -> Self {
            let ProviderKeys { mx, connections, messages_per_connection, rate, tls } = keys;
            Self { mx, bears: BearsText { connections, messages_per_connection, rate, tls } }
        }
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct SignalText {
        pub(super) provider: Option<Spanned<String>>,
        #[serde(default)]
        codes: Vec<u16>,
        #[serde(default)]
        enhanced: Vec<String>,
        #[serde(default)]
        text: Vec<String>,
        suspend: Option<Spanned<String>>,
        connections: Option<Spanned<u32>>,
        rate: Option<Spanned<String>>,
        lasts: Option<Spanned<String>>,
        step: Option<Spanned<String>>,
    }

    fn count(key: &str, value: Option<Spanned<u32>>, most: u32) -> Result<Option<u32>, Fault> {
        match value {
            Some(value) if !(1..=most).contains(value.get_ref()) => {
                Err((value.span(), format!("{key}: {} is not between 1 and {most}", value.get_ref())))
            }
            value => Ok(value.map(Spanned::into_inner)),
        }
    }

    fn rate(value: Option<Spanned<String>>) -> Result<Option<Rate>, Fault> {
        value
            .map(|value| values::rate(value.get_ref()).map_err(|why| (value.span(), format!("rate: {why}"))))
            .transpose()
    }

    fn length(key: &str, value: Option<Spanned<String>>) -> Result<Option<Duration>, Fault> {
        value
            .map(|value| {
                values::duration(value.get_ref()).map_err(|why| (value.span(), format!("{key}: {why}")))
            })
            .transpose()
    }

    impl BearsText {
        pub(super) fn over(self, default: Option<Bears>) -> Result<Bears, Fault> {
            // Microsoft's ceiling for anybody without an arrangement (T15), and far beyond what is wise.
            let connections = count("connections", self.connections, 500)?;
            let messages = count("messages_per_connection", self.messages_per_connection, 1_000_000)?;
            Ok(Bears {
                connections: connections.or(default.map(|d| d.connections)).unwrap_or(10),
                messages_per_connection: messages
                    .or(default.map(|d| d.messages_per_connection))
                    .unwrap_or(100),
                rate: rate(self.rate)?.or(default.and_then(|d| d.rate)),
                tls: self.tls.or(default.map(|d| d.tls)).unwrap_or_default(),
            })
        }
    }

    impl SignalText {
        pub(super) fn read(self, place: Range<usize>) -> Result<Signal, Fault> {
            let asks = Asks {
                suspend: length("suspend", self.suspend)?.unwrap_or_default(),
                connections: count("connections", self.connections, 500)?,
                rate: rate(self.rate)?,
                lasts: length("lasts", self.lasts)?.unwrap_or_default(),
                step: length("step", self.step)?.unwrap_or(Duration::from_secs(300)),
            };
            if asks.suspend.is_zero() && asks.connections.is_none() && asks.rate.is_none() {
                return Err((
                    place,
                    "signal: asks for nothing: suspend, connections or rate is missing".to_owned(),
                ));
            }
            let fits = Fits::new(self.codes, &self.enhanced, &self.text)
                .map_err(|why| (place, format!("signal: {why}")))?;
            Ok(Signal { provider: self.provider.map(Spanned::into_inner), fits, asks })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_providers_are_found_by_their_mx_hosts() {
        let providers = Providers::built_in();
        let table = [
            ("gmail-smtp-in.l.google.com.", Some("google")),
            ("ALT1.ASPMX.L.GOOGLE.COM", Some("google")),
            ("mta5.am0.yahoodns.net", Some("yahoo")),
            ("outlook-com.olc.protection.outlook.com", Some("outlook")),
            ("example-org.mail.protection.outlook.com", Some("office365")),
            ("example-org.a-v1.mx.microsoft", Some("office365")),
            ("mx01.mail.icloud.com", Some("apple")),
            ("smtp-in.orange.fr", Some("orange")),
            ("mx-ha.web.de", Some("gmx")),
            ("mx1.example.org", None),
            ("notgoogle.com", None),
            ("google.com.example.org", None),
        ];
        for (host, expected) in table {
            assert_eq!(providers.of_host(host), expected, "{host}");
        }
    }

    #[test]
    fn section_4_is_what_the_rules_say() {
        let providers = Providers::built_in();
        let bears = |name| {
            let bears = providers.bears(name);
            (bears.connections, bears.messages_per_connection, bears.tls)
        };
        assert_eq!(bears("nobody known"), (10, 100, TlsPolicy::Opportunistic));
        assert_eq!(bears("google"), (5, 50, TlsPolicy::Required));
        assert_eq!(bears("yahoo"), (10, 20, TlsPolicy::Opportunistic));
        assert_eq!(bears("outlook"), (5, 50, TlsPolicy::Opportunistic));
        assert_eq!(bears("apple"), (10, 5, TlsPolicy::Opportunistic));
        assert_eq!(bears("orange"), (2, 100, TlsPolicy::Required));
        assert_eq!(bears("gmx"), (4, 20, TlsPolicy::Required));
        assert_eq!(providers.bears("yahoo").rate, values::rate("100/s").ok());
    }

    #[test]
    fn section_4_signals_ask_for_what_they_say() {
        let providers = Providers::built_in();
        let minutes = |n: u64| Duration::from_secs(n * 60);
        let asks = |provider, code, text| providers.asks(provider, &Reply::new(code, text));
        let google = asks("google", 421, "4.7.28 Gmail has detected an unusual rate of email").unwrap();
        assert_eq!((google.suspend, google.connections), (minutes(10), Some(1)));
        assert_eq!(
            asks("yahoo", 421, "4.7.0 [TSS04] Messages temporarily deferred").unwrap().suspend,
            minutes(120)
        );
        assert_eq!(asks("yahoo", 421, "4.7.0 [TSS05] Messages deferred").unwrap().suspend, minutes(240));
        assert_eq!(asks("yahoo", 421, "4.7.0 [TS02] deferred").unwrap().rate, values::rate("1/m").ok());
        assert_eq!(asks("orange", 421, "Trop de connexions OFR005_104").unwrap().connections, Some(1));
        assert_eq!(asks("apple", 421, "4.7.1 [HCM1] try again").unwrap().suspend, minutes(15));
        assert_eq!(asks("office365", 550, "5.7.1 our block list (S3150)").unwrap().suspend, minutes(120));
        let other = asks("example.org", 451, "4.7.1 Server busy, come back").unwrap();
        assert_eq!((other.connections, other.lasts), (Some(1), minutes(90)));
        assert_eq!(asks("google", 550, "5.1.1 no such user"), None);
    }

    #[test]
    fn p10_a_rule_for_nobody_is_told_with_line_and_key() {
        let rules = |more: &str| {
            Providers::parse(&format!("[default]\n[provider.google]\nmx = [\".google.com\"]\n{more}"))
        };
        assert!(rules("").is_ok());
        let told =
            rules("[[signal]]\ntext = [\"slow\"]\nprovider = \"gmail\"\nsuspend = \"1m\"\n").unwrap_err();
        assert_eq!(told, "line 6: signal.provider: there is no [provider.gmail]; known: google");
        let told = rules("[[signal]]\ntext = [\"slow\"]\nsuspend = \"soon\"\n").unwrap_err();
        assert!(told.starts_with("line 6: suspend: expected a length of time"), "{told}");
        let told = rules("conections = 3\n").unwrap_err();
        assert!(told.contains("line 4") && told.contains("conections"), "{told}");
        assert!(
            rules("connections = 0\n").unwrap_err().starts_with("line 4: provider.google: connections: 0")
        );
        assert!(rules("[[signal]]\ntext = [\"slow\"]\n").unwrap_err().contains("asks for nothing"));
        assert!(rules("[[signal]]\nsuspend = \"1m\"\n").unwrap_err().contains("fits every reply"));
        let told = rules("[[signal]]\nenhanced = [\"4.7\"]\nsuspend = \"1m\"\n").unwrap_err();
        assert!(told.starts_with("line 4: signal: enhanced: \"4.7\" is no"), "{told}");
    }
}
