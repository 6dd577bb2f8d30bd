//! How a session begins: connection, greeting, EHLO, encryption, authentication.
//!
//! Commands and mechanisms are lettre's; what is asked for in which order, and what a refusal means, is decided here.

use std::fmt::Display;
use std::io::IoSlice;
use std::net::SocketAddr;

use data_encoding::BASE64;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::{Auth, Ehlo, Starttls};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use secrecy::ExposeSecret as _;
use tokio::net::ToSocketAddrs;
use tokio::time::timeout;

use super::tls::{self, Trust};
use super::wire::{Misread, Wire};
use super::{Lost, Session};
use crate::config::{Relay, Timeouts, Tls};
use crate::delivery::reply::Reply;

/// What a server offers (RFC 5321 4.1.1.1).
#[derive(Clone, Debug, Default)]
pub(in crate::delivery) struct Offer {
    pub(in crate::delivery) pipelining: bool,
    pub(in crate::delivery) utf8: bool,
    /// The largest message it takes, where it said so.
    pub(in crate::delivery) size: Option<u64>,
    /// Of a session that is encrypted by now it says nothing.
    pub(in crate::delivery) starttls: bool,
    mechanisms: Vec<Mechanism>,
}

impl Offer {
    /// What the lines after the first say.
    fn of(reply: &Reply) -> Self {
        let mut offer = Self::default();
        for line in reply.text.lines().skip(1) {
            let mut words = line.split_ascii_whitespace().map(str::to_ascii_uppercase);
            match words.next().as_deref() {
                Some("PIPELINING") => offer.pipelining = true,
                Some("SMTPUTF8") => offer.utf8 = true,
                Some("STARTTLS") => offer.starttls = true,
                Some("SIZE") => {
                    offer.size = words.next().and_then(|text| text.parse().ok()).filter(|size| *size > 0);
                }
                // The second spelling is that of servers older than RFC 2554.
                Some(word) if word == "AUTH" || word.starts_with("AUTH=") => {
                    let all = word.strip_prefix("AUTH=").map(str::to_owned).into_iter().chain(words);
                    offer.mechanisms.extend(all.filter_map(|word| match word.as_str() {
                        "PLAIN" => Some(Mechanism::Plain),
                        "LOGIN" => Some(Mechanism::Login),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        offer
    }
}

/// How a server must be able to be greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    /// With EHLO: what it offers is needed.
    New,
    /// With EHLO or, where it does not know that, HELO.
    Any,
}

/// A connection that is not a session yet.
struct Opening<'a> {
    wire: Wire,
    host: &'a str,
    /// The host and where it was reached, for what is told.
    place: String,
    hello: ClientId,
    timeouts: Timeouts,
    /// Whether it is known who is at the other end: this machine, or who has a certificate for the host's name.
    known: bool,
}

impl Session {
    /// Connects, greets, encrypts and authenticates as the relay's configuration says.
    ///
    /// Where encryption is offered and does not come about, and none is required, a new connection goes without.
    pub(in crate::delivery) async fn open(
        relay: &Relay,
        helo: &str,
        timeouts: Timeouts,
    ) -> Result<Self, Lost> {
        match Self::open_as(relay, helo, timeouts, relay.tls).await {
            Err(Lost::Handshake(why)) if relay.tls == Tls::Opportunistic => {
                tracing::warn!(relay.name = %relay.name, reason = %why, "no encryption came about; going without");
                Self::open_as(relay, helo, timeouts, Tls::None).await
            }
            result => result,
        }
    }

    async fn open_as(relay: &Relay, helo: &str, timeouts: Timeouts, tls: Tls) -> Result<Self, Lost> {
        let place = format!("{}:{}", relay.host, relay.port);
        let mut opening =
            Opening::connect(&relay.host, place, (relay.host.as_str(), relay.port), helo, timeouts).await?;
        if tls == Tls::Implicit {
            opening = opening.encrypt(&Trust::Named).await?;
        }
        opening.greeting().await?;
        let manners =
            if tls == Tls::Required || relay.username.is_some() { Manners::New } else { Manners::Any };
        let mut offer = opening.hello(manners).await?;
        match tls {
            Tls::Opportunistic | Tls::Required if offer.starttls => {
                // Opportunistic encryption does not ask who is there.
                let trust = if tls == Tls::Opportunistic { Trust::Anybody } else { Trust::Named };
                opening = opening.starttls(&trust).await?;
                offer = opening.hello(manners).await?;
            }
            Tls::Required => {
                return Err(Lost::Misfit(format!("{}: TLS is required, and it offers none", relay.host)));
            }
            _ => {}
        }
        opening.authenticate(relay, &offer).await?;
        Ok(Self::over(opening.wire, offer, timeouts))
    }

    /// Connects to a receiver's own server at this address and greets it. Encrypts where that is offered and wished
    /// for; one who is not to be trusted with less than that is not written to.
    pub(in crate::delivery) async fn open_at(
        host: &str,
        address: SocketAddr,
        helo: &str,
        timeouts: Timeouts,
        trust: Option<&Trust>,
    ) -> Result<Self, Lost> {
        let place = format!("{host} [{}]", address.ip());
        let mut opening = Opening::connect(host, place, address, helo, timeouts).await?;
        opening.greeting().await?;
        let manners = if matches!(trust, None | Some(Trust::Anybody)) { Manners::Any } else { Manners::New };
        let mut offer = opening.hello(manners).await?;
        match trust {
            Some(trust) if offer.starttls => {
                opening = opening.starttls(trust).await?;
                offer = opening.hello(manners).await?;
            }
            None | Some(Trust::Anybody) => {}
            Some(_) => return Err(Lost::Misfit(format!("{host}: TLS is required, and it offers none"))),
        }
        Ok(Self::over(opening.wire, offer, timeouts))
    }
}

impl<'a> Opening<'a> {
    async fn connect(
        host: &'a str,
        place: String,
        target: impl ToSocketAddrs,
        helo: &str,
        timeouts: Timeouts,
    ) -> Result<Self, Lost> {
        let wire = timeout(timeouts.connect, Wire::connect(target))
            .await
            .map_err(|_| Lost::Down(format!("{place}: no connection in time")))?
            .map_err(|error| Lost::Down(format!("{place}: {error}")))?;
        let known = wire.is_local();
        Ok(Self { wire, host, place, hello: ClientId::Domain(helo.to_owned()), timeouts, known })
    }

    fn down(&self, why: impl Display) -> Lost {
        Lost::Down(format!("{}: {why}", self.place))
    }

    /// A reply that is no yes, before anything was asked for.
    fn refused(&self, reply: Reply) -> Lost {
        if reply.is_temporary() {
            return Lost::Ended(reply);
        }
        let why = format!("{}: {reply}", self.place);
        Lost::Refused(reply, why)
    }

    async fn greeting(&mut self) -> Result<(), Lost> {
        let reply = self.hear("no greeting in time", self.timeouts.banner).await?;
        if reply.is_positive() { Ok(()) } else { Err(self.refused(reply)) }
    }

    /// Says who we are, and hears what is offered. Who does not know EHLO is greeted as before there was one, and offers
    /// nothing (RFC 5321 3.2).
    async fn hello(&mut self, manners: Manners) -> Result<Offer, Lost> {
        let reply = self.say(Ehlo::new(self.hello.clone()), "no answer to EHLO in time").await?;
        if reply.is_positive() {
            return Ok(Offer::of(&reply));
        }
        if manners == Manners::New || !matches!(reply.code, 500 | 501 | 502 | 504) {
            return Err(self.refused(reply));
        }
        let old = format!("HELO {}\r\n", self.hello);
        let reply = self.say(old, "no answer to HELO in time").await?;
        if reply.is_positive() { Ok(Offer::default()) } else { Err(self.refused(reply)) }
    }

    async fn starttls(mut self, trust: &Trust) -> Result<Self, Lost> {
        let reply = self.say(Starttls, "no answer to STARTTLS in time").await?;
        if reply.code != 220 {
            return Err(Lost::Handshake(format!("{}: STARTTLS: {reply}", self.host)));
        }
        self.encrypt(trust).await
    }

    async fn encrypt(self, trust: &Trust) -> Result<Self, Lost> {
        let Self { wire, host, place, hello, timeouts, known } = self;
        let connector = tls::connector(trust).map_err(Lost::Misfit)?;
        let name = if let Trust::Judged { name, .. } = trust { name.as_str() } else { host };
        let name = rustls_pki_types::ServerName::try_from(name.to_owned())
            .map_err(|_| Lost::Misfit(format!("{name} is no name that a certificate can have")))?;
        let wire = timeout(timeouts.banner, wire.encrypt(&connector, name))
            .await
            .map_err(|_| Lost::Handshake(format!("{host}: no TLS in time")))?
            .map_err(|error| Lost::Handshake(format!("{host}: TLS: {error}")))?;
        let known = known || matches!(trust, Trust::Named);
        Ok(Self { wire, host, place, hello, timeouts, known })
    }

    async fn authenticate(&mut self, relay: &Relay, offer: &Offer) -> Result<(), Lost> {
        let (Some(username), Some(password)) = (&relay.username, &relay.password) else {
            return Ok(());
        };
        let host = &relay.host;
        let denied = |why: String| Lost::Denied(format!("{host}: AUTH: {why}"));
        // Whatever the configuration let through: a name such as localhost may lead anywhere.
        if !self.known {
            let why = "no password goes to another machine whose certificate nobody looked at";
            return Err(Lost::Misfit(format!("{host}: AUTH: {why}")));
        }
        let mechanism = [Mechanism::Plain, Mechanism::Login]
            .into_iter()
            .find(|known| offer.mechanisms.contains(known))
            .ok_or_else(|| denied("it offers neither PLAIN nor LOGIN".to_owned()))?;
        let credentials = Credentials::new(username.clone(), password.expose_secret().to_owned());
        let auth =
            Auth::new(mechanism, credentials.clone(), None).map_err(|error| denied(error.to_string()))?;
        let mut reply = self.say(auth, "no answer to AUTH in time").await?;
        // LOGIN asks twice; whoever asks on is not to be satisfied.
        for _ in 0..2 {
            if reply.code != 334 {
                break;
            }
            let challenge: Response = format!("334 {}\r\n", reply.text)
                .parse()
                .map_err(|_| denied("a challenge that cannot be read".to_owned()))?;
            let auth = Auth::new_from_response(mechanism, credentials.clone(), &challenge)
                .map_err(|error| denied(error.to_string()))?;
            reply = self.say(auth, "no answer to AUTH in time").await?;
        }
        if reply.is_positive() {
            return Ok(());
        }
        // Some say what they heard, and this is told on: to logs, to whoever looks at a relay.
        let secrets = [
            password.expose_secret().to_owned(),
            BASE64.encode(password.expose_secret().as_bytes()),
            BASE64.encode(format!("\0{username}\0{}", password.expose_secret()).as_bytes()),
        ];
        let says_it = secrets.iter().any(|secret| reply.text.contains(secret));
        Err(denied(if says_it { reply.codes() } else { reply.to_string() }))
    }

    async fn say(&mut self, command: impl Display, late: &str) -> Result<Reply, Lost> {
        let text = command.to_string();
        let written =
            timeout(self.timeouts.mail, self.wire.write(&mut [IoSlice::new(text.as_bytes())])).await;
        match written {
            Ok(Ok(())) => self.hear(late, self.timeouts.mail).await,
            Ok(Err(error)) => Err(self.down(error)),
            Err(_) => Err(self.down(late)),
        }
    }

    async fn hear(&mut self, late: &str, within: std::time::Duration) -> Result<Reply, Lost> {
        match timeout(within, self.wire.reply()).await {
            Err(_) => Err(self.down(late)),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Misread::Lost)) => Err(self.down("the connection was lost")),
            Ok(Err(Misread::NoReply)) => Err(self.down("what came is no SMTP")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[test]
    fn t6_what_a_server_offers_is_read_from_its_lines() {
        let text = "mx.example at your service\nPIPELINING\nsize 35882577\n8BITMIME\nSTARTTLS\nAUTH LOGIN PLAIN XOAUTH2\nSMTPUTF8";
        let offer = Offer::of(&Reply::new(250, text));
        assert!(offer.pipelining && offer.utf8 && offer.starttls);
        assert_eq!(offer.size, Some(35_882_577));
        assert_eq!(offer.mechanisms, [Mechanism::Login, Mechanism::Plain]);
        let bare = Offer::of(&Reply::new(250, "PIPELINING is this host's name\nSIZE 0\nAUTH=PLAIN"));
        assert!(!bare.pipelining && bare.size.is_none());
        assert_eq!(bare.mechanisms, [Mechanism::Plain]);
        let long = format!("mx.example\n{}STARTTLS\nSMTPUTF8", "X-OF-OUR-OWN of many words\n".repeat(100));
        let offer = Offer::of(&Reply::new(250, &long));
        assert!(offer.starttls && offer.utf8, "t7: the last lines are lines too");
    }

    #[tokio::test]
    async fn rfc4954_a_password_is_said_to_nobody_who_is_not_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let text =
            "[relay.main]\nurl = \"smtp://localhost\"\nusername = \"m\"\npassword_file = \"secret.key\"\n";
        let config = crate::config::tests::load(text, &[]).unwrap();
        let (relay, timeouts) = (&config.relays["main"], config.delivery.timeouts);
        for known in [true, false] {
            let to = ("127.0.0.1", port);
            let (opening, accepted) = tokio::join!(
                Opening::connect("localhost", "here".to_owned(), to, "us", timeouts),
                listener.accept()
            );
            let (mut opening, mut server) = (opening.unwrap(), accepted.unwrap().0);
            assert!(opening.known, "it is this machine");
            opening.known = known;
            let offer = Offer { mechanisms: vec![Mechanism::Plain], ..Offer::default() };
            let heard = async {
                let mut heard = [0; 512];
                let length = server.read(&mut heard).await.unwrap();
                server.write_all(b"235 2.7.0 welcome\r\n").await.ok();
                String::from_utf8_lossy(&heard[..length]).into_owned()
            };
            let said = async {
                let result = opening.authenticate(relay, &offer).await;
                drop(opening);
                result
            };
            let (result, heard) = tokio::join!(said, heard);
            assert_eq!((result.is_ok(), heard.starts_with("AUTH PLAIN")), (known, known), "{heard}");
        }
    }
}
