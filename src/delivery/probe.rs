//! Asks a relay whether it is there: a greeting and a goodbye, and no mail.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::session::Session;
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
    let place = (relay.host.as_str(), relay.port);
    let reached = async {
        let addresses: Vec<_> = tokio::net::lookup_host(place).await?.collect();
        let start = Instant::now();
        drop(TcpStream::connect(addresses.as_slice()).await?);
        Ok::<_, std::io::Error>(start.elapsed())
    };
    let round_trip = match timeout(timeouts.connect, reached).await {
        Ok(Ok(round_trip)) => round_trip,
        Ok(Err(error)) => return Err(format!("{}:{}: {error}", relay.host, relay.port)),
        Err(_) => return Err(format!("{}:{}: no connection in time", relay.host, relay.port)),
    };
    let session = Session::open(relay, helo, timeouts).await.map_err(|lost| lost.to_string())?;
    let pipelining = session.pipelines();
    session.quit().await;
    Ok(Answer { round_trip, pipelining })
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
