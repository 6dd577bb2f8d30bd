//! Fetches MTA-STS policies and keeps them: over https with a valid certificate, without redirects, never from a cache
//! of somebody else's (RFC 8461 3.3).
//!
//! Where no policy can be had, what was kept holds until it ends; where nothing was kept, it is as if there were none.
//! So what is kept is had anew long before its end: who keeps a new one from us then has to do so for as long (10.2).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
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

/// A policy is had anew when it is so old, or when half of its time is over.
const OLD: Duration = Duration::from_secs(24 * 3600);
/// How long a domain is not asked again for a policy of this id that could not be had (RFC 8461 3.3).
const PAUSE: Duration = Duration::from_secs(300);

/// Where policies are kept.
#[derive(Debug)]
pub(super) struct Policies {
    db: Db,
    clock: Clock,
    /// Of which domain the policy could not be had: its id, and when.
    failed: Mutex<HashMap<String, (String, i64)>>,
}

impl Policies {
    /// Policies that are kept in this database.
    pub(super) fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock, failed: Mutex::default() }
    }

    /// What this domain publishes.
    pub(super) async fn find(&self, domain: &str, dns: &Dns) -> Option<Policy> {
        let told = told(domain, dns).await;
        self.find_as_told(domain, told, fetch(domain, dns)).await
    }

    /// The policy of a domain whose name server tells this id, had by `fetch` where none is kept that will do.
    async fn find_as_told(
        &self,
        domain: &str,
        told: Option<String>,
        fetch: impl Future<Output = Result<Policy, String>> + Send,
    ) -> Option<Policy> {
        let kept = match self.kept(domain).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%error, "the policies that are kept could not be read");
                None
            }
        };
        let now = self.clock.now_ms();
        let will_do = |kept: &Kept, id: &str| kept.id == id && !is_old(kept, now);
        let id = match told {
            Some(id)
                if !kept.as_ref().is_some_and(|kept| will_do(kept, &id))
                    && !self.failed(domain, &id, now) =>
            {
                id
            }
            _ => return kept.map(|kept| kept.policy),
        };
        match fetch.await {
            Ok(policy) => {
                let new = Kept { id, policy, fetched_at: now };
                if let Err(error) = self.keep(domain, &new).await {
                    tracing::error!(%error, "a policy could not be kept");
                }
                Some(new.policy)
            }
            Err(why) => {
                tracing::warn!(domain, reason = %why, "the domain's MTA-STS policy cannot be had");
                self.note_failed(domain, id, now);
                kept.map(|kept| kept.policy)
            }
        }
    }

    /// Whether the policy of this id could not be had a moment ago.
    fn failed(&self, domain: &str, id: &str, now: i64) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(domain).is_some_and(|(known, at)| known == id && is_recent(*at, now, PAUSE))
    }

    fn note_failed(&self, domain: &str, id: String, now: i64) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, (_, at)| is_recent(*at, now, PAUSE));
        failed.insert(domain.to_owned(), (id, now));
    }

    async fn kept(&self, domain: &str) -> crate::db::Result<Option<Kept>> {
        let found = async { store::find(&mut self.db.read().await?, domain, self.clock.now_ms()).await };
        self.db.answered(found).await
    }

    async fn keep(&self, domain: &str, kept: &Kept) -> crate::db::Result<()> {
        let kept = async {
            let mut tx = self.db.write().await?;
            store::keep(&mut tx, domain, kept).await?;
            tx.commit().await
        };
        self.db.answered(kept).await
    }
}

/// Whether so little time has passed; after a step back of the clock none of it has.
fn is_recent(at: i64, now: i64, length: Duration) -> bool {
    u128::try_from(now - at).unwrap_or(0) < length.as_millis()
}

