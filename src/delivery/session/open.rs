//! How a session begins: connection, greeting, EHLO, encryption, authentication.
//!
//! Commands and mechanisms are lettre's; what is asked for in which order, and what a refusal means, is decided here.

use std::fmt::Display;
use std::io::IoSlice;
use std::net::SocketAddr;

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

/// A connection that is not a session yet.
struct Opening<'a> {
    wire: Wire,
    host: &'a str,
    /// The host and where it was reached, for what is told.
    place: String,
    hello: ClientId,
    timeouts: Timeouts,
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
        let mut offer = opening.ehlo().await?;
        match tls {
            Tls::Opportunistic | Tls::Required if offer.starttls => {
                // Opportunistic encryption does not ask who is there.
                let trust = if tls == Tls::Opportunistic { Trust::Anybody } else { Trust::Named };
                opening = opening.starttls(&trust).await?;
                offer = opening.ehlo().await?;
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
        let mut offer = opening.ehlo().await?;
        match trust {
            Some(trust) if offer.starttls => {
                opening = opening.starttls(trust).await?;
                offer = opening.ehlo().await?;
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
        Ok(Self { wire, host, place, hello: ClientId::Domain(helo.to_owned()), timeouts })
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

    async fn ehlo(&mut self) -> Result<Offer, Lost> {
        let reply = self.say(Ehlo::new(self.hello.clone()), "no answer to EHLO in time").await?;
        if reply.is_positive() { Ok(Offer::of(&reply)) } else { Err(self.refused(reply)) }
    }

    async fn starttls(mut self, trust: &Trust) -> Result<Self, Lost> {
        let reply = self.say(Starttls, "no answer to STARTTLS in time").await?;
        if reply.code != 220 {
            return Err(Lost::Handshake(format!("{}: STARTTLS: {reply}", self.host)));
        }
        self.encrypt(trust).await
    }

    async fn encrypt(self, trust: &Trust) -> Result<Self, Lost> {
        let Self { wire, host, place, hello, timeouts } = self;
        let connector = tls::connector(trust).map_err(Lost::Misfit)?;
        let name = rustls_pki_types::ServerName::try_from(host.to_owned())
            .map_err(|_| Lost::Misfit(format!("{host} is no name that a certificate can have")))?;
        let wire = timeout(timeouts.banner, wire.encrypt(&connector, name))
            .await
            .map_err(|_| Lost::Handshake(format!("{host}: no TLS in time")))?
            .map_err(|error| Lost::Handshake(format!("{host}: TLS: {error}")))?;
        Ok(Self { wire, host, place, hello, timeouts })
    }

    async fn authenticate(&mut self, relay: &Relay, offer: &Offer) -> Result<(), Lost> {
        let (Some(username), Some(password)) = (&relay.username, &relay.password) else {
            return Ok(());
        };
        let host = &relay.host;
        let denied = |why: String| Lost::Denied(format!("{host}: AUTH: {why}"));
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
        if reply.is_positive() { Ok(()) } else { Err(denied(reply.to_string())) }
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
    }
}
