//! An SMTP server that fails as it is told: at every phase, in every way, and with a record of its own.
//!
//! What happens to a recipient's tries stands in its script, one step a try; when the script is over the mail is taken.
//! What belongs to no recipient (greeting, TLS, MAIL, RSET, QUIT) stands in queues. The server is strict: whatever a
//! sender must not do is noted as a violation.

mod conversation;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use conversation::Conversation;
use wire::Wire;

/// Nothing that a test waits for takes so long.
const LONGEST: Duration = Duration::from_secs(240);

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
    /// This reply, whole, with the return path for `{from}`; the conversation goes on, but after a 421.
    Reply(String),
    /// The reply that it would be without a fault, in single bytes.
    Drip,
    /// The same in several lines.
    Lines,
    /// The reply that it would be, broken on its way: with TLS the record's seal does not hold any more.
    Garble,
    /// The same, once [`Faulty::let_go`] named this number or a higher one.
    After(u64, Box<Self>),
}

impl Fault {
    /// What it comes to, whenever that is.
    fn bare(&self) -> &Self {
        match self {
            Self::After(_, fault) => fault.bare(),
            fault => fault,
        }
    }

    /// Whether the reply is none but the good one, in an odd shape.
    fn is_good(&self) -> bool {
        matches!(self.bare(), Self::Drip | Self::Lines)
    }
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
    /// EHLO is answered with 502, HELO as it should be.
    NoEhlo,
    /// STARTTLS is answered with 220, and then with what is no TLS.
    NoHandshake,
    /// STARTTLS is answered with 220 and silence.
    HangAtHandshake,
    /// STARTTLS is answered with a closed connection.
    CloseAtStarttls,
}

/// What is offered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offer {
    pub pipelining: bool,
    pub starttls: bool,
    /// How long the answer to a dot is kept back.
    pub pace: Duration,
    /// No larger mail, where there is such a number.
    pub size: Option<usize>,
    /// No more connections at a time, where there is such a number.
    pub most: Option<usize>,
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

#[derive(Clone, Debug, Default)]
pub struct Record {
    pub taken: HashMap<String, Vec<Copy>>,
    pub said: HashMap<String, Vec<Said>>,
    pub violations: Vec<String>,
    /// When the newest message began, by its MAIL.
    pub began: Option<Instant>,
    /// When the newest whole body was there.
    pub ended: Option<Instant>,
    /// The most conversations at a time.
    pub most_open: usize,
    /// Connections that found too many others.
    pub turned_away: usize,
    open: usize,
    scripts: HashMap<String, VecDeque<Step>>,
    openings: VecDeque<Opening>,
    /// Faults at commands that belong to no recipient.
    strays: Vec<Stray>,
    counts: HashMap<&'static str, u32>,
}

/// A fault at the n-th command of its kind, whoever's it is.
#[derive(Clone, Debug)]
pub struct Stray {
    /// MAIL, RSET or QUIT.
    pub verb: &'static str,
    /// 1 for the first.
    pub nth: u32,
    pub fault: Fault,
}

/// The server; clones are the same one.
#[derive(Clone)]
pub struct Faulty {
    pub address: SocketAddr,
    record: Arc<Mutex<Record>>,
    progress: watch::Sender<u64>,
    gates: watch::Sender<u64>,
    offer: Offer,
    tls: Option<TlsAcceptor>,
}

impl Faulty {
    pub async fn start(
        offer: Offer,
        scripts: HashMap<String, VecDeque<Step>>,
        openings: VecDeque<Opening>,
        strays: Vec<Stray>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let record = Record { scripts, openings, strays, ..Record::default() };
        let server = Self {
            address: listener.local_addr().unwrap(),
            record: Arc::new(Mutex::new(record)),
            progress: watch::Sender::new(0),
            gates: watch::Sender::new(0),
            offer,
            tls: offer.starttls.then(acceptor),
        };
        let own = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let own = own.clone();
                tokio::spawn(async move {
                    own.opened();
                    // A sender that goes in mid-sentence is what this server is for.
                    drop(own.talk(socket).await);
                    own.record().open -= 1;
                });
            }
        });
        server
    }

    /// What this recipient's tries meet.
    pub fn script(&self, to: &str, steps: VecDeque<Step>) {
        self.record().scripts.insert(to.to_owned(), steps);
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// A copy of the record, for who looks at it for longer.
    pub fn record_as_it_is(&self) -> Record {
        self.record().clone()
    }

    /// Resolves when so many tries ended.
    pub async fn until(&self, tries: u64) {
        let mut seen = self.progress.subscribe();
        let came = seen.wait_for(|count| *count >= tries);
        let came = tokio::time::timeout(LONGEST, came).await;
        assert!(came.is_ok(), "{tries} were waited for, and {} came", *self.progress.borrow());
    }

    /// What waits for a number up to this one goes on.
    pub fn let_go(&self, number: u64) {
        self.gates.send_replace(number);
    }

    async fn let_go_of(&self, number: u64) {
        let mut gates = self.gates.subscribe();
        drop(gates.wait_for(|open| *open >= number).await);
    }

    /// How many whole bodies with their dots came to anybody.
    pub fn dots(&self) -> usize {
        self.record().said.values().flatten().filter(|said| said.dot).count()
    }

    /// How many came to this one.
    pub fn dots_to(&self, to: &str) -> usize {
        self.record().said.get(to).map_or(0, |said| said.iter().filter(|said| said.dot).count())
    }

    fn opened(&self) {
        let mut record = self.record();
        record.open += 1;
        record.most_open = record.most_open.max(record.open);
    }

    fn is_one_too_many(&self) -> bool {
        let mut record = self.record();
        let many = self.offer.most.is_some_and(|most| record.open > most);
        record.turned_away += usize::from(many);
        many
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
        let mut wire = Wire::over(Box::new(socket));
        if self.is_one_too_many() {
            return wire.say("421 4.7.0 too many connections\r\n").await;
        }
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
        Conversation::new(self, wire, opening).go().await
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
