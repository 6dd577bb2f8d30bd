//! Alarms: raised once by key, kept until each ear has heard them.
//!
//! An alarm is raised in the transaction that found its cause, and leaves afterwards: a crash between the two loses
//! nothing. Whoever delivers it takes it first, so that two daemons do not both ring.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use super::store::{self, NewAlarm};
use crate::config::{Alert, Approval, Config, Newsletter};
use crate::db::{Conn, Result};

/// From one try to the next, so that the first is over and its end written down; doubled each time up to an hour.
const FIRST_WAIT: Duration = Duration::from_secs(90);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// What no ear has heard by then is no news any more: an address that is refused for good ends so.
pub(super) const GIVEN_UP: Duration = Duration::from_secs(3 * 24 * 3600);

/// What a person must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The edition's time passed with the daemon down, or nobody approved it.
    Missed(Date, String),
    /// The edition rests, since this event of its own: it may go on and be held once more.
    Held(Date, i64, String),
    /// Fewer candidates than the newsletter's minimum.
    Skipped(Date, String),
    /// Nobody has approved yet, and the lock is near.
    Unapproved(Date, String),
    /// Preflight found what must not go out, after this event: somebody may mend it, and not all of it.
    Preflight(Date, i64, String),
    /// The relay is left alone since then: it cannot be reached, refuses us, or answers nothing.
    RelayDown(String, Timestamp, String),
    /// A receiving provider's servers are left alone by a relay since then.
    ProviderDown(String, Timestamp, String),
    /// A new identity's caps do not carry the edition.
    WarmUp(Date, String),
    /// The feed brought nothing new since then.
    FeedSilent(String, Timestamp, String),
    /// None of the edition's messages can be made.
    Unmade(Date, String),
    /// Deliveries that ended without having been accepted, more than a few.
    Undelivered(Date, String),
    /// What is due for a newsletter, or for the whole house, cannot be done since then.
    Clock(Timestamp, String),
}

impl Cause {
    /// Names the thing and the day, moment or event it began with.
    fn key(&self, newsletter: Option<&str>) -> String {
        let of = newsletter.unwrap_or("house");
        match self {
            Self::Missed(date, _) => format!("missed:{of}:{date}"),
            Self::Held(date, event, _) => format!("held:{of}:{date}:{event}"),
            Self::Skipped(date, _) => format!("skipped:{of}:{date}"),
            Self::Unapproved(date, _) => format!("unapproved:{of}:{date}"),
            Self::Preflight(date, event, _) => format!("preflight:{of}:{date}:{event}"),
            Self::RelayDown(name, since, _) => format!("relay-down:{name}:{}", since.as_second()),
            Self::ProviderDown(name, since, _) => format!("provider-down:{name}:{}", since.as_second()),
            Self::WarmUp(date, _) => format!("warm-up:{of}:{date}"),
            Self::FeedSilent(name, since, _) => format!("feed-silent:{name}:{}", since.as_second()),
            Self::Unmade(date, _) => format!("unmade:{of}:{date}"),
            Self::Undelivered(date, _) => format!("undelivered:{of}:{date}"),
            Self::Clock(since, _) => format!("clock:{of}:{}", since.as_second()),
        }
    }

    fn subject(&self, title: &str) -> String {
        match self {
            Self::Missed(date, _) => format!("{title}: the edition of {date} was missed"),
            Self::Held(date, ..) => format!("{title}: the edition of {date} is held"),
            Self::Skipped(date, _) => format!("{title}: no edition on {date}"),
            Self::Unapproved(date, _) => format!("{title}: the edition of {date} waits for approval"),
            Self::Preflight(date, ..) => format!("{title}: the edition of {date} cannot be locked"),
            Self::RelayDown(name, ..) => format!("Relay {name} is given no mail"),
            Self::ProviderDown(name, ..) => format!("{name} is given no mail of ours"),
            Self::WarmUp(date, _) => format!("{title}: the edition of {date} will not reach everybody"),
            Self::FeedSilent(name, ..) => format!("Feed {name} is silent"),
            Self::Unmade(date, _) => format!("{title}: the edition of {date} does not leave"),
            Self::Undelivered(date, _) => format!("{title}: readers without the edition of {date}"),
            Self::Clock(..) if title.is_empty() => "Not all that is due can be done".to_owned(),
            Self::Clock(..) => format!("{title}: what is due cannot be done"),
        }
    }

    /// What happened, what it means, and the commands that help, each on a line of its own: they run as they are pasted.
    fn body(&self, newsletter: Option<&Newsletter>) -> String {
        let mut body = format!("{}\n\n{}", self.why(), self.advice(newsletter));
        for command in self.commands(newsletter) {
            body.push_str("\n  matinale ");
            body.push_str(&command);
        }
        body
    }

