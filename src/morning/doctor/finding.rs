//! What was found: where, how good it is, what is so, what to do about it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::config::DEFAULTS;

/// What is looked at, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Whether it can be read at all.
    Configuration,
    /// The ledger and its disk.
    Database,
    /// Who takes our mail.
    Relays,
    /// What names say about us.
    Dns,
    /// The time.
    Clock,
    /// Where readers' mornings are.
    Zones,
    /// What signs.
    Keys,
    /// What the mail is made of.
    Templates,
}

impl Area {
    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Database => "database",
            Self::Relays => "relays",
            Self::Dns => "dns",
            Self::Clock => "clock",
            Self::Zones => "zones",
            Self::Keys => "keys",
            Self::Templates => "templates",
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Area {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Nobody looked: somebody wished so, or what it hangs on is away.
    Unseen,
    /// It works, and somebody should know what it costs.
    Doubtful,
    /// A morning will fail of it, or a promise is not kept.
    Bad,
}

impl Verdict {
    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unseen => "not looked at",
            Self::Doubtful => "doubtful",
            Self::Bad => "bad",
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    pub area: Area,
    /// Of what: a key's path, a relay, a domain.
    pub subject: String,
    /// How good it is.
    pub verdict: Verdict,
    /// What is so, in one sentence.
    pub finding: String,
    /// What to do, in one sentence; `None` where nothing is.
    pub advice: Option<String>,
    /// The very text to publish, where there is one: a line of a zone file.
    pub record: Option<String>,
}

impl Finding {
    /// As it should be.
    pub(super) fn good(area: Area, subject: impl Into<String>, finding: impl Into<String>) -> Self {
        Self::new(area, subject, Verdict::Good, finding, None)
    }

    /// Nobody looked, and why.
    pub(super) fn unseen(area: Area, subject: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(area, subject, Verdict::Unseen, why, None)
    }

    /// It works, and costs something.
    pub(super) fn doubtful(
        area: Area,
        subject: impl Into<String>,
        finding: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(area, subject, Verdict::Doubtful, finding, Some(advice.into()))
    }

    /// It does not work.
    pub(super) fn bad(
        area: Area,
        subject: impl Into<String>,
        finding: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(area, subject, Verdict::Bad, finding, Some(advice.into()))
    }

    /// With the very text to publish.
    pub(super) fn with_record(self, record: impl Into<String>) -> Self {
        Self { record: Some(record.into()), ..self }
    }

    fn new(
        area: Area,
        subject: impl Into<String>,
        verdict: Verdict,
        finding: impl Into<String>,
        advice: Option<String>,
    ) -> Self {
        Self { area, subject: subject.into(), verdict, finding: finding.into(), advice, record: None }
    }

    /// A configuration that cannot be read: each of its faults.
    pub fn of_faults(faults: &[crate::config::Fault]) -> Vec<Self> {
        let finding = |fault: &crate::config::Fault| {
            let subject = if fault.key.is_empty() { &fault.origin } else { &fault.key };
            let what = match fault.origin.as_str() {
                _ if fault.key.is_empty() => "See to it".to_owned(),
                // Nobody can mend what is compiled in.
                DEFAULTS => {
                    format!(
                        "See to it, or set {subject} in matinale.toml (`matinale init` writes one where there is none)"
                    )
                }
                origin => format!("Mend it in {origin}"),
            };
            let advice = format!("{what}; nothing else was looked at.");
            Self::bad(Area::Configuration, subject, format!("{}.", fault.message), advice)
        };
        faults.iter().map(finding).collect()
    }
}

/// A line of a zone file with one TXT record, in strings of no more than 255 octets (RFC 1035 3.3.14).
pub(super) fn txt_record(name: &str, text: &str) -> String {
    let mut strings = Vec::new();
    let mut rest = text;
    while rest.len() > 255 {
        // What is published is ASCII; elsewhere a string may end sooner.
        let end = (0..=255).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        let (string, more) = rest.split_at(end);
        strings.push(format!("\"{string}\""));
        rest = more;
    }
    strings.push(format!("\"{rest}\""));
    format!("{name}. IN TXT {}", strings.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_published_in_strings_that_fit() {
        assert_eq!(txt_record("a.example", "v=DMARC1; p=none"), "a.example. IN TXT \"v=DMARC1; p=none\"");
        let long = "x".repeat(600);
        let record = txt_record("a.example", &long);
        let strings: Vec<&str> = record.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings.iter().map(|string| string.len()).collect::<Vec<_>>(), [255, 255, 90]);
        assert_eq!(strings.concat(), long);
    }

    #[test]
    fn p10_a_fault_is_mended_where_it_stands_and_what_is_compiled_in_by_a_file_of_ones_own() {
        let advice = |key: &str, origin: &str| {
            let fault = crate::config::Fault {
                key: key.to_owned(),
                origin: origin.to_owned(),
                message: "no".to_owned(),
            };
            Finding::of_faults(&[fault]).remove(0).advice.unwrap()
        };
        assert!(advice("web.listen", "my.toml").starts_with("Mend it in my.toml; "));
        assert!(advice("", "my.toml").starts_with("See to it; "));
        let defaults = advice("keys.secret_file", DEFAULTS);
        assert!(!defaults.contains("in the defaults") && defaults.contains("`matinale init`"), "{defaults}");
    }

    #[test]
    fn a_line_of_json_has_the_words_of_the_table() {
        let line = serde_json::to_string(&Finding::unseen(Area::Dns, "a.example", "Not asked.")).unwrap();
        let words = "{\"area\":\"dns\",\"subject\":\"a.example\",\"verdict\":\"not looked at\",";
        assert!(line.starts_with(words), "{line}");
    }

    #[test]
    fn the_worst_verdict_is_the_greatest() {
        assert!(Verdict::Bad > Verdict::Doubtful && Verdict::Doubtful > Verdict::Unseen);
    }
}
