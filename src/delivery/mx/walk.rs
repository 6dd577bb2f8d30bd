//! How far one walk along a route's hosts goes: whoever answers nobody keeps a connection from others for as long as it lasts.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// No more addresses than these are tried.
const ADDRESSES: usize = 5;
/// Of one host, while others stand behind it.
const OF_ONE_HOST: usize = 2;
/// After so long nothing further is begun. What was begun has the time that each phase has (RFC 5321 4.5.3.2).
const LONGEST: Duration = Duration::from_secs(180);
/// Unless it is the second host, or the only one's second address (5.1): where the first accepts and says nothing, nobody
/// would ever ask the other.
const AT_LEAST: usize = 2;

/// What one walk has tried.
#[derive(Debug)]
pub(super) struct Walk {
    begun: Instant,
    hosts: usize,
    addresses: usize,
    /// Of the newest host.
    of_host: usize,
}

impl Walk {
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), hosts: 0, addresses: 0, of_host: 0 }
    }

    fn is_late(&self) -> bool {
        self.begun.elapsed() >= LONGEST
    }

    /// Whether another host is tried; it is from now on.
    pub(super) fn next_host(&mut self) -> bool {
        let goes_on = self.addresses < ADDRESSES && (self.hosts < AT_LEAST || !self.is_late());
        self.hosts += 1;
        self.of_host = 0;
        goes_on
    }

    /// Whether another address of this host is tried, where so many hosts stand behind it; it is from now on.
    pub(super) fn next_address(&mut self, behind: usize) -> bool {
        let second = behind == 0 && self.addresses < AT_LEAST;
        let goes_on = self.addresses < ADDRESSES && (self.of_host == 0 || second || !self.is_late());
        self.addresses += 1;
        self.of_host += 1;
        goes_on
    }

    /// The host has no address, or none that may be written to: that costs time too.
    pub(super) fn has_none(&mut self) {
        self.addresses += 1;
    }
}

/// Which addresses of a host are tried, where so many hosts stand behind it: the first of them, and one of the other
/// family in place of the last, because a machine may have no way to one of the two.
pub(super) fn some_of(mut addresses: Vec<IpAddr>, behind: usize) -> Vec<IpAddr> {
    let most = if behind > 0 { OF_ONE_HOST } else { ADDRESSES };
    let rest = addresses.split_off(most.min(addresses.len()));
    let first = addresses.first().map(IpAddr::is_ipv4);
    let is_other = |ip: &&IpAddr| Some(ip.is_ipv4()) != first;
    if !addresses.iter().any(|ip| is_other(&ip))
        && let (Some(other), Some(last)) = (rest.iter().find(is_other), addresses.last_mut())
    {
        *last = *other;
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many addresses each of these hosts is tried at, where one of each host's takes so many seconds.
    async fn tried(hosts: &[(usize, u64)]) -> Vec<usize> {
        let mut walk = Walk::begin();
        let mut tried = Vec::new();
        for (at, (addresses, seconds)) in hosts.iter().enumerate() {
            if !walk.next_host() {
                break;
            }
            let mut of_host = 0;
            while of_host < *addresses && walk.next_address(hosts.len() - at - 1) {
                tokio::time::advance(Duration::from_secs(*seconds)).await;
                of_host += 1;
            }
            tried.push(of_host);
        }
        tried
    }

    #[tokio::test(start_paused = true)]
    async fn rfc5321_a_walk_tries_two_hosts_or_addresses_however_long_they_take_and_soon_nothing_more() {
        const CONNECT: u64 = 30;
        const GREETING: u64 = 330;
        assert_eq!(tried(&[(2, CONNECT), (2, CONNECT), (2, CONNECT), (2, CONNECT)]).await, [2, 2, 1]);
        assert_eq!(tried(&[(9, 0)]).await, [5]);
        assert_eq!(tried(&[(2, GREETING), (2, GREETING), (2, GREETING)]).await, [1, 1]);
        assert_eq!(tried(&[(3, GREETING)]).await, [2], "the only host");
        assert_eq!(tried(&[(2, CONNECT), (2, GREETING), (2, CONNECT)]).await, [2, 1]);
    }

    #[test]
    fn a_host_without_an_address_counts_as_one() {
        let mut walk = Walk::begin();
        let hosts = (0..20).filter(|_| {
            let goes_on = walk.next_host();
            walk.has_none();
            goes_on
        });
        assert_eq!(hosts.count(), 5);
    }

    #[test]
    fn one_host_does_not_use_up_a_walk_and_each_family_has_its_turn() {
        let of = |addresses: &[&str], behind| {
            let some = some_of(addresses.iter().map(|ip| ip.parse().unwrap()).collect(), behind);
            some.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let many =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "2001:db8::1", "2001:db8::2"];
        assert_eq!(of(&many, 1), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(of(&many, 0), ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "2001:db8::1"]);
        assert_eq!(of(&many[..5], 1), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(of(&many[4..], 0), ["192.0.2.5", "2001:db8::1", "2001:db8::2"]);
        assert_eq!(of(&[], 3), [""; 0]);
    }
}