    fn why(&self) -> String {
        match self {
            Self::Unmade(_, why) => format!("None of its messages can be made: {why}"),
            Self::Missed(_, why)
            | Self::Held(_, _, why)
            | Self::Skipped(_, why)
            | Self::Unapproved(_, why)
            | Self::Preflight(_, _, why)
            | Self::RelayDown(_, _, why)
            | Self::ProviderDown(_, _, why)
            | Self::WarmUp(_, why)
            | Self::FeedSilent(_, _, why)
            | Self::Undelivered(_, why)
            | Self::Clock(_, why) => why.clone(),
        }
    }

    fn advice(&self, newsletter: Option<&Newsletter>) -> &'static str {
        match self {
            Self::Missed(..) => "Nothing was sent. To send it all the same, late:",
            Self::Held(..) => {
                "Nothing leaves until somebody says so. `edition cancel` ends it for good; to go on instead:"
            }
            Self::Skipped(..) => {
                "Nothing of it is sent. What was published after its lock counts only where an editor pins it: list it in the \
                 document, which --file takes back. To look at it; for the document; and to lock it by hand then:"
            }
            Self::Unapproved(..) => "To look at it, and to approve it:",
            Self::Preflight(..) => {
                "To look at it; for the document to mend, which --file takes back; and to lock it then:"
            }
            Self::RelayDown(..) => {
                "Deliveries wait and are tried again until each reader's deadline. To look at it:"
            }
            Self::ProviderDown(..) => {
                "Its readers' deliveries wait until each one's deadline. To look at it:"
            }
            Self::WarmUp(..) => {
                "Each of the newsletter's relays warms up. One more in its `relays`, without `warm_up`, would take what \
                 does not fit. To look at them:"
            }
            Self::FeedSilent(..) => "To look at it:",
            Self::Clock(..) => {
                "It is tried again every few seconds; every other step is done. The log says what comes of it."
            }
            Self::Unmade(..) => {
                "Each is tried again every minute until its reader's deadline. Mend what is said here, and start the daemon \
                 anew where that is a key. Where it is the edition's own words or line-up, change them and freeze them anew:"
            }
            Self::Undelivered(..) if newsletter.is_none() => {
                "The ledger has each of them, for when the newsletter is configured again."
            }
            Self::Undelivered(..) => {
                "For every delivery of the edition, those that were accepted too, its state and the last word about it:"
            }
        }
    }

    fn commands(&self, newsletter: Option<&Newsletter>) -> Vec<String> {
        let of = |date: &Date, commands: &[&str]| {
            let Some(newsletter) = newsletter else { return Vec::new() };
            let of = format!("{} --date {date}", newsletter.id);
            commands.iter().map(|command| command.replace("OF", &of)).collect()
        };
        match self {
            Self::Missed(date, _) if newsletter.is_some_and(|one| one.approval == Approval::Approve) => {
                of(date, &["edition approve OF", "edition send OF --late"])
            }
            Self::Missed(date, _) => of(date, &["edition send OF --late"]),
            Self::Held(date, ..) => of(date, &["edition resume OF"]),
            Self::Skipped(date, _) => of(date, &["edition build OF", "edition edit OF", "edition lock OF"]),
            Self::Unapproved(date, _) => of(date, &["edition preview OF", "edition approve OF"]),
            Self::Preflight(date, ..) => {
                of(date, &["edition preview OF", "edition edit OF", "edition lock OF"])
            }
            Self::Unmade(date, _) => of(date, &["edition edit OF", "edition correct OF"]),
            Self::Undelivered(date, _) => of(date, &["delivery list OF"]),
            Self::RelayDown(..) | Self::ProviderDown(..) | Self::WarmUp(..) => vec!["relay list".to_owned()],
            Self::FeedSilent(..) => vec!["feed list".to_owned()],
            Self::Clock(..) => Vec::new(),
        }
    }
}

/// Raises an alarm about one newsletter, once.
pub async fn raise(conn: &mut Conn, newsletter: &Newsletter, cause: &Cause, now: Timestamp) -> Result<bool> {
    let alarm = NewAlarm {
        key: cause.key(Some(&newsletter.id)),
        newsletter: Some(&newsletter.id),
        subject: cause.subject(&newsletter.name),
        body: cause.body(Some(newsletter)),
    };
    let raised = store::raise(conn, &alarm, &newsletter.alerts, now).await?;
    if raised {
        tracing::error!(alarm.key = %alarm.key, newsletter.id = %newsletter.id, "{}", alarm.subject);
    }
    Ok(raised)
}

