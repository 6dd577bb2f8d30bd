//! Which addresses the world may send us to. Pure.
//!
//! A feed names pictures and redirects as it likes; without this it could read what only our own network may.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

/// Whether an address belongs to the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_documentation()
        || a == 0
        // Multicast, reserved and broadcast.
        || a >= 224
        // Carrier-grade NAT, protocol assignments, benchmarks, relays of 6to4.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 88 && c == 99))
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [first, second, third, fourth, _, _, seventh, last] = v6.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (first, second) {
        // ::, ::1, IPv4-mapped and IPv4-compatible; NAT64; 6to4: what counts is the address inside.
        (0, 0) => v6.to_ipv4_mapped().is_some_and(is_public_v4),
        (0x64, 0xff9b) => third == 0 && embedded(seventh, last),
        (0x2002, _) => embedded(second, third),
        // Teredo and documentation; and of the rest only what is handed out: 2000::/3.
        (0x2001, 0 | 0xdb8) => false,
        (0x3fff, _) if second < 0x1000 => false,
        // Benchmarks.
        (0x2001, 2) => third != 0 || fourth != 0,
        _ => first & 0xe000 == 0x2000,
    }
}

/// Why a URL may not be asked; names are checked when they are resolved, literal addresses here.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check(url: &Url, private: bool) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{} is neither http nor https", url.scheme()));
    }
    if private {
        return Ok(());
    }
    match url.port_or_known_default() {
        Some(80 | 443) => {}
        port => {
            return Err(format!("port {} is refused (fetch.private_addresses)", port.unwrap_or_default()));
        }
    }
    let literal = match url.host() {
        Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(Host::Domain(_)) => None,
        None => return Err("there is no host in it".to_owned()),
    };
    match literal.filter(|address| !is_public(*address)) {
        Some(address) => Err(format!("{address} is a private address (fetch.private_addresses)")),
        None => Ok(()),
    }
}

/// Whether a URL names this very address and port.
pub fn is(url: &Url, address: SocketAddr) -> bool {
    let literal = match url.host() {
        Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
        Some(Host::Domain(_)) | None => return false,
    };
    literal == address.ip() && url.port_or_known_default() == Some(address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_no_private_address_however_it_is_written() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "fec0::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in
            ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "https://example.org:8443/",
            "http://example.org:22/",
            "file:///etc/passwd",
            "http://0177.0.0.1/",
        ] {
            assert!(check(&Url::parse(url).unwrap(), false).is_err(), "{url}");
        }
        assert!(check(&Url::parse("https://example.org/").unwrap(), false).is_ok());
        assert!(check(&Url::parse("http://127.0.0.1:8080/").unwrap(), true).is_ok());
    }
}
