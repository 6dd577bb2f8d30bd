//! Asks a relay whether it is there: a greeting and a goodbye, and no mail.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::session::tls::{Trust, doubt};
use super::session::{Lost, Session, certificate};
use crate::config::{Relay, Timeouts};

/// What a relay showed of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The way there and back.
    pub round_trip: Duration,
    /// Whether an envelope may follow a body without waiting.
    pub pipelining: bool,
}

impl Answer {
    /// How many messages a second so many connections can carry at the best: one round trip each with PIPELINING,
    /// four without.
    pub fn at_best(&self, connections: u32) -> f64 {
        let trips = if self.pipelining { 1.0 } else { 4.0 };
        f64::from(connections) / (self.round_trip.as_secs_f64().max(1e-6) * trips)
    }
}

/// Greets a relay, with TLS and password as configured, and says goodbye.
///
/// # Errors
/// Why it could not be asked, in words.
pub async fn probe(relay: &Relay, helo: &str, timeouts: Timeouts) -> Result<Answer, String> {
    let round_trip = round_trip(relay, timeouts).await?;
    let session = Session::open(relay, helo, timeouts).await.map_err(|lost| lost.to_string())?;
    let pipelining = session.pipelines();
    session.quit().await;
    Ok(Answer { round_trip, pipelining })
}

async fn round_trip(relay: &Relay, timeouts: Timeouts) -> Result<Duration, String> {
    let place = (relay.host.as_str(), relay.port);
    let reached = async {
        let addresses: Vec<_> = tokio::net::lookup_host(place).await?.collect();
        let start = Instant::now();
        drop(TcpStream::connect(addresses.as_slice()).await?);
        Ok::<_, std::io::Error>(start.elapsed())
    };
    match timeout(timeouts.connect, reached).await {
        Ok(Ok(round_trip)) => Ok(round_trip),
        Ok(Err(error)) => Err(format!("{}:{}: {error}", relay.host, relay.port)),
        Err(_) => Err(format!("{}:{}: no connection in time", relay.host, relay.port)),
    }
}

/// What a greeting showed, for somebody who asks how good it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The way there and back, and what may follow without waiting.
    pub answer: Answer,
    /// The largest message it takes, where it said so.
    pub size: Option<u64>,
    /// How the wire is encrypted; `None` in clear.
    pub encrypted: Option<Certificate>,
    /// Encryption was offered, and did not come about.
    pub spurned: bool,
}

/// What a server's certificate is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its last moment.
    pub until: Option<Timestamp>,
    /// Why it does not show who is there; `None` where it does.
    pub doubt: Option<String>,
}

/// Why a relay could not be greeted, each with the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nobody is there, or nobody answers.
    Unreachable(String),
    /// It says no to us, whoever we are.
    Refused(String),
    /// It is not as safe as it must be.
    Unsafe(String),
    /// It does not take our name and password.
    Denied(String),
}

impl Silence {
    fn of(lost: &Lost) -> Self {
        let why = lost.to_string();
        match lost {
            Lost::Down(_) | Lost::Gone(_) => Self::Unreachable(why),
            Lost::Ended(_) | Lost::Refused(..) => Self::Refused(why),
            Lost::Handshake(_) | Lost::Misfit(_) => Self::Unsafe(why),
            Lost::Denied(_) => Self::Denied(why),
        }
    }
}

/// Greets a relay as [`probe`] does, and tells all that it showed.
///
/// # Errors
/// Why it could not be greeted.
pub async fn greet(
    relay: &Relay,
    helo: &str,
    timeouts: Timeouts,
    now: Timestamp,
) -> Result<Greeting, Silence> {
    let round_trip = round_trip(relay, timeouts).await.map_err(Silence::Unreachable)?;
    let session = Session::open(relay, helo, timeouts).await.map_err(|lost| Silence::of(&lost))?;
    let since_epoch = Duration::from_millis(u64::try_from(now.as_millisecond()).unwrap_or_default());
    let encrypted = session.certificates().map(|chain| Certificate {
        until: chain.first().and_then(|own| certificate::ends(own)),
        doubt: doubt(&relay.host, chain, UnixTime::since_unix_epoch(since_epoch)),
    });
    let offer = session.offer();
    let greeting = Greeting {
        answer: Answer { round_trip, pipelining: session.pipelines() },
        size: offer.size,
        spurned: encrypted.is_none() && offer.starttls,
        encrypted,
    };
    session.quit().await;
    Ok(greeting)
}

/// Greets a receiver's server at this address, and says goodbye: whether the way there is open.
///
/// # Errors
/// Why it could not be greeted.
pub async fn greet_at(host: &str, at: SocketAddr, helo: &str, timeouts: Timeouts) -> Result<(), Silence> {
    let session = Session::open_at(host, at, helo, timeouts, Some(&Trust::Anybody)).await;
    session.map_err(|lost| Silence::of(&lost))?.quit().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_pipelining_a_message_costs_four_round_trips() {
        let far = Answer { round_trip: Duration::from_millis(20), pipelining: true };
        assert!((far.at_best(10) - 500.0).abs() < 1e-6);
        assert!((Answer { pipelining: false, ..far }.at_best(10) - 125.0).abs() < 1e-6);
    }
}
