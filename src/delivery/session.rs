//! One SMTP session, held by us: our socket, our deadlines, pipelining where it is offered (rule T6).
//!
//! lettre's connection speaks the protocol; what is sent together, which reply belongs to which command and when a
//! session is over is decided here. Replies are matched strictly in order; whatever is out of step ends the session,
//! and a session that was cancelled or timed out is never used again: it is dropped.

use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Ehlo, Quit};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::reply::Reply;
use super::stream::{Stream, Written};
use crate::config::{Relay, Timeouts, Tls};

/// After so many refused recipients in a row the next message goes over a new connection: servers slow down and hang
/// up on those who keep guessing.
const REFUSED_IN_A_ROW: u32 = 5;
/// After so many of the last hundred, DATA waits for the answer to RCPT: a refused one then costs one error, not two.
const REFUSED_OF_HUNDRED: u32 = 10;

/// Why a session is over. Nothing that was not released counts as tried.
#[derive(Clone, Debug)]
pub(super) enum Lost {
    /// The relay could not be reached or greeted badly.
    Down(String),
    /// The relay ended it (421), went away, was silent too long, or spoke out of step.
    Gone(String),
    /// The relay wants what the configuration does not give it: TLS, a password.
    Misfit(String),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Down(why) | Self::Gone(why) | Self::Misfit(why) => f.write_str(why),
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
    fn needs_utf8(&self) -> bool {
        !self.to.is_ascii() || !self.from.is_ascii()
    }
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
pub(super) struct Session {
    conn: AsyncSmtpConnection,
    written: Option<Written>,
    timeouts: Timeouts,
    pipelining: bool,
    utf8: bool,
    size: Option<u64>,
    /// RSET goes first: the last envelope did not end in a body.
    dirty: bool,
    over: bool,
    refused_in_a_row: u32,
    envelopes: u32,
    refused: u32,
    /// Messages whose body was sent.
    pub(super) sent: u32,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("sent", &self.sent).field("over", &self.over).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects, greets, encrypts and authenticates as the relay's configuration says.
    pub(super) async fn open(relay: &Relay, helo: &str, timeouts: Timeouts) -> Result<Self, Lost> {
        let down = |error: String| Lost::Down(format!("{}:{}: {error}", relay.host, relay.port));
        let connect = TcpStream::connect((relay.host.as_str(), relay.port));
        let socket = timeout(timeouts.connect, connect)
            .await
            .map_err(|_| down("no connection in time".to_owned()))?
            .map_err(|error| down(error.to_string()))?;
        // Without it the last bytes of a body wait for a delayed acknowledgement.
        socket.set_nodelay(true).map_err(|error| down(error.to_string()))?;
        let written = Written::default();
        let stream = match relay.tls {
            Tls::Implicit => tls(socket, &relay.host, written.clone(), timeouts.connect).await?,
            tls => Stream::Plain { socket, written: written.clone(), text: tls == Tls::None },
        };
        let hello = ClientId::Domain(helo.to_owned());
        let greeting = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
        let mut conn = timeout(timeouts.banner + timeouts.mail, greeting)
            .await
            .map_err(|_| down("no greeting in time".to_owned()))?
            .map_err(|error| down(said(&error)))?;
        let mut written = Some(written);
        match relay.tls {
            Tls::Opportunistic | Tls::Required if conn.can_starttls() => {
                // Opportunistic encryption does not ask who is there: a wrong certificate is better than none.
                let parameters = TlsParameters::builder(relay.host.clone())
                    .dangerous_accept_invalid_certs(relay.tls == Tls::Opportunistic)
                    .dangerous_accept_invalid_hostnames(relay.tls == Tls::Opportunistic)
                    .build_rustls()
                    .map_err(|error| Lost::Misfit(error.to_string()))?;
                timeout(timeouts.banner, conn.starttls(parameters, &hello))
                    .await
                    .map_err(|_| down("no TLS in time".to_owned()))?
                    .map_err(|error| down(format!("STARTTLS: {}", said(&error))))?;
                // What the socket takes is no longer what we write.
                written = None;
            }
            Tls::Required => {
                return Err(Lost::Misfit(format!("{}: TLS is required, and it offers none", relay.host)));
            }
            _ => {}
        }
        if let (Some(username), Some(password)) = (&relay.username, &relay.password) {
            let credentials = Credentials::new(username.clone(), password.expose_secret().to_owned());
            timeout(timeouts.mail, conn.auth(&[Mechanism::Plain, Mechanism::Login], &credentials))
                .await
                .map_err(|_| down("no answer to AUTH in time".to_owned()))?
                .map_err(|error| Lost::Misfit(format!("{}: AUTH: {}", relay.host, said(&error))))?;
        }
        let mut session = Self {
            conn,
            written,
            timeouts,
            pipelining: false,
            utf8: false,
            size: None,
            dirty: false,
            over: false,
            refused_in_a_row: 0,
            envelopes: 0,
            refused: 0,
            sent: 0,
        };
        session.learn(hello).await?;
        Ok(session)
    }

