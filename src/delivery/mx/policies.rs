//! Fetches MTA-STS policies and keeps them: over https with a valid certificate, without redirects, never from a cache
//! of somebody else's (RFC 8461 3.3).
//!
//! Where no policy can be had, what was kept holds until it ends; where nothing was kept, it is as if there were none.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::dns::{Dns, Found};
use super::store::{self, Kept};
use super::sts::{self, Policy};
use crate::clock::Clock;
use crate::db::Db;

/// How long a fetch may take (RFC 8461 3.3: a minute at the most).
const PATIENCE: Duration = Duration::from_secs(20);
/// The most that a policy may have (RFC 8461 3.2).
const LARGEST: usize = 64 * 1024;

/// Where policies are kept.
#[derive(Clone, Debug)]
pub(super) struct Policies {
    pub(super) db: Db,
    pub(super) clock: Clock,
}

impl Policies {
    /// What this domain publishes.
    pub(super) async fn find(&self, domain: &str, dns: &Dns) -> Option<Policy> {
        let kept = match self.kept(domain).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%error, "the policies that are kept could not be read");
                None
            }
        };
        let Some(id) = told(domain, dns).await else { return kept.map(|kept| kept.policy) };
        if let Some(kept) = kept.as_ref().filter(|kept| kept.id == id) {
            return Some(kept.policy.clone());
        }
        match fetch(domain, dns).await {
            Ok(policy) => {
                let new = Kept { id, policy };
                if let Err(error) = self.keep(domain, &new).await {
                    tracing::error!(%error, "a policy could not be kept");
                }
                Some(new.policy)
            }
            Err(why) => {
                tracing::warn!(domain, reason = %why, "the domain's MTA-STS policy cannot be had");
                kept.map(|kept| kept.policy)
            }
        }
    }

    async fn kept(&self, domain: &str) -> crate::db::Result<Option<Kept>> {
        let found = async { store::find(&mut self.db.read().await?, domain, self.clock.now_ms()).await };
        self.db.answered(found).await
    }

    async fn keep(&self, domain: &str, kept: &Kept) -> crate::db::Result<()> {
        let kept = async {
            let mut tx = self.db.write().await?;
            store::keep(&mut tx, domain, kept, self.clock.now_ms()).await?;
            tx.commit().await
        };
        self.db.answered(kept).await
    }
}

/// The id of the domain's policy, as its name server tells it.
async fn told(domain: &str, dns: &Dns) -> Option<String> {
    let answer = dns.ask(&format!("_mta-sts.{domain}"), RecordType::TXT).await.ok()?;
    let Found::Records(records) = answer.found else { return None };
    let texts: Vec<String> = records
        .iter()
        .filter_map(|record| match record {
            RData::TXT(txt) => Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect()),
            _ => None,
        })
        .collect();
    sts::id(&texts)
}

async fn fetch(domain: &str, dns: &Dns) -> Result<Policy, String> {
    let host = format!("mta-sts.{domain}");
    let addresses = dns.addresses(&host).await.map_err(|error| error.to_string())?;
    if addresses.is_empty() {
        return Err(format!("{host} has no address"));
    }
    // The same resolver for everything, whatever the system's is.
    let ips = addresses.into_iter().flat_map(|addresses| addresses.ips);
    let places: Vec<SocketAddr> = ips.map(|ip| SocketAddr::new(ip, 443)).collect();
    let words = |error: reqwest::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    };
    let client = reqwest::Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .resolve_to_addrs(&host, &places)
        .build()
        .map_err(words)?;
    let url = format!("https://{host}/.well-known/mta-sts.txt");
    let response = client.get(url).send().await.map_err(words)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("answered with {}", response.status()));
    }
    let kind = response.headers().get(reqwest::header::CONTENT_TYPE);
    if !kind
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.trim_start().starts_with("text/plain"))
    {
        return Err("what came is no text/plain".to_owned());
    }
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(part) = stream.next().await {
        body.extend_from_slice(&part.map_err(words)?);
        if body.len() > LARGEST {
            return Err(format!("longer than {LARGEST} bytes"));
        }
    }
    Policy::parse(&String::from_utf8_lossy(&body))
}
