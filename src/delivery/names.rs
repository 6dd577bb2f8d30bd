//! Questions about our own names: what the world reads there before it takes our mail.
//!
//! Asked by `doctor` alone, over the same resolver as where mail goes. What nobody has said is an error, and never an
//! empty answer: silence does not tell that a record is missing.

use std::net::{IpAddr, SocketAddr};

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

    /// The addresses of a host.
    ///
    /// # Errors
    /// Nobody said.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let found = self.0.addresses(host).await.map_err(|error| error.to_string())?;
        Ok(found.into_iter().flat_map(|addresses| addresses.ips).collect())
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