fn is_old(kept: &Kept, now: i64) -> bool {
    !is_recent(kept.fetched_at, now, OLD.min(kept.policy.max_age / 2))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::sts::Mode;
    use crate::clock::timestamp;
    use crate::db::Options;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

    struct Bench {
        policies: Policies,
        clock: Clock,
        /// What fetching comes to, and how often it was tried.
        publishes: Mutex<Result<Policy, String>>,
        fetched: AtomicU32,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}", folder.path().join("test.db").display());
            let db = Db::open(&Options::new(&url)).await.unwrap();
            db.migrate().await.unwrap();
            let clock = Clock::manual(timestamp(1_800_000_000_000));
            Self {
                policies: Policies::new(db, clock.clone()),
                clock,
                publishes: Mutex::new(Err("away".to_owned())),
                fetched: AtomicU32::new(0),
                _folder: folder,
            }
        }

        fn publish(&self, what: Result<Policy, String>) {
            *self.publishes.lock().unwrap() = what;
        }

        /// What holds when the name server tells this id, and how often it was fetched for that.
        async fn find(&self, id: Option<&str>) -> (Option<Mode>, u32) {
            self.fetched.store(0, Ordering::SeqCst);
            let fetch = async {
                self.fetched.fetch_add(1, Ordering::SeqCst);
                self.publishes.lock().unwrap().clone()
            };
            let found = self.policies.find_as_told("example.org", id.map(str::to_owned), fetch).await;
            (found.map(|policy| policy.mode), self.fetched.load(Ordering::SeqCst))
        }
    }

    fn policy(mode: Mode, max_age: Duration) -> Policy {
        Policy { mode, mx: vec!["mx.example.org".to_owned()], max_age }
    }

    #[tokio::test]
    async fn rfc8461_a_policy_is_had_anew_each_day_and_the_old_one_holds_where_it_cannot_be_had() {
        const HOUR: Duration = Duration::from_secs(3600);
        let bench = Bench::new().await;
        bench.publish(Ok(policy(Mode::Enforce, WEEK)));
        assert_eq!(bench.find(Some("1")).await, (Some(Mode::Enforce), 1));
        bench.clock.advance(23 * HOUR);
        assert_eq!(bench.find(Some("1")).await, (Some(Mode::Enforce), 0), "it is of today");
        bench.clock.advance(HOUR);
        assert_eq!(bench.find(None).await, (Some(Mode::Enforce), 0), "its name server is silent");
        assert_eq!(bench.find(Some("1")).await, (Some(Mode::Enforce), 1), "of the same id");
        // Six days on somebody is in between: what was had yesterday holds for its whole week.
        bench.clock.advance(6 * 24 * HOUR);
        bench.publish(Err("away".to_owned()));
        assert_eq!(bench.find(Some("1")).await, (Some(Mode::Enforce), 1));
        bench.clock.advance(24 * HOUR);
        assert_eq!(bench.find(Some("1")).await, (None, 1), "it is over");
    }

    #[tokio::test]
    async fn rfc8461_a_policy_of_a_short_life_is_had_anew_at_half_of_it() {
        let bench = Bench::new().await;
        let minute = Duration::from_secs(60);
        bench.publish(Ok(policy(Mode::Enforce, 60 * minute)));
        assert_eq!(bench.find(Some("1")).await, (Some(Mode::Enforce), 1));
        bench.clock.advance(29 * minute);
        assert_eq!(bench.find(Some("1")).await, (Some(Mode::Enforce), 0));
        bench.clock.advance(minute);
        assert_eq!(bench.find(Some("1")).await, (Some(Mode::Enforce), 1));
        bench.clock.advance(59 * minute);
        bench.publish(Err("away".to_owned()));
        assert_eq!(
            bench.find(Some("1")).await,
            (Some(Mode::Enforce), 1),
            "half an hour longer than the first of it"
        );
    }

    #[tokio::test]
    async fn rfc8461_who_could_not_give_a_policy_is_left_alone_for_five_minutes_unless_there_is_another() {
        let bench = Bench::new().await;
        assert_eq!(bench.find(Some("1")).await, (None, 1));
        bench.clock.advance(Duration::from_secs(299));
        assert_eq!(bench.find(Some("1")).await, (None, 0));
        assert_eq!(bench.find(Some("2")).await, (None, 1), "another policy");
        bench.publish(Ok(policy(Mode::Testing, WEEK)));
        assert_eq!(bench.find(Some("2")).await, (None, 0));
        bench.clock.advance(PAUSE);
        assert_eq!(bench.find(Some("2")).await, (Some(Mode::Testing), 1));
    }
}
