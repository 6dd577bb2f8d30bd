//! One SMTP session, held by us: our socket, our deadlines, pipelining where it is offered (rule T6).
//!
//! What is sent together, which reply belongs to which command and when a session is over is decided here. Replies are matched strictly in order; whatever is out of step ends the session,
//! and a session that was cancelled or timed out is never used again: it is dropped.

pub(super) mod certificate;
mod open;
pub(super) mod tls;
mod wire;

use std::io::IoSlice;
use std::time::Duration;

use lettre::transport::smtp::commands::Quit;
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use self::open::Offer;
use self::wire::{Misread, Wire, length, stretch};
use super::classify::is_about_sender;
use super::reply::Reply;
use crate::config::Timeouts;

/// After so many refused recipients in a row the next message goes over a new connection: servers slow down and hang
/// up on those who keep guessing.
const REFUSED_IN_A_ROW: u32 = 5;
/// After so many of the last hundred, DATA waits for the answer to RCPT: a refused one then costs one error, not two.
const REFUSED_OF_HUNDRED: u32 = 10;

/// What ends a body.
const DOT: &[u8] = b".\r\n";
/// The end of a body that waits for its release.
const HELD_BACK: usize = 512;
/// A shorter beginning is not worth a write of its own.
const WORTH_BEGINNING: usize = 4096;

/// Why a session is over. Nothing that was not released counts as tried.
#[derive(Clone, Debug)]
pub(super) enum Lost {
    /// The relay could not be reached or greeted badly.
    Down(String),
    /// The relay ended it (421), went away, was silent too long, or spoke out of step.
    Gone(String),
    /// Encryption was offered and did not come about.
    Handshake(String),
    /// The relay is not as safe as it must be.
    Misfit(String),
    /// The relay wants a password that the configuration does not give it, or takes none that it has.
    Denied(String),
    /// The relay said "not now" (421) and ended it: what it said is about us, and heard by the pace.
    Ended(Reply),
    /// The relay said no, before anything was asked for: heard likewise. Why, with where it was.
    Refused(Reply, String),
}

impl Lost {
    /// What the relay said, where that is why.
    pub(super) fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Ended(reply) | Self::Refused(reply, _) => Some(reply),
            _ => None,
        }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Down(why)
            | Self::Gone(why)
            | Self::Handshake(why)
            | Self::Misfit(why)
            | Self::Denied(why)
            | Self::Refused(_, why) => f.write_str(why),
            // Not its words: they may hold an address.
            Self::Ended(reply) => write!(f, "the relay ended the session: {}", reply.codes()),
        }
    }
}

/// Who it is from and for, on the wire.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    /// The return path.
    pub(super) from: String,
    /// The recipient.
    pub(super) to: String,
}

impl Envelope {
    /// Whether this reply speaks of the return path, and not of the recipient.
    pub(super) fn is_refused_as_ours(&self, reply: &Reply) -> bool {
        !reply.is_positive() && is_about_sender(reply, &self.from, &self.to)
    }

    fn needs_utf8(&self) -> bool {
        !self.to.is_ascii() || !self.from.is_ascii()
    }
}

/// What of an envelope was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Mail,
    Rcpt,
    Data,
}

/// How an envelope was received.
#[derive(Clone, Debug)]
pub(super) enum Received {
    /// 354: the body may follow, and nothing else.
    Ready,
    /// Refused; `about_us` where MAIL was, which says nothing about the recipient.
    Refused {
        /// What was said.
        reply: Reply,
        /// Whether it was said to MAIL.
        about_us: bool,
    },
}

/// What became of a body.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// The answer to the dot.
    Answered(Reply),
    /// The dot may have left, and there was no answer to be understood.
    Unknown(String),
    /// The dot did not leave.
    Unsent(String),
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    wire: Wire,
    offer: Offer,
    timeouts: Timeouts,
    /// RSET goes first: the last envelope did not end in a body.
    dirty: bool,
    over: bool,
    refused_in_a_row: u32,
    envelopes: u32,
    refused: u32,
    /// Messages whose body was sent.
    sent: u32,
}