/// Raises an alarm about the whole house, or about this newsletter that it does not have any more: every newsletter's ears
/// hear it, each once.
pub async fn raise_for_all(
    conn: &mut Conn,
    config: &Config,
    of: Option<&str>,
    cause: &Cause,
    now: Timestamp,
) -> Result<bool> {
    let mut ears = Vec::new();
    for ear in config.newsletters.values().flat_map(|newsletter| &newsletter.alerts) {
        if !ears.contains(ear) {
            ears.push(ear.clone());
        }
    }
    let subject = cause.subject(of.unwrap_or_default());
    let alarm = NewAlarm { key: cause.key(of), newsletter: None, subject, body: cause.body(None) };
    let raised = store::raise(conn, &alarm, &ears, now).await?;
    if raised {
        tracing::error!(alarm.key = %alarm.key, "{}", alarm.subject);
    }
    Ok(raised)
}

/// Where an ear is: an address, or a URL.
pub(super) fn target(ear: &Alert) -> String {
    match ear {
        Alert::Mail(address) => address.clone(),
        Alert::Webhook(url) => url.to_string(),
    }
}

/// How long after this try the next one may start.
pub(super) fn wait_after(tries: i64) -> Duration {
    let doublings = u32::try_from(tries.clamp(0, 10)).unwrap_or(10);
    FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What every alarm says, of this newsletter and of the whole house.
    pub(crate) fn bodies(newsletter: &Newsletter) -> Vec<String> {
        let (date, at) = (Date::constant(2026, 11, 24), Timestamp::UNIX_EPOCH);
        let why = || "why".to_owned();
        let causes = [
            Cause::Missed(date, why()),
            Cause::Held(date, 1, why()),
            Cause::Skipped(date, why()),
            Cause::Unapproved(date, why()),
            Cause::Preflight(date, 1, why()),
            Cause::RelayDown("main".to_owned(), at, why()),
            Cause::ProviderDown("google".to_owned(), at, why()),
            Cause::WarmUp(date, why()),
            Cause::FeedSilent("press".to_owned(), at, why()),
            Cause::Unmade(date, why()),
            Cause::Undelivered(date, why()),
            Cause::Clock(at, why()),
        ];
        let place = |cause: &Cause| match cause {
            Cause::Missed(..) => 0,
            Cause::Held(..) => 1,
            Cause::Skipped(..) => 2,
            Cause::Unapproved(..) => 3,
            Cause::Preflight(..) => 4,
            Cause::RelayDown(..) => 5,
            Cause::ProviderDown(..) => 6,
            Cause::WarmUp(..) => 7,
            Cause::FeedSilent(..) => 8,
            Cause::Unmade(..) => 9,
            Cause::Undelivered(..) => 10,
            Cause::Clock(..) => 11,
        };
        assert!(causes.iter().map(place).eq(0..12), "none is forgotten");
        // Those that are raised for all.
        let house = causes.iter().filter(|cause| matches!(place(cause), 5 | 6 | 8 | 10 | 11));
        let house: Vec<String> = house.map(|cause| cause.body(None)).collect();
        causes.iter().map(|cause| cause.body(Some(newsletter))).chain(house).collect()
    }

    #[test]
    fn a_block_of_commands_that_is_pasted_whole_does_not_undo_itself() {
        let newsletter = crate::editions::schedule::tests::newsletter("UTC", "0 0 5 * * *", "");
        let bodies = bodies(&newsletter);
        let commands = |body: &String| body.lines().filter(|line| line.starts_with("  ")).collect::<String>();
        let held = bodies.iter().find(|body| body.contains("edition resume")).unwrap();
        assert!(held.contains("`edition cancel` ends it for good"), "{held}");
        assert!(bodies.iter().all(|body| !commands(body).contains("cancel")), "{bodies:?}");
        let skipped =
            bodies.iter().find(|body| body.contains("counts only where an editor pins it")).unwrap();
        assert!(commands(skipped).contains("edition edit"), "{skipped}");
    }

    #[test]
    fn the_same_cause_has_the_same_key_and_another_day_another() {
        let missed = |date: &str| Cause::Missed(date.parse().unwrap(), "down".to_owned()).key(Some("m"));
        assert_eq!(missed("2026-11-24"), "missed:m:2026-11-24");
        assert_ne!(missed("2026-11-24"), missed("2026-11-25"));
    }

    #[test]
    fn an_ear_that_does_not_hear_is_tried_more_and_more_rarely() {
        assert_eq!(wait_after(0), FIRST_WAIT);
        assert_eq!(wait_after(3), FIRST_WAIT * 8);
        assert_eq!(wait_after(60), LONGEST_WAIT);
    }
}
