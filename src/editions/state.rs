//! An edition's life: which move may follow which. `docs/states.md` draws the same table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an edition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EditionState {
    /// The line-up is being made.
    Open,
    /// Frozen and planned; nothing leaves yet.
    Locked,
    /// Deliveries leave as they fall due.
    Sending,
    /// Every delivery is final.
    Sent,
    /// Nothing leaves until somebody resumes it.
    Held,
    /// It will not be sent, or no further.
    Cancelled,
    /// Its time passed with the daemon down, or nobody approved it in time.
    Missed,
    /// Too few candidates. (A day off opens no edition.)
    Skipped,
}

/// A move that an edition's life does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an edition that is {from} cannot become {to}")]
pub struct NotAllowed {
    /// Where it stands.
    pub from: EditionState,
    /// Where it was to go.
    pub to: EditionState,
}

impl EditionState {
    /// Whether this move exists.
    ///
    /// # Errors
    /// [`NotAllowed`] otherwise.
    pub fn may_become(self, to: Self) -> Result<(), NotAllowed> {
        use EditionState::{Cancelled, Held, Locked, Missed, Open, Sending, Sent, Skipped};
        let allowed = match self {
            Open => matches!(to, Locked | Cancelled | Missed | Skipped),
            Locked => matches!(to, Sending | Held | Cancelled),
            Sending => matches!(to, Sent | Held | Cancelled),
            Held => matches!(to, Locked | Sending | Cancelled),
            // `edition send --late`, and a skipped day that found its articles after all.
            Missed | Skipped => matches!(to, Locked | Cancelled),
            // `delivery settle --resend`: what nobody knew of leaves after all.
            Sent => to == Sending,
            Cancelled => false,
        };
        if allowed { Ok(()) } else { Err(NotAllowed { from: self, to }) }
    }

    /// Whether nothing that people decide about it changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Sent | Self::Cancelled)
    }

    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Locked => "locked",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Held => "held",
            Self::Cancelled => "cancelled",
            Self::Missed => "missed",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for EditionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EditionState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [
            Self::Open,
            Self::Locked,
            Self::Sending,
            Self::Sent,
            Self::Held,
            Self::Cancelled,
            Self::Missed,
            Self::Skipped,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::EditionState as S;

    #[test]
    fn p1_what_is_cancelled_never_moves_again_and_what_is_sent_only_to_what_is_left_of_it() {
        for to in [S::Open, S::Locked, S::Sending, S::Sent, S::Held, S::Cancelled, S::Missed, S::Skipped] {
            assert_eq!(S::Sent.may_become(to).is_ok(), to == S::Sending, "{to}");
            assert!(S::Cancelled.may_become(to).is_err());
        }
    }

    #[test]
    fn what_was_missed_or_skipped_is_locked_by_hand_or_cancelled_and_never_open_again() {
        for from in [S::Missed, S::Skipped] {
            for to in [S::Open, S::Locked, S::Sending, S::Sent, S::Held, S::Cancelled, S::Missed, S::Skipped]
            {
                assert_eq!(
                    from.may_become(to).is_ok(),
                    matches!(to, S::Locked | S::Cancelled),
                    "{from} {to}"
                );
            }
        }
    }

    #[test]
    fn a_hold_goes_back_where_it_came_from_and_an_open_edition_is_never_sent_unlocked() {
        assert!(S::Sending.may_become(S::Held).is_ok());
        assert!(S::Held.may_become(S::Sending).is_ok());
        assert!(S::Open.may_become(S::Sending).is_err());
        assert_eq!(
            S::Open.may_become(S::Sent).unwrap_err().to_string(),
            "an edition that is open cannot become sent"
        );
    }
}