    /// Asks what is offered, now that the wire is as it will stay: lettre keeps only a part of it.
    async fn learn(&mut self, hello: ClientId) -> Result<(), Lost> {
        let response = timeout(self.timeouts.mail, self.conn.command(Ehlo::new(hello)))
            .await
            .map_err(|_| Lost::Down("no answer to EHLO in time".to_owned()))?
            .map_err(|error| Lost::Down(said(&error)))?;
        for line in response.message().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().map(str::to_ascii_uppercase).as_deref() {
                Some("PIPELINING") => self.pipelining = true,
                Some("SMTPUTF8") => self.utf8 = true,
                Some("SIZE") => {
                    self.size = words.next().and_then(|text| text.parse().ok()).filter(|size| *size > 0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether another envelope may follow on this session.
    pub(super) fn may_go_on(&self, limit: u32) -> bool {
        !self.over && self.sent < limit && self.refused_in_a_row < REFUSED_IN_A_ROW
    }

    /// Whether the next envelope may travel with the end of a body.
    pub(super) fn pipelines(&self) -> bool {
        self.pipelining && !self.dirty
    }

    /// What stands against this message before anything is said: an address or a size that the server cannot take.
    pub(super) fn unfit(&self, envelope: &Envelope, bytes: usize) -> Option<Reply> {
        if envelope.needs_utf8() && !self.utf8 {
            return Some(Reply::new(
                550,
                "5.6.7 the relay does not take addresses beyond ASCII (no SMTPUTF8)",
            ));
        }
        match self.size {
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
            let reply = self.say("RSET\r\n".to_owned(), self.timeouts.mail).await?;
            if reply.code != 250 {
                return Err(self.end(format!("RSET was answered with {}", reply.codes())));
            }
            self.dirty = false;
        }
        if !self.pipelining {
            return self.envelope_step_by_step(envelope).await;
        }
        let with_data = self.with_data();
        let mail = self.say(Self::group(envelope, with_data), self.timeouts.mail).await?;
        self.replies(mail, with_data).await
    }

    async fn envelope_step_by_step(&mut self, envelope: &Envelope) -> Result<Received, Lost> {
        let group = Self::group(envelope, false);
        let (mail, rcpt) = group.split_at(group.find("RCPT").unwrap_or(group.len()));
        let (mail, rcpt) = (mail.to_owned(), rcpt.to_owned());
        self.envelopes += 1;
        let reply = self.say(mail, self.timeouts.mail).await?;
        if reply.code != 250 {
            return self.refuse(reply, true);
        }
        let reply = self.say(rcpt, self.timeouts.rcpt).await?;
        if !taken(&reply) {
            return self.refuse(reply, false);
        }
        self.ask_for_data().await
    }

    async fn ask_for_data(&mut self) -> Result<Received, Lost> {
        self.refused_in_a_row = 0;
        let reply = self.say("DATA\r\n".to_owned(), self.timeouts.data).await?;
        if reply.code == 354 { Ok(Received::Ready) } else { self.refuse(reply, false) }
    }

    /// Reads the replies to a group whose first, to MAIL, is already here: each belongs to its own command.
    async fn replies(&mut self, mail: Reply, with_data: bool) -> Result<Received, Lost> {
        self.envelopes += 1;
        if mail.code == 421 {
            return Err(self.end(format!("the relay ended the session: {}", mail.codes())));
        }
        let rcpt = self.hear(self.timeouts.rcpt).await?;
        if rcpt.code == 421 {
            return Err(self.end(format!("the relay ended the session: {}", rcpt.codes())));
        }
        let accepted = mail.code == 250 && taken(&rcpt);
        if !with_data {
            return match (accepted, mail.code == 250) {
                (true, _) => self.ask_for_data().await,
                (false, true) => self.refuse(rcpt, false),
                (false, false) => self.refuse(mail, true),
            };
        }
        let data = self.hear(self.timeouts.data).await?;
        match (accepted, data.code) {
            (true, 354) => {
                self.refused_in_a_row = 0;
                Ok(Received::Ready)
            }
            (true, _) => self.refuse(data, false),
            (false, 354) => {
                // It waits for a body that has nobody to go to: an empty one ends the wait, and the session.
                drop(self.say(".\r\n".to_owned(), self.timeouts.dot).await);
                self.over = true;
                if mail.code == 250 { self.refuse(rcpt, false) } else { self.refuse(mail, true) }
            }
            (false, _) if mail.code == 250 => self.refuse(rcpt, false),
            (false, _) => self.refuse(mail, true),
        }
    }

    fn refuse(&mut self, reply: Reply, about_us: bool) -> Result<Received, Lost> {
        // A protocol error is ours or theirs, never the recipient's: whoever waits is tried again.
        let words = reply.text.to_ascii_lowercase();
        let out_of_step = (500..=504).contains(&reply.code)
            || words.contains("synchronization error")
            || words.contains("pipelining")
            || !(reply.is_temporary() || reply.is_permanent());
        if reply.code == 421 || out_of_step {
            return Err(self.end(format!("the relay is out of step: {}", reply.codes())));
        }
        self.dirty = true;
        self.refused_in_a_row += 1;
        self.refused += 1;
        Ok(Received::Refused { reply, about_us })
    }

    /// Writes a whole body, which ends with CRLF and is dot-stuffed, and its dot; behind it, where the server takes
    /// it, the next envelope in the same write. Only ever called behind a committed open attempt.
    pub(super) async fn body(
        &mut self,
        mut bytes: Vec<u8>,
        next: Option<&Envelope>,
    ) -> (Ended, Option<Result<Received, Lost>>) {
        let next = next.filter(|_| self.pipelines());
        let with_data = self.with_data();
        let group = next.map(|envelope| Self::group(envelope, with_data)).unwrap_or_default();
        bytes.extend_from_slice(b".\r\n");
        let through_dot = bytes.len() as u64;
        bytes.extend_from_slice(group.as_bytes());
        let Ok(text) = String::from_utf8(bytes) else {
            self.over = true;
            return (Ended::Unsent("the body is no text".to_owned()), None);
        };
        self.sent += 1;
        let before = self.written.as_ref().map(Written::get);
        let reply = match self.say(text, self.timeouts.block + self.timeouts.dot).await {
            Ok(reply) => reply,
            Err(lost) => {
                let left = before.zip(self.written.as_ref().map(Written::get));
                // Less than the whole dot was taken by the socket: the server cannot have seen an end.
                let unsent = left.is_some_and(|(before, now)| now - before < through_dot);
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
            drop(timeout(Duration::from_secs(2), self.conn.command(Quit)).await);
        }
    }

    async fn say(&mut self, text: String, within: Duration) -> Result<Reply, Lost> {
        self.exchange(Some(text), within).await
    }

    async fn hear(&mut self, within: Duration) -> Result<Reply, Lost> {
        self.exchange(None, within).await
    }

    async fn exchange(&mut self, text: Option<String>, within: Duration) -> Result<Reply, Lost> {
        if self.over {
            return Err(Lost::Gone("the session is over".to_owned()));
        }
        // Until the answer is here the session is over: a caller that goes away in between leaves it so.
        self.over = true;
        let result = timeout(within, async {
            match text {
                Some(text) => self.conn.command(text).await,
                None => self.conn.read_response().await,
            }
        })
        .await;
        match result {
            Err(_) => Err(Lost::Gone(format!("no answer within {} s", within.as_secs()))),
            Ok(Ok(response)) => {
                self.over = false;
                Ok(reply(&response))
            }
            Ok(Err(error)) => match refusal(&error) {
                Some(reply) => {
                    self.over = false;
                    Ok(reply)
                }
                // Not the error's own words: they may hold what the server said, and that an address.
                None if error.is_response() => Err(Lost::Gone("what came is no SMTP".to_owned())),
                None => Err(Lost::Gone("the connection was lost".to_owned())),
            },
        }
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

fn reply(response: &Response) -> Reply {
    let text: Vec<&str> = response.message().collect();
    Reply::new(u16::from(response.code()), &text.join("\n"))
}

/// The reply inside an error of lettre's, when the server said no; `None` when it said nothing that can be read.
fn refusal(error: &lettre::transport::smtp::Error) -> Option<Reply> {
    let code = u16::from(error.status()?);
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    Some(Reply::new(code, text.trim_end()))
}

fn said(error: &lettre::transport::smtp::Error) -> String {
    refusal(error).map_or_else(|| error.to_string(), |reply| reply.to_string())
}

async fn tls(socket: TcpStream, host: &str, written: Written, within: Duration) -> Result<Stream, Lost> {
    use rustls_platform_verifier::ConfigVerifierExt as _;
    let config =
        rustls::ClientConfig::with_platform_verifier().map_err(|error| Lost::Misfit(error.to_string()))?;
    let name = rustls_pki_types::ServerName::try_from(host.to_owned())
        .map_err(|_| Lost::Misfit(format!("{host} is no name that a certificate can have")))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = timeout(within, connector.connect(name, socket))
        .await
        .map_err(|_| Lost::Down(format!("{host}: no TLS in time")))?
        .map_err(|error| Lost::Down(format!("{host}: TLS: {error}")))?;
    Ok(Stream::Tls(Box::new(stream), written))
}

/// Sends one message of our own (a notice, a test copy) over a session of its own.
///
/// # Errors
/// What the relay said, or why it could not be asked, in words.
pub async fn send_one(
    relay: &Relay,
    helo: &str,
    timeouts: Timeouts,
    from: &str,
    to: &str,
    body: &[u8],
) -> Result<(), String> {
    let mut session = Session::open(relay, helo, timeouts).await.map_err(|lost| lost.to_string())?;
    let envelope = Envelope { from: from.to_owned(), to: to.to_owned() };
    if let Some(reply) = session.unfit(&envelope, body.len()) {
        return Err(reply.to_string());
    }
    match session.envelope(&envelope).await {
        Ok(Received::Ready) => {}
        Ok(Received::Refused { reply, .. }) => return Err(reply.to_string()),
        Err(lost) => return Err(lost.to_string()),
    }
    let (ended, _) = session.body(body.to_vec(), None).await;
    session.quit().await;
    match ended {
        Ended::Answered(reply) if reply.is_positive() => Ok(()),
        Ended::Answered(reply) => Err(reply.to_string()),
        Ended::Unknown(why) | Ended::Unsent(why) => Err(why),
    }
}
