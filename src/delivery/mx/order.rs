//! Which hosts take a domain's mail, and in which order they are tried (RFC 5321 5.1, RFC 7505).

use crate::clock::Random;

/// One host that takes mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::delivery) struct Host {
    /// The lower is tried first.
    pub(in crate::delivery) preference: u16,
    /// Its name in lower case, without the dot at its end.
    pub(in crate::delivery) name: String,
}

/// What MX records say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Says {
    /// The domain takes no mail, and says so (RFC 7505).
    TakesNone,
    /// These take it, sorted.
    Hosts(Vec<Host>),
}

/// Reads MX records: preference and exchange.
pub(in crate::delivery) fn says(records: impl IntoIterator<Item = (u16, String)>) -> Says {
    let mut hosts: Vec<Host> = records
        .into_iter()
        .map(|(preference, name)| Host { preference, name: name.trim_end_matches('.').to_ascii_lowercase() })
        .collect();
    let all = hosts.len();
    hosts.retain(|host| !host.name.is_empty());
    // A lone dot says no; beside other hosts it is a slip, and those are asked.
    if all > 0 && hosts.is_empty() {
        return Says::TakesNone;
    }
    hosts.sort();
    hosts.dedup();
    Says::Hosts(hosts)
}

/// The order of one connection: by preference, at random among equals, so that they share the load.
pub(super) fn order(hosts: &[Host], random: &Random) -> Vec<Host> {
    let mut drawn: Vec<(u16, u64, &Host)> =
        hosts.iter().map(|host| (host.preference, random.between(0, u64::MAX), host)).collect();
    drawn.sort_by_key(|(preference, draw, _)| (*preference, *draw));
    drawn.into_iter().map(|(_, _, host)| host.clone()).collect()
}

/// The name of the group that these hosts belong to, where no provider is known: the domain of the most preferred.
pub(super) fn group(hosts: &[Host]) -> String {
    let first = hosts.first().map_or("", |host| host.name.as_str());
    match first.split_once('.') {
        Some((_, rest)) if rest.contains('.') => rest.to_owned(),
        _ => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[(u16, &str)]) -> Vec<Host> {
        list.iter()
            .map(|(preference, name)| Host { preference: *preference, name: (*name).to_owned() })
            .collect()
    }

    #[test]
    fn rfc7505_a_lone_dot_says_that_no_mail_is_taken() {
        assert_eq!(says([(0, ".".to_owned())]), Says::TakesNone);
        let both = says([(0, ".".to_owned()), (10, "MX.Example.org.".to_owned())]);
        assert_eq!(both, Says::Hosts(hosts(&[(10, "mx.example.org")])));
        assert_eq!(says([]), Says::Hosts(Vec::new()));
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
    fn an_unknown_group_is_named_by_the_domain_of_its_first_host() {
        assert_eq!(group(&hosts(&[(10, "mx1.mail.example.org"), (20, "other.example")])), "mail.example.org");
        assert_eq!(group(&hosts(&[(10, "mx.example.org")])), "example.org");
        assert_eq!(group(&hosts(&[(10, "example.org")])), "example.org");
    }
}
