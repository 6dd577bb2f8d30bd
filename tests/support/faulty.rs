//! An SMTP server that fails as it is told: at every phase, in every way, and with a record of its own.
//!
//! What happens to a recipient's tries stands in its script, one step a try; when the script is over the mail is taken.
//! What happens before a recipient is known (greeting, TLS, MAIL) stands in queues. The server is strict: whatever a
//! sender must not do is noted as a violation.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Where in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Rcpt,
    Data,
    Body,
    Dot,
}

/// In which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Silence until the sender goes.
    Hang,
    /// The connection is closed without a word.
    Close,
    /// The first bytes of a reply, and the connection is closed.
    Half,
    /// What is no SMTP.
    Junk,
    /// 421, and the connection is closed.
    Goodbye,
    /// This reply, whole; the conversation goes on, but after a 421.
    Reply(String),
    /// The reply that it would be without a fault, in single bytes.
    Drip,
    /// The same in several lines.
    Lines,
}

/// What one try meets.
#[derive(Clone, Debug)]
pub struct Step {
    pub phase: Phase,
    pub fault: Fault,
    /// At the dot: the mail is taken all the same.
    pub taken: bool,
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The greeting comes late, and in time.
    Slow,
    Hang,
    Close,
    Half,
    Junk,
    /// 554 instead of 220.
    Refused,
    /// EHLO is answered with a closed connection.
    CloseAtEhlo,
    HangAtEhlo,
    /// STARTTLS is answered with 220, and then with what is no TLS.
    NoHandshake,
}

/// What is offered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offer {
    pub pipelining: bool,
    pub starttls: bool,
}

/// The last of what a recipient's try came to, as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The code that was sent whole, where one was.
    pub code: Option<u16>,
    /// The words behind it.
    pub text: String,
    /// Whether the mail was taken.
    pub taken: bool,
    /// Whether the whole body and its dot came.
    pub dot: bool,
}

/// One mail that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    pub from: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Record {
    pub taken: HashMap<String, Vec<Copy>>,
    pub said: HashMap<String, Vec<Said>>,
    pub violations: Vec<String>,
    scripts: HashMap<String, VecDeque<Step>>,
    openings: VecDeque<Opening>,
    /// Faults at MAIL, by how many MAILs come before them.
    mails: VecDeque<(u32, Fault)>,
    mail_count: u32,
}

/// The server; clones are the same one.
#[derive(Clone)]
pub struct Faulty {
    pub address: SocketAddr,
    record: Arc<Mutex<Record>>,
    progress: watch::Sender<u64>,
    offer: Offer,
    tls: Option<TlsAcceptor>,
}

impl Faulty {
    pub async fn start(
        offer: Offer,
        scripts: HashMap<String, VecDeque<Step>>,
        openings: VecDeque<Opening>,
        mails: VecDeque<(u32, Fault)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let record = Record { scripts, openings, mails, ..Record::default() };
        let server = Self {
            address: listener.local_addr().unwrap(),
            record: Arc::new(Mutex::new(record)),
            progress: watch::Sender::new(0),
            offer,
            tls: offer.starttls.then(acceptor),
        };
        let own = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let own = own.clone();
                // A sender that goes in mid-sentence is what this server is for.
                tokio::spawn(async move { drop(own.talk(socket).await) });
            }
        });
        server
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// Resolves when so many tries ended.
    pub async fn until(&self, tries: u64) {
        let mut seen = self.progress.subscribe();
        drop(seen.wait_for(|count| *count >= tries).await);
    }

    fn violation(&self, what: &str) {
        self.record().violations.push(what.to_owned());
    }

    fn said(&self, to: &str, said: Said) {
        self.record().said.entry(to.to_owned()).or_default().push(said);
        self.progress.send_modify(|count| *count += 1);
    }

    async fn talk(&self, socket: TcpStream) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        let opening = self.record().openings.pop_front();
        let mut wire = Wire::new(Box::new(socket));
        match opening {
            Some(Opening::Hang) => return wire.hang().await,
            Some(Opening::Close) => return Ok(()),
            Some(Opening::Half) => return wire.say("22").await,
            Some(Opening::Junk) => return wire.say("hello there\r\n").await,
            Some(Opening::Refused) => return wire.say("554 5.3.2 not today\r\n").await,
            Some(Opening::Slow) => tokio::time::sleep(Duration::from_millis(60)).await,
            _ => {}
        }
        wire.say("220 faulty ESMTP\r\n").await?;
        Conversation {
            server: self,
            wire,
            opening,
            encrypted: false,
            from: String::new(),
            to: None,
            dirty: false,
        }
        .go()
        .await
    }
}

/// A certificate that nobody has signed: opportunistic encryption does not ask.
fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

