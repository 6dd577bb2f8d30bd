//! Which hosts take a domain's mail, and in which order they are tried (RFC 5321 5.1, RFC 7505).

use std::collections::HashSet;

use crate::clock::Random;

/// How safe the way must be, at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::delivery) enum Need {
    /// Encrypted where it can be, whoever is there.
    #[default]
    Opportunistic,
    /// Encrypted, and with a certificate that names the host.
    Verified,
}

/// One host that takes a domain's mail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::delivery) struct Host {
    /// The lower is tried first.
    pub(in crate::delivery) preference: u16,
    /// Its name in lower case, without the dot at its end.
    pub(in crate::delivery) name: String,
    /// Whose it is: the receiving provider, or its group where that is not known.
    pub(in crate::delivery) provider: String,
    /// How safe the way to it must be.
    pub(in crate::delivery) need: Need,
}

/// What MX records say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Says {
    /// The domain takes no mail, and says so (RFC 7505).
    TakesNone,
    /// These take it: preference and name, sorted.
    Hosts(Vec<(u16, String)>),
}

/// Reads MX records: preference and exchange.
pub(in crate::delivery) fn says(records: impl IntoIterator<Item = (u16, String)>) -> Says {
    let mut hosts: Vec<(u16, String)> = records
        .into_iter()
        .map(|(preference, name)| (preference, name.trim_end_matches('.').to_ascii_lowercase()))
        .collect();
    let all = hosts.len();
    hosts.retain(|(_, name)| !name.is_empty());
    // A lone dot says no; beside other hosts it is a slip, and those are asked.
    if all > 0 && hosts.is_empty() {
        return Says::TakesNone;
    }
    hosts.sort();
    // Each has one turn, its first.
    let mut seen = HashSet::new();
    hosts.retain(|(_, name)| seen.insert(name.clone()));
    Says::Hosts(hosts)
}

/// The order of one connection: by preference, at random among equals, so that they share the load.
pub(super) fn order(hosts: &[Host], random: &Random) -> Vec<Host> {
    let mut drawn: Vec<(u16, u64, &Host)> =
        hosts.iter().map(|host| (host.preference, random.between(0, u64::MAX), host)).collect();
    drawn.sort_by_key(|(preference, draw, _)| (*preference, *draw));
    drawn.into_iter().map(|(_, _, host)| host.clone()).collect()
}

/// Whose limits mail to these keeps: the provider of the most preferred, where all of those are of one, and otherwise the
/// domain's own. Whoever stands behind them may be somebody else, whom the domain has left or never belonged to.
pub(super) fn provider(hosts: &[Host], domain: &str) -> String {
    let mut of_best = best(hosts).map(|host| host.provider.as_str());
    match of_best.next() {
        Some(first) if of_best.all(|other| other == first) => first.to_owned(),
        _ => domain.to_owned(),
    }
}

/// The most preferred of them.
pub(super) fn best(hosts: &[Host]) -> impl Iterator<Item = &Host> {
    let preference = hosts.first().map(|first| first.preference);
    hosts.iter().filter(move |host| Some(host.preference) == preference)
}

/// The name of the group that a host belongs to which takes the mail of this domain, where no provider is known: the
/// domain that it stands in.
///
/// A host that is the mail's domain itself, or stands above it, is nobody else's, and what stands below a public suffix
/// has nothing to do with its neighbours: strangers would share their limits and pauses.
pub(super) fn group(host: &str, domain: &str) -> String {
    let own = domain.strip_suffix(host).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    match host.split_once('.') {
        Some((_, above)) if !own && !is_public(above) => above.to_owned(),
        _ => host.to_owned(),
    }
}

