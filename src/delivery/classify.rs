//! What a reply means for the message, the address, the relay and the run: rules as data.
//!
//! A 5xx is not "bad address": most of them speak of us. Only `dead`, `disabled` and `domain` ever touch an address,
//! and no reply that speaks of the sender does. The rules stand in `replies.toml`, compiled in and replaceable.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Outcome;
use super::reply::Reply;
use super::rules::{Fits, at};

const RULES: &str = include_str!("replies.toml");

/// What a reply is about (the rows of section 3 of the mail's requirements).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The address does not exist.
    Dead,
    /// It exists and takes nothing.
    Disabled,
    /// The mailbox is full.
    Full,
    /// The mailbox takes too much at the moment.
    Busy,
    /// We are too fast, or little known.
    Rate,
    /// We are refused as a sender.
    Blocked,
    /// SPF, DKIM or DMARC is broken.
    Authentication,
    /// Our message is no good.
    Malformed,
    /// That recipient's own rules.
    Policy,
    /// Trouble on their side, or greylisting.
    System,
    /// Too many at a time.
    Crowded,
    /// The domain takes no mail.
    Domain,
}

/// What a class asks of the rest of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Nothing.
    GoOn,
    /// Send more slowly through this relay.
    Slow,
    /// Send nothing through this relay for a while, and tell somebody.
    Pause,
    /// Hold the edition, and tell somebody: every further mail would meet the same.
    Stop,
}

impl Class {
    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Disabled => "disabled",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Rate => "rate",
            Self::Blocked => "blocked",
            Self::Authentication => "authentication",
            Self::Malformed => "malformed",
            Self::Policy => "policy",
            Self::System => "system",
            Self::Crowded => "crowded",
            Self::Domain => "domain",
        }
    }

    /// What becomes of the message. A refusal that speaks of us defers it, whatever its code (T16).
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Dead | Self::Disabled | Self::Policy | Self::Domain => Outcome::Rejected,
            Self::Full
            | Self::Busy
            | Self::Rate
            | Self::Blocked
            | Self::Authentication
            | Self::Malformed
            | Self::System
            | Self::Crowded => Outcome::Deferred,
        }
    }

    /// What it asks of the rest of the run.
    pub fn run(self) -> Run {
        match self {
            Self::Authentication | Self::Malformed => Run::Stop,
            Self::Blocked => Run::Pause,
            Self::Rate | Self::Crowded => Run::Slow,
            _ => Run::GoOn,
        }
    }
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A relay of ours, which takes what it can pass on.
    Relay,
    /// A receiver's own server.
    Receiver,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Spanned<RuleText>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    class: Class,
    by: Option<By>,
    #[serde(default)]
    codes: Vec<u16>,
    #[serde(default)]
    enhanced: Vec<String>,
    #[serde(default)]
    text: Vec<String>,
}

/// The rules, in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    class: Class,
    by: Option<By>,
    fits: Fits,
}

impl Rules {
    /// The rules compiled in.
    pub fn built_in() -> Self {
        Self::parse(RULES).expect("the rules compiled in are tested to parse")
    }

    /// Rules from a file's text.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.rule.is_empty() {
            return Err("holds no [[rule]]".to_owned());
        }
        let mut rules = Vec::new();
        for (nth, rule) in (1..).zip(file.rule) {
            let place = rule.span();
            let rule = rule.into_inner();
            let fits = Fits::new(rule.codes, &rule.enhanced, &rule.text)
                .map_err(|why| at(text, place, &format!("rule {nth} ({}): {why}", rule.class.as_str())))?;
            rules.push(Rule { class: rule.class, by: rule.by, fits });
        }
        Ok(Self(rules))
    }

    /// What a refusal means; a reply that no rule fits is the recipient's own policy, or trouble on their side.
    pub fn classify(&self, reply: &Reply, by: By) -> Class {
        let text = reply.words();
        let fallback = if reply.is_permanent() { Class::Policy } else { Class::System };
        let fits = |rule: &&Rule| rule.by.is_none_or(|other| other == by) && rule.fits.fit(reply, &text);
        self.0.iter().find(fits).map_or(fallback, |rule| rule.class)
    }
}

