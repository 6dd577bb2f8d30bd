//! The words of a record of SPF (RFC 7208 4.5, 5).

use std::net::IpAddr;

/// What becomes of whom a term fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
    /// A fault on the way to it ends everything (permerror, RFC 7208 2.6.7); no term says so itself.
    Broken,
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Net {
    pub(super) ip: IpAddr,
    pub(super) length: u8,
}

/// Whom a term fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Net(Net),
    Include(String),
    A {
        host: Option<String>,
        lengths: (u8, u8),
    },
    Mx {
        domain: Option<String>,
        lengths: (u8, u8),
    },
    /// Only a receiver can say: `exists`, `ptr`, and names with macros.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) qualifier: Qualifier,
    pub(super) mechanism: Mechanism,
}

impl Net {
    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u8| {
            let rest = u32::from(width - self.length.min(width));
            // A shift by all of its bits is none at all.
            a.checked_shr(rest).unwrap_or(0) == b.checked_shr(rest).unwrap_or(0)
        };
        match (self.ip, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// Whether a text is a record of SPF.
pub(super) fn is_one(text: &str) -> bool {
    let first = text.split(' ').next().unwrap_or_default();
    first.eq_ignore_ascii_case("v=spf1")
}

/// Where a record redirects to, whether that holds or not.
pub(super) fn redirect(text: &str) -> Option<String> {
    parse(text).ok().and_then(|(_, redirect)| redirect)
}

/// Whether only a receiver knows which name that is (RFC 7208 7).
pub(super) fn has_macro(name: &str) -> bool {
    name.contains('%')
}

/// The term that fits an address.
pub(super) fn term_of(ip: &IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("ip4:{ip}"),
        IpAddr::V6(ip) => format!("ip6:{ip}"),
    }
}

/// The terms of a record, and where it redirects to.
///
/// # Errors
/// The word that cannot be read.
pub(super) fn parse(text: &str) -> Result<(Vec<Term>, Option<String>), String> {
    let (mut terms, mut redirect) = (Vec::new(), None);
    // Spaces alone stand between terms (4.6.1).
    for word in text.split(' ').filter(|word| !word.is_empty()).skip(1) {
        let wrong = || format!("{word:?} is no term");
        let name = word.split([':', '=', '/']).next().unwrap_or_default();
        if word[name.len()..].starts_with('=') {
            let value = &word[name.len() + 1..];
            if name.eq_ignore_ascii_case("redirect") && redirect.replace(value.to_owned()).is_some() {
                return Err("it redirects twice".to_owned());
            }
            // Other modifiers are for others to know (6).
            continue;
        }
        let (qualifier, rest) = match word.split_at_checked(1) {
            Some(("+", rest)) => (Qualifier::Pass, rest),
            Some(("-", rest)) => (Qualifier::Fail, rest),
            Some(("~", rest)) => (Qualifier::SoftFail, rest),
            Some(("?", rest)) => (Qualifier::Neutral, rest),
            _ => (Qualifier::Pass, word),
        };
        terms.push(Term { qualifier, mechanism: mechanism(rest).ok_or_else(wrong)? });
    }
    Ok((terms, redirect))
}

fn mechanism(word: &str) -> Option<Mechanism> {
    let end = word.find([':', '/']).unwrap_or(word.len());
    let (name, rest) = word.split_at(end);
    let value = rest.strip_prefix(':');
    Some(match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "ip4" | "ip6" => {
            let (ip, length) =
                value?.split_once('/').map_or((value?, None), |(ip, length)| (ip, Some(length)));
            let ip: IpAddr = ip.parse().ok()?;
            let most = if ip.is_ipv4() { 32 } else { 128 };
            let length = length.map_or(Some(most), |length| length.parse().ok())?;
            let fits = ip.is_ipv4() == name.eq_ignore_ascii_case("ip4") && length <= most;
            return fits.then_some(Mechanism::Net(Net { ip, length }));
        }
        "include" => match value.filter(|value| !value.is_empty())? {
            value if has_macro(value) => Mechanism::Unknown,
            value => Mechanism::Include(value.to_owned()),
        },
        "exists" if value.is_some_and(|value| !value.is_empty()) => Mechanism::Unknown,
        "ptr" => Mechanism::Unknown,
        kind @ ("a" | "mx") => {
            if value.is_some_and(has_macro) {
                return Some(Mechanism::Unknown);
            }
            let (named, lengths) = lengths(value.unwrap_or(rest))?;
            let named = (!named.is_empty()).then(|| named.to_owned());
            if value.is_some() && named.is_none() {
                return None;
            }
            if kind == "a" {
                Mechanism::A { host: named, lengths }
            } else {
                Mechanism::Mx { domain: named, lengths }
            }
        }
        _ => return None,
    })
}

