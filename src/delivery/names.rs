//! Questions about our own names: what the world reads there before it takes our mail.
//!
//! Asked by `doctor` alone, over the same resolver as where mail goes. What nobody has said is an error, and never an
//! empty answer: silence does not tell that a record is missing.

use std::net::{IpAddr, SocketAddr};

use futures_util::future::try_join_all;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::mx::dns::{Dns, Found};
use super::mx::order::{Says, says};
use crate::clock::Random;

/// Whoever is asked; cheap to clone.
#[derive(Clone, Debug)]
pub struct Names(Dns);

/// Which hosts take a domain's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// These, the most preferred first.
    Hosts(Vec<String>),
    /// None, and it says so (RFC 7505).
    NoMail,
    /// It has no MX record.
    NoRecord,
}

/// What a record that is published at a name would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breaks {
    /// The name is an alias of this one, and nothing may stand beside it (RFC 1034 3.6.2).
    Alias(String),
    /// A wildcard stands in for the name as long as nothing stands there itself (RFC 4592 2.2.2, 3.3.1).
    Wildcard,
}

impl Names {
    /// Asks this resolver, or the system's.
    ///
    /// # Errors
    /// The system names none that can be read.
    pub fn new(resolver: Option<SocketAddr>, random: Random) -> Result<Self, String> {
        Dns::new(resolver, random).map(Self)
    }

    /// Whether no resolver answers at all.
    pub async fn is_silent(&self) -> bool {
        self.0.is_silent().await
    }

    /// The texts of a name, each with its parts put together.
    ///
    /// # Errors
    /// Nobody said.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let text = |record: &RData| match record {
            RData::TXT(txt) => {
                Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect::<String>())
            }
            _ => None,
        };
        Ok(self.records(name, RecordType::TXT).await?.iter().filter_map(text).collect())
    }

    /// Which hosts take a domain's mail.
    ///
    /// # Errors
    /// Nobody said.
    pub async fn takes_mail(&self, domain: &str) -> Result<Takes, String> {
        let records = self.records(domain, RecordType::MX).await?;
        if records.is_empty() {
            return Ok(Takes::NoRecord);
        }
        let records = records.into_iter().filter_map(|record| match record {
            RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
            _ => None,
        });
        Ok(match says(records) {
            Says::TakesNone => Takes::NoMail,
            Says::Hosts(hosts) => Takes::Hosts(hosts.into_iter().map(|(_, name)| name).collect()),
        })
    }

    /// What a record at this name would break.
    ///
    /// # Errors
    /// Nobody said.
    pub async fn breaks(&self, name: &str) -> Result<Option<Breaks>, String> {
        let answer = self.0.ask(name, RecordType::TXT).await.map_err(|error| error.to_string())?;
        if let Some(target) = answer.alias_of {
            return Ok(Some(Breaks::Alias(target)));
        }
        // What stands in for a name does so for all below and beside it; one of its own has but the former.
        let unheard_of = self.0.unheard_of();
        let above = name.split_once('.').map_or("", |(_, above)| above);
        let below = self.is_there(&format!("{unheard_of}.{name}")).await?;
        let is_wild = below && self.is_there(&format!("{unheard_of}.{above}")).await?;
        Ok(is_wild.then_some(Breaks::Wildcard))
    }

    /// Whether a name has anything that mail hangs on.
    async fn is_there(&self, name: &str) -> Result<bool, String> {
        let kinds = [RecordType::MX, RecordType::A, RecordType::AAAA, RecordType::TXT];
        let answers = try_join_all(kinds.map(|kind| self.0.ask(name, kind))).await;
        let answers = answers.map_err(|error| error.to_string())?;
        Ok(answers
            .iter()
            .any(|answer| answer.alias_of.is_some() || matches!(answer.found, Found::Records(_))))
    }

    /// The addresses of a host, of both kinds.
    ///
    /// # Errors
    /// Nobody said, be it of one kind alone: half of them are not all.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let address = |record: &RData| match record {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        };
        let (four, six) =
            tokio::join!(self.records(host, RecordType::A), self.records(host, RecordType::AAAA));
        Ok(four?.iter().chain(&six?).filter_map(address).collect())
    }

    /// The names of an address (PTR), in lower case and without the dot at their end.
    ///
    /// # Errors
    /// Nobody said.
    pub async fn names_of(&self, ip: IpAddr) -> Result<Vec<String>, String> {
        let name = |record: &RData| match record {
            RData::PTR(ptr) => Some(ptr.0.to_ascii().trim_end_matches('.').to_ascii_lowercase()),
            _ => None,
        };
        Ok(self.records(&reverse(ip), RecordType::PTR).await?.iter().filter_map(name).collect())
    }

    async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, String> {
        match self.0.ask(name, kind).await {
            Ok(answer) => Ok(match answer.found {
                Found::Records(records) => records,
                Found::Nothing | Found::NoSuchName => Vec::new(),
            }),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The name under which an address has its names.
pub fn reverse(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let labels: Vec<String> = ip.octets().iter().rev().map(u8::to_string).collect();
            format!("{}.in-addr.arpa", labels.join("."))
        }
        IpAddr::V6(ip) => {
            let pair = |octet: &u8| format!("{:x}.{:x}", octet & 0xf, octet >> 4);
            let labels: Vec<String> = ip.octets().iter().rev().map(pair).collect();
            format!("{}.ip6.arpa", labels.join("."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_names_under_its_reverse() {
        assert_eq!(reverse("192.0.2.7".parse().unwrap()), "7.2.0.192.in-addr.arpa");
        let six = reverse("2001:db8::1".parse().unwrap());
        assert!(six.starts_with("1.0.0.0.") && six.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"), "{six}");
        assert_eq!(six.matches('.').count(), 33);
    }
}