/// Whether these words are about the return path of this envelope: they name it, or its domain as a sender's, and not
/// the reader. Servers that ask ours about it repeat what they hear, and that is said of a dead reader too.
pub(super) fn is_about_sender(reply: &Reply, from: &str, to: &str) -> bool {
    let (text, from, to) = (reply.words(), from.to_lowercase(), to.to_lowercase());
    let (reader, theirs) = to.rsplit_once('@').unwrap_or((&to, ""));
    if text.contains(&to) || text.contains(&format!("<{reader}>")) {
        return false;
    }
    // Readers may have our own domain, or one below it.
    let rest = if theirs.is_empty() { text.clone() } else { text.replace(theirs, "") };
    let ours = from.rsplit_once('@').map_or("", |(_, domain)| domain);
    text.contains(&from) || (!ours.is_empty() && rest.contains("sender") && rest.contains(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t16_replies_mean_what_the_providers_say_they_mean() {
        let rules = Rules::built_in();
        let table = [
            (550, "5.1.1 The email account that you tried to reach does not exist", Class::Dead),
            (553, "5.1.2 We weren't able to find the recipient domain", Class::Dead),
            (554, "delivery error: dd This user doesn't have a yahoo.com account", Class::Dead),
            (552, "1 Requested mail action aborted, mailbox not found", Class::Dead),
            (550, "5.1.1 Adresse d au moins un destinataire invalide OFR_416", Class::Dead),
            (550, "5.2.1 The email account that you tried to reach is inactive", Class::Disabled),
            (554, "30 Sorry, your message cannot be delivered (554.30)", Class::Disabled),
            (552, "5.2.2 The recipient's inbox is out of storage and inactive", Class::Disabled),
            (452, "4.2.2 The recipient's inbox is out of storage space", Class::Full),
            (552, "5.2.2 mailbox full", Class::Full),
            (450, "4.2.1 The user you are trying to contact is receiving mail too quickly", Class::Busy),
            (550, "5.2.1 The user you are trying to contact is receiving email at a rate that", Class::Busy),
            (421, "4.7.28 Gmail has detected an unusual rate of email", Class::Rate),
            (421, "4.7.0 [TSS04] Messages temporarily deferred", Class::Rate),
            (451, "4.7.650 The mail server has been temporarily rate limited (S775)", Class::Rate),
            (421, "Trop de connexions, veuillez verifier votre configuration OFR005_104", Class::Rate),
            (
                550,
                "5.7.1 Unfortunately, messages weren't sent: part of their network is on our block list (S3150)",
                Class::Blocked,
            ),
            (553, "5.7.1 [BL21] Connections will not be accepted", Class::Blocked),
            (
                553,
                "5.7.2 [TSS09] All messages will be permanently deferred; Retrying will NOT succeed",
                Class::Blocked,
            ),
            (550, "5.7.28 unusual rate of unsolicited mail", Class::Blocked),
            (550, "5.7.606 Access denied, banned sending IP", Class::Blocked),
            (550, "5.7.612 Access denied", Class::Blocked),
            (550, "5.7.649 Access denied", Class::Blocked),
            (550, "Service refuse. Veuillez essayer plus tard", Class::Blocked),
            (550, "5.7.26 Unauthenticated email is not accepted", Class::Authentication),
            (421, "5.7.32 From header not aligned", Class::Authentication),
            (421, "4.7.31 no DMARC record", Class::Authentication),
            (
                550,
                "5.7.515 Access denied, sending domain does not meet the required authentication level",
                Class::Authentication,
            ),
            (571, "5.7.1 Message refused by DMARC policy", Class::Authentication),
            (550, "5.7.1 Messages missing a valid address are not RFC 5322 compliant", Class::Malformed),
            (552, "5.3.4 The number of headers exceeds", Class::Malformed),
            (550, "5.7.1 The user or domain has a policy that prohibited the mail", Class::Policy),
            (554, "Message not allowed - [PH01] Email not accepted for policy reasons", Class::Policy),
            (451, "4.3.0 Mail server temporarily rejected message", Class::System),
            (450, "try again, you are greylisted", Class::System),
            (452, "4.5.3 too many recipients", Class::Crowded),
            (421, "Max message per connection reached", Class::Crowded),
            (556, "5.1.10 recipient address has null MX", Class::Domain),
            (550, "no", Class::Policy),
            (450, "no", Class::System),
        ];
        for (code, text, expected) in table {
            for by in [By::Relay, By::Receiver] {
                assert_eq!(rules.classify(&Reply::new(code, text), by), expected, "{code} {text}");
            }
        }
    }

    #[test]
    fn t16_who_does_not_know_us_or_does_not_relay_for_us_refuses_us_and_no_reader() {
        let rules = Rules::built_in();
        let table = [
            (554, "5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied", Class::Blocked),
            (554, "5.7.1 <localhost>: Helo command rejected: Access denied", Class::Blocked),
            (553, "5.7.1 <x@news.example>: Sender address rejected: not owned by user awa", Class::Blocked),
            (
                550,
                "5.7.1 Gmail has detected that this message is\n5.7.1 likely suspicious due to the very low reputation of the sending IP address",
                Class::Blocked,
            ),
            (
                550,
                "5.7.1 Our system has detected an unusual rate of\n5.7.1 unsolicited mail originating from your IP address",
                Class::Blocked,
            ),
            (550, "5.7.511 Access denied, banned sender[192.0.2.1]", Class::Blocked),
            (
                550,
                "5.7.509 Access denied, sending domain [NEWS.EXAMPLE] does not pass DMARC verification and has a DMARC policy of reject",
                Class::Authentication,
            ),
        ];
        for (code, text, expected) in table {
            for by in [By::Relay, By::Receiver] {
                assert_eq!(rules.classify(&Reply::new(code, text), by), expected, "{code} {text}");
            }
        }
        let relaying = [
            (554, "5.7.1 <awa@example.net>: Relay access denied"),
            (550, "relay not permitted"),
            (550, "5.7.1 <awa@example.net>... Relaying denied"),
            (550, "5.7.64 TenantAttribution; Relay Access Denied"),
        ];
        for (code, text) in relaying {
            let reply = Reply::new(code, text);
            assert_eq!(rules.classify(&reply, By::Relay), Class::Blocked, "{code} {text}");
            // Its servers do not know that domain: nobody else's mail waits for it.
            assert_eq!(rules.classify(&reply, By::Receiver), Class::Policy, "{code} {text}");
        }
    }

    #[test]
    fn t16_what_is_said_of_our_return_path_is_not_said_of_the_reader() {
        let rules = Rules::built_in();
        let table = [
            // Postfix, Exim and sendmail, in the words that a dead reader has.
            (
                550,
                "5.1.0 <b.TOKEN@news.example>: Sender address rejected: User unknown in virtual mailbox table",
                Class::Blocked,
            ),
            (
                550,
                "Verification failed for <b.TOKEN@news.example>\nCalled:   192.0.2.1\nSent:     RCPT TO:<b.TOKEN@news.example>\nResponse: 550 5.1.1 User unknown\nSender verify failed",
                Class::Blocked,
            ),
            (550, "Sender verify failed", Class::Blocked),
            (550, "Callback setup failed while verifying <b.TOKEN@news.example>", Class::Blocked),
            (
                553,
                "5.1.8 <b.TOKEN@news.example>... Domain of sender address b.TOKEN@news.example does not exist",
                Class::Blocked,
            ),
            (550, "5.1.7 <b.TOKEN@news.example>: user unknown", Class::Blocked),
            (550, "5.1.8 Access denied", Class::Blocked),
            (550, "Sender domain does not exist", Class::Blocked),
            (550, "your reverse DNS does not exist", Class::Blocked),
            (550, "Your IP doesn't have a PTR record", Class::Blocked),
            (550, "Your IP doesn't have a name", Class::Policy),
            // And what is said of readers, of whatever they are asked about.
            (550, "Callout verification failed:\n550 5.1.1 User unknown", Class::Dead),
            (
                550,
                "5.1.1 <awa@example.org>: Recipient address rejected: undeliverable address: host mx.example.org said: 550 5.1.1 User unknown (in reply to RCPT TO command)",
                Class::Dead,
            ),
            (
                550,
                "<awa@example.org>: Recipient address rejected: User unknown in relay recipient table",
                Class::Dead,
            ),
            (550, "No such user here", Class::Dead),
            (550, "5.0.0 <awa@example.org>... User unknown", Class::Dead),
            (550, "5.5.0 Requested action not taken: no such user", Class::Dead),
            (550, "5.7.1 No such user!", Class::Dead),
            // Where the enhanced code speaks of a policy, or of the network, the words do not say that somebody is dead.
            (550, "5.7.1 a policy forbids it: the name of your host does not exist", Class::Policy),
            (550, "5.4.4 host does not exist", Class::Policy),
        ];
        for (code, text, expected) in table {
            for by in [By::Relay, By::Receiver] {
                assert_eq!(rules.classify(&Reply::new(code, text), by), expected, "{code} {text}");
            }
        }
    }

    #[test]
    fn t16_a_reply_that_names_our_return_path_and_not_the_reader_is_about_us() {
        let ours = "b.AbC123@news.example.org";
        let table = [
            ("5.1.1 <b.abc123@news.example.org>: User unknown", "awa@example.net", true),
            ("the sender's domain news.example.org is unknown here", "awa@example.net", true),
            ("5.1.1 <awa@example.net>: User unknown", "awa@example.net", false),
            ("5.1.1 AWA@example.net from b.AbC123@news.example.org: User unknown", "Awa@example.net", false),
            ("no mail for <awa> from b.AbC123@news.example.org", "awa@example.net", false),
            ("5.1.1 User unknown", "awa@example.net", false),
            ("news.example.org: User unknown", "awa@example.net", false),
            // A reader in our own domain, and one below it.
            ("sender or reader unknown at news.example.org", "awa@news.example.org", false),
            ("sender or reader unknown at eu.news.example.org", "awa@eu.news.example.org", false),
        ];
        for (text, to, expected) in table {
            assert_eq!(is_about_sender(&Reply::new(550, text), ours, to), expected, "{text}");
        }
    }

    #[test]
    fn p10_rules_that_do_not_parse_are_told_with_their_line() {
        assert!(Rules::parse("[[rule]]\nclass = \"bad\"\n").unwrap_err().contains("line 2"));
        assert!(Rules::parse("[[rule]]\nclass = \"dead\"\ncode = 5\n").unwrap_err().contains("code"));
        let second = |rule: &str| {
            Rules::parse(&format!("[[rule]]\nclass = \"full\"\ncodes = [4]\n\n[[rule]]\n{rule}\n"))
        };
        assert!(second("class = \"dead\"\ncodes = [5]").is_ok(), "it says that it means all of them");
        let told = second("class = \"dead\"").unwrap_err();
        assert!(told.starts_with("line 5: rule 2 (dead): fits every reply"), "{told}");
        let told = second("class = \"dead\"\ncodes = [55]").unwrap_err();
        assert!(told.starts_with("line 5: rule 2 (dead): codes: 55 is"), "{told}");
        let told = second("class = \"blocked\"\nenhanced = [\"5.7.61\", \"5.7\"]").unwrap_err();
        assert!(told.starts_with("line 5: rule 2 (blocked): enhanced: \"5.7\" is no"), "{told}");
    }
}
