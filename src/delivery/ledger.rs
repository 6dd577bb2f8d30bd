//! What the ledger holds, and the one table of moves: what an attempt's outcome makes of its delivery.

use std::time::Duration;

use serde::Serialize;

use super::classify::{By, Class, Rules};
use super::reply::Reply;
use super::{DeliveryId, DeliveryState, Outcome, retry};
use crate::config::Uncertain;
use crate::mail::Consent;

/// Which process, and which of its lives: nothing is written for a life that somebody declared over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Me {
    pub(super) daemon: i64,
    pub(super) epoch: i64,
}

/// A delivery that this daemon holds.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) id: DeliveryId,
    pub(super) edition: i64,
    pub(super) subscription: i64,
    pub(super) address: String,
    pub(super) timezone: Option<String>,
    /// The subscriber's; what was sent before where something was.
    pub(super) language: Option<String>,
    /// When and where they asked for it; what was said before where something was.
    pub(super) consent: Consent,
    pub(super) tries: i64,
    pub(super) deadline: i64,
    pub(super) doubtful: bool,
    /// What an earlier attempt's bytes were made from.
    pub(super) before: Option<Before>,
}

/// What an earlier attempt's bytes were made from.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) revision: i64,
    pub(super) date_at: i64,
    pub(super) date_offset: i64,
    pub(super) relay: String,
}

/// What an attempt's bytes are made from.
#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) delivery: DeliveryId,
    pub(super) number: i64,
    pub(super) at: i64,
    pub(super) relay: String,
    pub(super) address: String,
    pub(super) revision: i64,
    pub(super) language: String,
    pub(super) date_at: i64,
    pub(super) date_offset: i64,
    /// What the mail says of the reader's consent, as it is kept.
    pub(super) consent: Option<String>,
}

/// What an attempt came to, in the relay's own words.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) code: Option<i64>,
    pub(super) enhanced: Option<String>,
    pub(super) text: Option<String>,
    pub(super) class: Option<Class>,
}

impl Verdict {
    /// What this reply means. A refusal that speaks of us, whatever its words, touches no address.
    pub(super) fn of(reply: &Reply, about_us: bool, by: By, rules: &Rules) -> Self {
        let class = (!reply.is_positive()).then(|| match rules.classify(reply, by) {
            Class::Dead | Class::Disabled | Class::Policy | Class::Domain if about_us => {
                if reply.is_permanent() { Class::Blocked } else { Class::System }
            }
            class => class,
        });
        Self {
            outcome: class.map_or(Outcome::Accepted, Class::outcome),
            code: Some(i64::from(reply.code)),
            enhanced: reply.enhanced.clone(),
            text: Some(reply.kept().to_owned()),
            class,
        }
    }

    /// The same refusal for now, and of this class: others say what it was about.
    pub(super) fn taken_for(&mut self, class: Class) {
        self.class = Some(class);
        self.outcome = class.outcome();
    }

    /// What is said in the server's place.
    pub(super) fn ours(reply: &Reply, class: Class) -> Self {
        Self {
            outcome: class.outcome(),
            code: Some(i64::from(reply.code)),
            enhanced: reply.enhanced.clone(),
            text: Some(reply.kept().to_owned()),
            class: Some(class),
        }
    }

    /// The dot may have left, and there was no answer.
    pub(super) fn unknown() -> Self {
        Self::without_words(Outcome::Uncertain, None)
    }

    /// The dot did not leave.
    pub(super) fn unsent() -> Self {
        Self::without_words(Outcome::Deferred, Some(Class::System))
    }

    fn without_words(outcome: Outcome, class: Option<Class>) -> Self {
        Self { outcome, code: None, enhanced: None, text: None, class }
    }
}

/// Where a delivery goes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) delivery: DeliveryId,
    pub(super) number: i64,
    pub(super) state: DeliveryState,
    pub(super) next_at: i64,
    pub(super) doubtful: bool,
    pub(super) accepted_at: Option<i64>,
}

/// An attempt that was kept, what it came to, and in which life.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) life: Me,
    pub(super) release: Release,
    pub(super) verdict: Verdict,
    pub(super) to: Move,
}

/// What decides a move, besides the attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy<'a> {
    pub(super) retry: &'a [Duration],
    pub(super) uncertain: Uncertain,
    /// Real time, in milliseconds.
    pub(super) now: i64,
    /// Civil time, in milliseconds: what the deadline is held against.
    pub(super) civil: i64,
    /// 0..=1000.
    pub(super) jitter: u64,
}