impl Session {
    /// A session over a wire that is as it will stay.
    fn over(wire: Wire, offer: Offer, timeouts: Timeouts) -> Self {
        Self {
            wire,
            offer,
            timeouts,
            dirty: false,
            over: false,
            refused_in_a_row: 0,
            envelopes: 0,
            refused: 0,
            sent: 0,
        }
    }

    /// What the server offers.
    pub(super) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Who the server says it is, its own certificate first; `None` in clear.
    pub(super) fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.wire.certificates()
    }

    /// Whether another envelope may follow on this session.
    pub(super) fn may_go_on(&self, limit: u32) -> bool {
        !self.over && self.sent < limit && self.refused_in_a_row < REFUSED_IN_A_ROW
    }

    /// Whether the next envelope may travel with the end of a body.
    pub(super) fn pipelines(&self) -> bool {
        self.offer.pipelining && !self.dirty
    }

    /// What stands against this message before anything is said: an address or a size that the server cannot take.
    pub(super) fn unfit(&self, envelope: &Envelope, bytes: usize) -> Option<Reply> {
        if envelope.needs_utf8() && !self.offer.utf8 {
            return Some(Reply::new(
                550,
                "5.6.7 the relay does not take addresses beyond ASCII (no SMTPUTF8)",
            ));
        }
        match self.offer.size {
            Some(size) if bytes as u64 > size => {
                Some(Reply::new(552, "5.3.4 the message is larger than the relay takes"))
            }
            _ => None,
        }
    }

    fn group(envelope: &Envelope, with_data: bool) -> String {
        let utf8 = if envelope.needs_utf8() { " SMTPUTF8" } else { "" };
        let data = if with_data { "DATA\r\n" } else { "" };
        format!("MAIL FROM:<{}>{utf8}\r\nRCPT TO:<{}>\r\n{data}", envelope.from, envelope.to)
    }

    fn with_data(&self) -> bool {
        self.refused * 100 < REFUSED_OF_HUNDRED * self.envelopes.max(100)
    }

    /// Says who it is from and for, up to the 354.
    pub(super) async fn envelope(&mut self, envelope: &Envelope) -> Result<Received, Lost> {
        if self.dirty {
            let reply = self.say("RSET\r\n", self.timeouts.mail).await?;
            if reply.code != 250 {
                return Err(self.end(format!("RSET was answered with {}", reply.codes())));
            }
            self.dirty = false;
        }
        if !self.offer.pipelining {
            return self.envelope_step_by_step(envelope).await;
        }
        let with_data = self.with_data();
        let mail = self.say(&Self::group(envelope, with_data), self.timeouts.mail).await?;
        self.replies(mail, with_data).await
    }

    async fn envelope_step_by_step(&mut self, envelope: &Envelope) -> Result<Received, Lost> {
        let group = Self::group(envelope, false);
        let (mail, rcpt) = group.split_at(group.find("RCPT").unwrap_or(group.len()));
        self.envelopes += 1;
        let reply = self.say(mail, self.timeouts.mail).await?;
        if reply.code != 250 {
            return self.refuse(reply, Command::Mail);
        }
        let reply = self.say(rcpt, self.timeouts.rcpt).await?;
        if !taken(&reply) {
            return self.refuse(reply, Command::Rcpt);
        }
        self.ask_for_data().await
    }

    async fn ask_for_data(&mut self) -> Result<Received, Lost> {
        self.refused_in_a_row = 0;
        let reply = self.say("DATA\r\n", self.timeouts.data).await?;
        if reply.code == 354 { Ok(Received::Ready) } else { self.refuse(reply, Command::Data) }
    }

    /// Reads the replies to a group whose first, to MAIL, is already here: each belongs to its own command.
    async fn replies(&mut self, mail: Reply, with_data: bool) -> Result<Received, Lost> {
        self.envelopes += 1;
        if mail.code == 421 {
            return Err(self.ended(mail));
        }
        let rcpt = self.hear(self.timeouts.rcpt).await?;
        if rcpt.code == 421 {
            return Err(self.ended(rcpt));
        }
        let accepted = mail.code == 250 && taken(&rcpt);
        if !with_data {
            return match (accepted, mail.code == 250) {
                (true, _) => self.ask_for_data().await,
                (false, true) => self.refuse(rcpt, Command::Rcpt),
                (false, false) => self.refuse(mail, Command::Mail),
            };
        }
        let data = self.hear(self.timeouts.data).await?;
        match (accepted, data.code) {
            (true, 354) => {
                self.refused_in_a_row = 0;
                Ok(Received::Ready)
            }
            (true, _) => self.refuse(data, Command::Data),
            (false, 354) => {
                // It waits for a body that has nobody to go to: an empty one ends the wait, and the session.
                drop(self.say(".\r\n", self.timeouts.dot).await);
                self.over = true;
                if mail.code == 250 {
                    self.refuse(rcpt, Command::Rcpt)
                } else {
                    self.refuse(mail, Command::Mail)
                }
            }
            (false, _) if mail.code == 250 => self.refuse(rcpt, Command::Rcpt),
            (false, _) => self.refuse(mail, Command::Mail),
        }
    }

    fn refuse(&mut self, reply: Reply, command: Command) -> Result<Received, Lost> {
        // A protocol error is ours or theirs, never the recipient's: whoever waits is tried again. Behind a MAIL that was
        // understood it is the recipient that RCPT is not understood with.
        let words = reply.text.to_ascii_lowercase();
        let out_of_step = ((500..=504).contains(&reply.code) && command != Command::Rcpt)
            || words.contains("synchronization error")
            || words.contains("pipelining")
            || !(reply.is_temporary() || reply.is_permanent());
        if reply.code == 421 {
            return Err(self.ended(reply));
        }
        if out_of_step {
            return Err(self.end(format!("the relay is out of step: {}", reply.codes())));
        }
        self.dirty = true;
        self.refused_in_a_row += 1;
        self.refused += 1;
        Ok(Received::Refused { reply, about_us: command == Command::Mail })
    }

    /// Writes what of a body may be on its way before its release: all but its end. The server reads it meanwhile, and
    /// the commit costs no time on the wire.
    pub(super) async fn begin(&mut self, body: &[&[u8]]) -> Result<usize, Lost> {
        let begun = length(body).saturating_sub(HELD_BACK);
        if begun < WORTH_BEGINNING {
            return Ok(0);
        }
        self.over = true;
        match timeout(self.timeouts.block, self.wire.write(&mut stretch(body, 0, begun))).await {
            Ok(Ok(())) => {
                self.over = false;
                Ok(begun)
            }
            Ok(Err(_)) => Err(Lost::Gone("the connection was lost".to_owned())),
            Err(_) => Err(Lost::Gone(format!("no room within {} s", self.timeouts.block.as_secs()))),
        }
    }

    /// Writes the rest of a body, which ends with CRLF and is dot-stuffed, and its dot; behind it, where the server
    /// takes it, the next envelope in the same write. Only ever called behind a committed open attempt.
    pub(super) async fn body(
        &mut self,
        body: &[&[u8]],
        begun: usize,
        next: Option<&Envelope>,
    ) -> (Ended, Option<Result<Received, Lost>>) {
        let next = next.filter(|_| self.pipelines());
        let with_data = self.with_data();
        let through = length(body);
        let behind = next.map_or_else(String::new, |envelope| Self::group(envelope, with_data));
        let mut rest = stretch(body, begun, through);
        rest.extend([IoSlice::new(DOT), IoSlice::new(behind.as_bytes())]);
        let through_dot = self.wire.written() + (through - begun + DOT.len()) as u64;
        self.sent += 1;
        let reply = match self.exchange(&mut rest, self.timeouts.block + self.timeouts.dot).await {
            Ok(reply) => reply,
            Err(lost) => {
                // Less than the whole dot was taken by the socket: the server cannot have seen an end.
                let unsent = self.wire.written() < through_dot;
                let why = lost.to_string();
                return (if unsent { Ended::Unsent(why) } else { Ended::Unknown(why) }, None);
            }
        };
        let words = reply.text.to_ascii_lowercase();
        if reply.code == 421 || (reply.code == 500 && words.contains("pipelining")) {
            self.over = true;
            return (Ended::Answered(reply), None);
        }
        if !(reply.is_positive() || reply.is_temporary() || reply.is_permanent()) {
            self.over = true;
            return (Ended::Unknown(format!("the dot was answered with {}", reply.codes())), None);
        }
        if next.is_none() {
            return (Ended::Answered(reply), None);
        }
        let following = match self.hear(self.timeouts.mail).await {
            Ok(mail) => self.replies(mail, with_data).await,
            Err(lost) => Err(lost),
        };
        (Ended::Answered(reply), Some(following))
    }

    /// Says goodbye, briefly.
    pub(super) async fn quit(mut self) {
        if !self.over {
            // Whether the relay says goodbye too matters to nobody.
            drop(self.say(&Quit.to_string(), Duration::from_secs(2)).await);
        }
    }

    async fn say(&mut self, text: &str, within: Duration) -> Result<Reply, Lost> {
        self.exchange(&mut [IoSlice::new(text.as_bytes())], within).await
    }

    async fn hear(&mut self, within: Duration) -> Result<Reply, Lost> {
        self.exchange(&mut [], within).await
    }

    /// Writes these bytes, if any, and reads one reply.
    async fn exchange(&mut self, bytes: &mut [IoSlice<'_>], within: Duration) -> Result<Reply, Lost> {
        if self.over {
            return Err(Lost::Gone("the session is over".to_owned()));
        }
        // Until the answer is here the session is over: a caller that goes away in between leaves it so.
        self.over = true;
        let result = timeout(within, async {
            self.wire.write(bytes).await.map_err(|_| Misread::Lost)?;
            self.wire.reply().await
        })
        .await;
        match result {
            Err(_) => Err(Lost::Gone(format!("no answer within {} s", within.as_secs()))),
            Ok(Ok(reply)) => {
                self.over = false;
                Ok(reply)
            }
            // Not the words themselves: they may hold an address.
            Ok(Err(Misread::NoReply)) => Err(Lost::Gone("what came is no SMTP".to_owned())),
            Ok(Err(Misread::Lost)) => Err(Lost::Gone("the connection was lost".to_owned())),
        }
    }

    fn ended(&mut self, reply: Reply) -> Lost {
        self.over = true;
        Lost::Ended(reply)
    }

    fn end(&mut self, why: String) -> Lost {
        self.over = true;
        Lost::Gone(why)
    }
}

/// Whether a recipient was taken.
fn taken(reply: &Reply) -> bool {
    matches!(reply.code, 250..=252)
}

/// Sends one message over a session, and ends it.
///
/// # Errors
/// What the server said, in words.
pub(super) async fn send_over(mut session: Session, from: &str, to: &str, body: &[u8]) -> Result<(), String> {
    let envelope = Envelope { from: from.to_owned(), to: to.to_owned() };
    if let Some(reply) = session.unfit(&envelope, body.len()) {
        return Err(reply.to_string());
    }
    match session.envelope(&envelope).await {
        Ok(Received::Ready) => {}
        Ok(Received::Refused { reply, .. }) => return Err(reply.to_string()),
        Err(lost) => return Err(lost.to_string()),
    }
    let (ended, _) = session.body(&[body], 0, None).await;
    session.quit().await;
    match ended {
        Ended::Answered(reply) if reply.is_positive() => Ok(()),
        Ended::Answered(reply) => Err(reply.to_string()),
        Ended::Unknown(why) | Ended::Unsent(why) => Err(why),
    }
}
