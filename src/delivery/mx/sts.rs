//! MTA-STS (RFC 8461): what a domain's policy says, and which of its hosts it lets pass. Pure.

use std::time::Duration;

/// The longest that a policy is believed (RFC 8461 3.2: about a year).
const LONGEST_AGE: u64 = 31_557_600;

/// What is done where no host fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing is sent.
    Enforce,
    /// It is sent all the same.
    Testing,
    /// There is no policy any more.
    None,
}

impl Mode {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        [Self::Enforce, Self::Testing, Self::None].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) mode: Mode,
    /// Host names; `*.` stands for one label.
    pub(super) mx: Vec<String>,
    pub(super) max_age: Duration,
}

impl Policy {
    /// Reads a policy's text.
    ///
    /// # Errors
    /// What is wrong with it: then there is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) =
                line.split_once(':').ok_or_else(|| format!("{line:?} is no key with a value"))?;
            let value = value.trim();
            // Only `mx` may stand more than once; of the others the first counts (3.2).
            match key.trim() {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" => mx.push(value.trim_end_matches('.').to_ascii_lowercase()),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(format!("version is {version:?}, not STSv1"));
        }
        let mode = mode.and_then(Mode::read).ok_or_else(|| format!("mode is {mode:?}"))?;
        let seconds: u64 = max_age
            .and_then(|age| age.parse().ok())
            .ok_or_else(|| format!("max_age is {max_age:?}, no number of seconds"))?;
        if mx.is_empty() && mode != Mode::None {
            return Err("it names no mx".to_owned());
        }
        Ok(Self { mode, mx, max_age: Duration::from_secs(seconds.min(LONGEST_AGE)) })
    }

    /// Whether this host is named.
    pub(super) fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(rest) => host.split_once('.').is_some_and(|(label, tail)| !label.is_empty() && tail == rest),
            None => host == *pattern,
        })
    }
}

/// The id in a domain's TXT records (`_mta-sts`): `None` unless exactly one of them is a policy's.
pub(super) fn id(records: &[String]) -> Option<String> {
    let mut ours = records.iter().filter(|record| {
        record.strip_prefix("v=STSv1").is_some_and(|rest| rest.trim_start().starts_with(';'))
    });
    let (record, None) = (ours.next()?, ours.next()) else { return None };
    let fields = record.split(';').map(str::trim);
    let id = fields.filter_map(|field| field.split_once('=')).find(|(key, _)| key.trim() == "id")?.1.trim();
    ((1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8461_a_policy_is_read_as_it_is_written() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.org\r\nmx: *.mail.example.org\r\nmax_age: 604800\r\nfurther: x\r\n";
        let policy = Policy::parse(text).unwrap();
        assert_eq!(policy.mode, Mode::Enforce);
        assert_eq!(policy.max_age, Duration::from_secs(604_800));
        for (host, named) in [
            ("MX1.example.org.", true),
            ("mx2.example.org", false),
            ("a.mail.example.org", true),
            ("a.b.mail.example.org", false),
            ("mail.example.org", false),
        ] {
            assert_eq!(policy.names(host), named, "{host}");
        }
        assert_eq!(Policy::parse("version: STSv1\nmode: none\nmax_age: 1\n").unwrap().mode, Mode::None);
        let ages = Policy::parse("version: STSv1\nmode: testing\nmx: a\nmax_age: 99999999999\n").unwrap();
        assert_eq!(ages.max_age.as_secs(), LONGEST_AGE);
    }

    #[test]
    fn rfc8461_what_is_no_policy_is_none() {
        for (text, why) in [
            ("mode: enforce\nmx: a\nmax_age: 1\n", "version"),
            ("version: STSv2\nmode: enforce\nmx: a\nmax_age: 1\n", "version"),
            ("version: STSv1\nmode: strict\nmx: a\nmax_age: 1\n", "mode"),
            ("version: STSv1\nmode: enforce\nmx: a\nmax_age: soon\n", "max_age"),
            ("version: STSv1\nmode: enforce\nmx: a\n", "max_age"),
            ("version: STSv1\nmode: enforce\nmax_age: 1\n", "mx"),
            ("<html>not found</html>\n", "no key"),
        ] {
            assert!(Policy::parse(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn rfc8461_exactly_one_record_tells_the_id() {
        let id = |records: &[&str]| id(&records.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(id(&["v=STSv1; id=20260101T01;"]), Some("20260101T01".to_owned()));
        assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=a"]), Some("a".to_owned()));
        assert_eq!(id(&["v=STSv1; id=a", "v=STSv1; id=b"]), None);
        assert_eq!(id(&["v=STSv1; id=not-this"]), None);
        assert_eq!(id(&["v=STSv10; id=a"]), None);
        assert_eq!(id(&[]), None);
    }
}