/// The table of moves.
pub(super) fn after(held: &Claimed, number: i64, outcome: Outcome, policy: &Policy<'_>) -> Move {
    use DeliveryState::{Accepted, Deferred, Expired, Rejected, Uncertain as Unsure};
    let doubtful = held.doubtful || outcome == Outcome::Uncertain;
    let wait = retry::jittered(retry::wait(policy.retry, number), policy.jitter);
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4);
    let in_time = policy.civil.saturating_add(wait) < held.deadline;
    let state = match outcome {
        Outcome::Accepted => Accepted,
        Outcome::Rejected if doubtful => Unsure,
        Outcome::Rejected => Rejected,
        Outcome::Uncertain if policy.uncertain == Uncertain::Hold => Unsure,
        Outcome::Deferred | Outcome::Uncertain if in_time => Deferred,
        Outcome::Deferred | Outcome::Uncertain if doubtful => Unsure,
        Outcome::Deferred | Outcome::Uncertain => Expired,
    };
    Move {
        delivery: held.id,
        number,
        state,
        next_at: policy.now.saturating_add(wait),
        doubtful,
        accepted_at: (outcome == Outcome::Accepted).then_some(policy.now),
    }
}

/// One attempt as it is shown: `delivery export --json` has these keys.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// When, RFC 3339.
    pub at: String,
    /// Through which relay.
    pub relay: String,
    /// As it stood in RCPT; empty once its owner was erased.
    pub address: String,
    /// Which revision it carried.
    pub revision: i64,
    /// What it came to; `None` while it is open.
    pub outcome: Option<String>,
    /// The basic code.
    pub code: Option<i64>,
    /// The enhanced code.
    pub enhanced: Option<String>,
    /// The words after the code, lines joined by LF.
    pub text: Option<String>,
}

/// One delivery with its attempts, as it is exported.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The subscriber's address; `None` once erased.
    pub email: Option<String>,
    /// The subscriber's id.
    pub subscriber: i64,
    /// Where it stands.
    pub state: String,
    /// When it was due.
    pub due_at: String,
    /// When it was too late.
    pub deadline: String,
    /// The revision that the last attempt carried; `None` before the first.
    pub revision: Option<i64>,
    /// With its angle brackets.
    pub message_id: String,
    /// When a relay took it.
    pub accepted_at: Option<String>,
    /// Every try, in order.
    pub attempts: Vec<Attempt>,
    /// When a bounce came back.
    pub bounced_at: Option<String>,
    /// When a complaint came back.
    pub complained_at: Option<String>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::delivery) fn held(doubtful: bool) -> Claimed {
        Claimed {
            id: DeliveryId(1),
            edition: 1,
            subscription: 1,
            address: "awa@example.org".to_owned(),
            timezone: None,
            language: None,
            consent: Consent::default(),
            tries: 0,
            deadline: 1_000_000,
            doubtful,
            before: None,
        }
    }

    fn state(doubtful: bool, outcome: Outcome, uncertain: Uncertain, civil: i64) -> DeliveryState {
        let retry = [Duration::from_secs(60)];
        let policy = Policy { retry: &retry, uncertain, now: 0, civil, jitter: 500 };
        after(&held(doubtful), 1, outcome, &policy).state
    }

    #[test]
    fn p1_every_outcome_leads_somewhere_and_doubt_is_never_forgotten() {
        use DeliveryState as S;
        use Uncertain::{Hold, Resend};
        let (early, late) = (0, 999_999);
        let table = [
            (false, Outcome::Accepted, Resend, early, S::Accepted),
            (false, Outcome::Deferred, Resend, early, S::Deferred),
            (false, Outcome::Deferred, Resend, late, S::Expired),
            (false, Outcome::Rejected, Resend, early, S::Rejected),
            (false, Outcome::Uncertain, Resend, early, S::Deferred),
            (false, Outcome::Uncertain, Resend, late, S::Uncertain),
            (false, Outcome::Uncertain, Hold, early, S::Uncertain),
            (true, Outcome::Accepted, Resend, early, S::Accepted),
            (true, Outcome::Rejected, Resend, early, S::Uncertain),
            (true, Outcome::Deferred, Resend, early, S::Deferred),
            (true, Outcome::Deferred, Resend, late, S::Uncertain),
        ];
        for (doubtful, outcome, policy, civil, expected) in table {
            assert_eq!(
                state(doubtful, outcome, policy, civil),
                expected,
                "{doubtful} {outcome:?} {policy:?} {civil}"
            );
        }
    }

    #[test]
    fn t16_a_refusal_said_to_mail_touches_no_address() {
        let reply = Reply::new(550, "5.1.1 sender unknown");
        let verdict = Verdict::of(&reply, true, By::Relay, &Rules::built_in());
        assert_eq!(verdict.class, Some(Class::Blocked));
        assert_eq!(verdict.outcome, Outcome::Deferred);
    }

    #[test]
    fn p6_of_a_servers_words_the_ledger_keeps_no_more_than_it_has_room_for() {
        let reply = Reply::new(550, &"no ".repeat(2000));
        let rules = Rules::built_in();
        for verdict in [Verdict::of(&reply, false, By::Relay, &rules), Verdict::ours(&reply, Class::System)] {
            assert_eq!(verdict.text.map(|text| text.len()), Some(4000));
        }
    }
}