/// Whether anybody may register names directly below this one.
fn is_public(name: &str) -> bool {
    psl::suffix_str(name) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[(u16, &str)]) -> Vec<(u16, String)> {
        list.iter().map(|(preference, name)| (*preference, (*name).to_owned())).collect()
    }

    /// Each with whose it is.
    fn hosts(list: &[(u16, &str, &str)]) -> Vec<Host> {
        let host = |(preference, name, provider): &(u16, &str, &str)| Host {
            preference: *preference,
            name: (*name).to_owned(),
            provider: (*provider).to_owned(),
            need: Need::default(),
        };
        list.iter().map(host).collect()
    }

    #[test]
    fn rfc7505_a_lone_dot_says_that_no_mail_is_taken() {
        assert_eq!(says([(0, ".".to_owned())]), Says::TakesNone);
        let both = says([(0, ".".to_owned()), (10, "MX.Example.org.".to_owned())]);
        assert_eq!(both, Says::Hosts(names(&[(10, "mx.example.org")])));
        assert_eq!(says([]), Says::Hosts(Vec::new()));
        let twice =
            says([(20, "a.example"), (10, "b.example"), (10, "a.example")].map(|(p, n)| (p, n.to_owned())));
        assert_eq!(twice, Says::Hosts(names(&[(10, "a.example"), (10, "b.example")])), "each has one turn");
    }

    #[test]
    fn rfc5321_hosts_go_by_preference_and_at_random_among_equals() {
        let Says::Hosts(list) = says([
            (20, "c.example.org".to_owned()),
            (10, "b.example.org".to_owned()),
            (10, "a.example.org".to_owned()),
            (30, "d.example.org".to_owned()),
        ]) else {
            panic!("they take mail")
        };
        let list: Vec<_> = list.iter().map(|(preference, name)| (*preference, name.as_str(), "p")).collect();
        let list = hosts(&list);
        let random = Random::seeded(1);
        let mut firsts = std::collections::BTreeMap::<String, u32>::new();
        for _ in 0..1000 {
            let order = order(&list, &random);
            let preferences: Vec<u16> = order.iter().map(|host| host.preference).collect();
            assert_eq!(preferences, [10, 10, 20, 30]);
            *firsts.entry(order[0].name.clone()).or_default() += 1;
        }
        assert!(firsts.values().all(|count| (400..600).contains(count)), "{firsts:?}");
    }

    #[test]
    fn t15_the_provider_is_whose_all_of_the_most_preferred_hosts_are() {
        let google = |preference| (preference, "aspmx.l.google.com", "google");
        let own = |preference| (preference, "mail.small.example", "small.example");
        let table = [
            (vec![google(10), (20, "alt1.aspmx.l.google.com", "google")], "google"),
            (vec![google(10), own(20)], "google"),
            // Left from earlier, or there for the name alone: nothing is sent there as long as the first are up.
            (vec![own(10), google(20)], "small.example"),
            (vec![own(10), (10, "mx2.small.example", "small.example")], "small.example"),
            (vec![google(10), own(10)], "its-own.example"),
            (vec![], "its-own.example"),
        ];
        for (list, expected) in table {
            assert_eq!(provider(&hosts(&list), "its-own.example"), expected, "{list:?}");
        }
    }

    #[test]
    fn section_4_an_unknown_group_is_named_by_the_domain_that_its_host_stands_in() {
        let table = [
            ("mx1.mail.example.org", "example.net", "mail.example.org"),
            ("mx.example.org", "example.net", "example.org"),
            ("mx.example.co.za", "example.co.za", "example.co.za"),
            // Its own host: whose parent is everybody's, or somebody else's.
            ("example.org", "example.org", "example.org"),
            ("example.co.za", "example.co.za", "example.co.za"),
            ("mail.host.example.org", "mail.host.example.org", "mail.host.example.org"),
            ("example.co.za", "news.example.co.za", "example.co.za"),
            // Somebody else's, with nothing above it but what is everybody's.
            ("hoster.co.za", "example.co.za", "hoster.co.za"),
            ("hoster.com.ng", "example.net", "hoster.com.ng"),
            ("hoster.co.ke", "example.net", "hoster.co.ke"),
            ("someone.github.io", "example.net", "someone.github.io"),
            ("hoster.example", "example.net", "hoster.example"),
            ("localhost", "example.net", "localhost"),
            // Whose name only ends alike is somebody else.
            ("mx.ample.org", "ex-mx.ample.org", "ample.org"),
        ];
        for (host, domain, expected) in table {
            assert_eq!(group(host, domain), expected, "{host} of {domain}");
        }
    }
}