/// `name/24//64`: a name, and how much of its addresses counts.
fn lengths(text: &str) -> Option<(&str, (u8, u8))> {
    let (rest, six) = match text.split_once("//") {
        Some((rest, six)) => (rest, six.parse().ok().filter(|six| *six <= 128)?),
        None => (text, 128),
    };
    let (name, four) = match rest.split_once('/') {
        Some((name, four)) => (name, four.parse().ok().filter(|four| *four <= 32)?),
        None => (rest, 32),
    };
    Some((name, (four, six)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7208_terms_are_read_or_named() {
        let net = |ip: &str, length| Mechanism::Net(Net { ip: ip.parse().unwrap(), length });
        let a = |host: Option<&str>, lengths| Mechanism::A { host: host.map(str::to_owned), lengths };
        for (word, expected) in [
            ("all", Mechanism::All),
            ("ip4:192.0.2.0/24", net("192.0.2.0", 24)),
            ("ip4:192.0.2.1", net("192.0.2.1", 32)),
            ("ip6:2001:db8::/32", net("2001:db8::", 32)),
            ("include:_spf.example.com", Mechanism::Include("_spf.example.com".to_owned())),
            ("a", a(None, (32, 128))),
            ("A/24", a(None, (24, 128))),
            ("a:mail.example.org/24//64", a(Some("mail.example.org"), (24, 64))),
            ("mx//64", Mechanism::Mx { domain: None, lengths: (32, 64) }),
            ("exists:%{i}.example.org", Mechanism::Unknown),
            ("include:%{d}.example.org", Mechanism::Unknown),
            ("ptr", Mechanism::Unknown),
        ] {
            assert_eq!(mechanism(word), Some(expected), "{word}");
        }
        for word in [
            "ip4",
            "ip4:2001:db8::1",
            "ip4:192.0.2.0/33",
            "ip6:192.0.2.1",
            "include",
            "include:",
            "a:",
            "al",
            "exists",
            "ip4:x",
            "a/99",
            "all:x",
        ] {
            assert_eq!(mechanism(word), None, "{word}");
        }
        let (terms, redirect) = parse("v=spf1 ?mx -ip4:192.0.2.1 exp=x.example ~all").unwrap();
        let qualifiers: Vec<Qualifier> = terms.iter().map(|term| term.qualifier).collect();
        assert_eq!(qualifiers, [Qualifier::Neutral, Qualifier::Fail, Qualifier::SoftFail]);
        assert_eq!(redirect, None);
        assert_eq!(parse("v=spf1 redirect=_spf.example.com").unwrap().1.as_deref(), Some("_spf.example.com"));
        assert_eq!(parse("v=spf1 ipv4:192.0.2.1 -all").unwrap_err(), "\"ipv4:192.0.2.1\" is no term");
        assert!(parse("v=spf1 ip4:192.0.2.1\tmx -all").is_err());
        assert!(is_one("V=SPF1 -all") && is_one("v=spf1") && !is_one("v=spf10 -all") && !is_one("x v=spf1"));
    }

    #[test]
    fn a_network_holds_its_own_addresses() {
        let holds =
            |net: &str, length, ip: &str| Net { ip: net.parse().unwrap(), length }.holds(ip.parse().unwrap());
        assert!(holds("192.0.2.0", 24, "192.0.2.255") && !holds("192.0.2.0", 24, "192.0.3.0"));
        assert!(holds("192.0.2.1", 32, "192.0.2.1") && !holds("192.0.2.1", 32, "192.0.2.2"));
        assert!(holds("0.0.0.0", 0, "203.0.113.9") && holds("::", 0, "2001:db8::9"));
        assert!(holds("2001:db8::", 32, "2001:db8:1::1") && !holds("2001:db8::", 32, "2001:db9::1"));
        assert!(!holds("::", 0, "203.0.113.9"));
    }
}