struct Wire(BufReader<Box<dyn Duplex>>);

impl Wire {
    fn new(stream: Box<dyn Duplex>) -> Self {
        Self(BufReader::new(stream))
    }

    async fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.0.write_all(text.as_bytes()).await?;
        self.0.flush().await
    }

    async fn hang(&mut self) -> std::io::Result<()> {
        let mut sunk = [0; 4096];
        while self.0.read(&mut sunk).await? > 0 {}
        Ok(())
    }

    async fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.0.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }

    /// Whether something came before it was asked for.
    fn early(&self) -> bool {
        !self.0.buffer().is_empty()
    }
}

struct Conversation<'a> {
    server: &'a Faulty,
    wire: Wire,
    opening: Option<Opening>,
    encrypted: bool,
    from: String,
    to: Option<String>,
    /// The last envelope did not end in a body: RSET is owed.
    dirty: bool,
}

/// Whether the conversation goes on.
type Goes = std::io::Result<bool>;

impl Conversation<'_> {
    async fn go(mut self) -> std::io::Result<()> {
        while let Some(line) = self.wire.line().await? {
            if !line.ends_with("\r\n") {
                self.server.violation(&format!("a line ends without CRLF: {line:?}"));
            }
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let path = line.split('<').nth(1).and_then(|rest| rest.split('>').next()).unwrap_or_default();
            if self.wire.early() && !(self.server.offer.pipelining && verb != "EHLO" && verb != "STAR") {
                self.server.violation(&format!("{verb} was followed before it was answered"));
            }
            let goes = match verb.as_str() {
                "EHLO" => self.ehlo().await?,
                "STAR" => self.starttls().await?,
                "MAIL" => self.mail(path).await?,
                "RCPT" => self.rcpt(path).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.from.clear();
                    (self.to, self.dirty) = (None, false);
                    self.answer("250 2.0.0 ok\r\n").await?
                }
                "QUIT" => {
                    self.wire.say("221 2.0.0 bye\r\n").await?;
                    false
                }
                _ => {
                    self.server.violation(&format!("{verb} is no command"));
                    self.answer("500 5.5.2 what\r\n").await?
                }
            };
            if !goes {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn answer(&mut self, text: &str) -> Goes {
        self.wire.say(text).await.map(|()| true)
    }

    async fn ehlo(&mut self) -> Goes {
        match self.opening {
            Some(Opening::CloseAtEhlo) => return Ok(false),
            Some(Opening::HangAtEhlo) => return self.wire.hang().await.map(|()| false),
            _ => {}
        }
        let mut text = "250-faulty\r\n".to_owned();
        if self.server.offer.pipelining {
            text.push_str("250-PIPELINING\r\n");
        }
        if self.server.offer.starttls && !self.encrypted {
            text.push_str("250-STARTTLS\r\n");
        }
        text.push_str("250 SIZE 10000000\r\n");
        self.answer(&text).await
    }

    async fn starttls(&mut self) -> Goes {
        self.wire.say("220 2.0.0 go on\r\n").await?;
        if self.opening == Some(Opening::NoHandshake) {
            self.wire.say("this is no handshake, and it never will be\r\n").await?;
            return Ok(false);
        }
        let Some(tls) = self.server.tls.clone() else { return Ok(false) };
        let nobody: Box<dyn Duplex> = Box::new(tokio::io::empty());
        let plain = std::mem::replace(&mut self.wire.0, BufReader::new(nobody)).into_inner();
        self.wire = Wire::new(Box::new(tls.accept(plain).await?));
        self.encrypted = true;
        Ok(true)
    }

    async fn mail(&mut self, path: &str) -> Goes {
        if self.dirty {
            self.server.violation("MAIL after a refused envelope, without RSET");
        }
        if !self.from.is_empty() {
            return self.answer("503 5.5.1 nested MAIL\r\n").await;
        }
        path.clone_into(&mut self.from);
        let fault = {
            let mut record = self.server.record();
            record.mail_count += 1;
            let now = record.mails.front().is_some_and(|(at, _)| *at < record.mail_count);
            if now { record.mails.pop_front().map(|(_, fault)| fault) } else { None }
        };
        let Some(fault) = fault else { return self.answer("250 2.1.0 ok\r\n").await };
        if let Fault::Reply(_) = fault {
            self.from.clear();
            self.dirty = true;
        }
        self.fail(&fault, "250 2.1.0 ok\r\n").await
    }

    async fn rcpt(&mut self, to: &str) -> Goes {
        if self.from.is_empty() {
            return self.answer("503 5.5.1 MAIL first\r\n").await;
        }
        let step = self.server.record().scripts.get(to).and_then(|steps| steps.front().cloned());
        let Some(step) = step.filter(|step| step.phase == Phase::Rcpt) else {
            self.to = Some(to.to_owned());
            return self.answer("250 2.1.5 ok\r\n").await;
        };
        self.pop(to);
        if matches!(step.fault, Fault::Drip | Fault::Lines) {
            self.to = Some(to.to_owned());
        } else {
            self.dirty = true;
            self.note(to, &step.fault, false, false);
        }
        self.fail(&step.fault, "250 2.1.5 ok\r\n").await
    }

    fn pop(&self, to: &str) {
        self.server.record().scripts.get_mut(to).map(VecDeque::pop_front);
    }

    async fn data(&mut self) -> Goes {
        let Some(to) = self.to.take() else {
            return self.answer("554 5.5.1 no valid recipients\r\n").await;
        };
        if self.wire.early() {
            self.server.violation("a body came before it was asked for");
        }
        let step = self.server.record().scripts.get_mut(&to).and_then(VecDeque::pop_front);
        match &step {
            Some(step) if step.phase == Phase::Data => {
                if !matches!(step.fault, Fault::Drip | Fault::Lines) {
                    self.dirty = true;
                    self.note(&to, &step.fault, false, false);
                    return self.fail(&step.fault, "").await;
                }
                self.fail(&step.fault, "354 go on\r\n").await?;
            }
            _ => self.wire.say("354 go on\r\n").await?,
        }
        if step.as_ref().is_some_and(|step| step.phase == Phase::Body) {
            let mut some = [0; 700];
            let came = self.wire.0.read_exact(&mut some).await;
            self.note(&to, &Fault::Close, false, false);
            return came.map(|_| false);
        }
        let Some(bytes) = self.body().await? else {
            // Nothing more may come of it, unless the sender gave up in the middle of it by itself.
            self.note(&to, &Fault::Close, false, false);
            return Ok(false);
        };
        if bytes.is_empty() {
            self.server.violation("a lone dot: an empty mail to somebody");
        }
        let from = std::mem::take(&mut self.from);
        let dot = step.filter(|step| step.phase == Phase::Dot);
        let taken = dot.as_ref().is_none_or(|step| step.taken);
        if taken {
            self.server.record().taken.entry(to.clone()).or_default().push(Copy { from, bytes });
        }
        let good = "250 2.0.0 queued\r\n";
        let Some(step) = dot else {
            self.note(&to, &Fault::Reply(good.to_owned()), true, true);
            return self.answer(good).await;
        };
        let fault = match &step.fault {
            Fault::Drip => Fault::Reply(good.to_owned()),
            Fault::Lines => Fault::Reply(format!("250-one\r\n250-two\r\n{good}")),
            other => other.clone(),
        };
        self.note(&to, &fault, taken, true);
        self.fail(&step.fault, good).await
    }

    fn note(&self, to: &str, fault: &Fault, taken: bool, dot: bool) {
        let reply = match fault {
            Fault::Reply(text) => Some(text.as_str()),
            Fault::Goodbye => Some(GOODBYE),
            _ => None,
        };
        let code = reply.and_then(|text| text.get(..3)).and_then(|code| code.parse().ok());
        let words = |text: &str| {
            let lines: Vec<&str> = text.lines().map(|line| line.get(4..).unwrap_or_default()).collect();
            lines.join("\n")
        };
        let text = reply.map(words).unwrap_or_default();
        self.server.said(to, Said { code, text, taken, dot });
    }

    async fn fail(&mut self, fault: &Fault, good: &str) -> Goes {
        match fault {
            Fault::Hang => self.wire.hang().await.map(|()| false),
            Fault::Close => Ok(false),
            Fault::Half => self
                .wire
                .say(good.get(..2).filter(|_| !good.is_empty()).unwrap_or("45"))
                .await
                .map(|()| false),
            Fault::Junk => self.wire.say("hello there\r\n").await.map(|()| false),
            Fault::Goodbye => self.wire.say(GOODBYE).await.map(|()| false),
            // Whoever says 421 goes.
            Fault::Reply(text) => self.answer(text).await.map(|goes| goes && !text.starts_with("421")),
            Fault::Drip => {
                for byte in good.chars() {
                    self.wire.say(&byte.to_string()).await?;
                    tokio::task::yield_now().await;
                }
                Ok(true)
            }
            Fault::Lines => {
                let code = good.get(..3).unwrap_or_default();
                self.answer(&format!("{code}-one\r\n{code}-two\r\n{good}")).await
            }
        }
    }

    /// The body, unstuffed; `None` when it breaks off.
    async fn body(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.wire.0.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                return Ok(None);
            }
            if line == b".\r\n" {
                return Ok(Some(bytes));
            }
            bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

const GOODBYE: &str = "421 4.3.2 closing\r\n";
