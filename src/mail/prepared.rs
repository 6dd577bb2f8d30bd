//! One revision in one language as bytes, with places for what is personal.
//!
//! Encoded and folded once, so that the body on the wire, the body that is read and the body that is signed are the
//! same bytes; filling one subscriber in is a few headers, and one signature. The places stand where nothing that fills
//! them can need encoding or move a line: tokens are letters and digits, and what is not is refused.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Context, Digest, SHA256};
use jiff::ZonedDateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Error;
use super::consent::{Consent, Sentences};
use super::content::{self, Content};
use super::dkim::{self, Signer};
use super::encode;
use super::render::{self, Rendered};
use crate::readers::is_local_part;

/// Stands for the subscription's token in a rendered part until it is filled in.
pub const SLOT: &str = "subscriptiontokengoesherexxxxx";
/// Stands on a line of its own where it is said when and where this reader asked for the newsletter.
pub(super) const CONSENT: &str = "subscriptionconsentgoesherexxx";
const VERSION: u32 = 3;
/// Its bodies have no place but the token's, and say so by naming none.
const WITHOUT_CONSENT: u32 = 2;

/// What is personal in a message.
#[derive(Clone, Copy, Debug)]
pub struct Personal<'a> {
    /// Who it is for, alone; without a name.
    pub address: &'a str,
    /// With its angle brackets.
    pub message_id: &'a str,
    /// The first release, with the recipient's offset.
    pub date: &'a ZonedDateTime,
    /// In the links; letters and digits.
    pub subscription_token: &'a str,
    /// When and where they asked for it.
    pub consent: &'a Consent,
}

impl Personal<'_> {
    /// Whether all of it could stand in its place; gives back the To.
    ///
    /// # Errors
    /// [`Error::Unfit`] for what could not.
    pub fn fits(&self) -> Result<Cow<'_, str>, Error> {
        if !is_token(self.subscription_token) {
            return Err(Error::Unfit("token"));
        }
        if !is_message_id(self.message_id) {
            return Err(Error::Unfit("Message-ID"));
        }
        to_header(self.address).ok_or(Error::Unfit("address"))
    }
}

/// What stands between two pieces of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    Token,
    /// Whole lines of the text part, or none.
    SaidInText,
    /// Whole lines of the HTML part, or none.
    SaidInHtml,
}

/// One revision in one language, ready to be filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    version: u32,
    /// The headers that are the same for everybody, with their line ends.
    head: String,
    /// The names of those that are signed, in their order.
    signed: Vec<String>,
    /// Those in the relaxed form that is signed.
    relaxed: String,
    /// What List-Unsubscribe begins with, before the token.
    unsubscribe: String,
    /// The body between its places. Its encoding leaves nothing to dot-stuffing or to the relaxed form.
    body: Vec<String>,
    /// What stands after each piece of the body but the last; the token where it is not said.
    #[serde(default)]
    places: Vec<Place>,
    /// In which words it is said when and where a reader asked for it.
    #[serde(default)]
    sentences: Sentences,
    #[serde(skip)]
    begun: Begun,
}

/// The hash of what stands before the first place of a body: the same for everybody, and made once.
#[derive(Clone, Default)]
struct Begun(OnceLock<Context>);

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Begun")
    }
}

/// It follows from the body.
impl PartialEq for Begun {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Begun {}

impl Prepared {
    /// Prepares what was rendered.
    pub fn new(rendered: &Rendered, content: &Content) -> Self {
        let newsletter = &content.newsletter;
        let digest = Sha256::digest(format!("{}\0{}\0{}", rendered.subject, rendered.text, rendered.html));
        let boundary = format!("m-{}", data_encoding::HEXLOWER.encode(&digest[..12]));
        let domain = newsletter.from_address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let sender: String = domain.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
        let mut headers = vec![
            ("From", encode::mailbox("From", &newsletter.from_name, &newsletter.from_address)),
            ("Subject", encode::unstructured("Subject", &rendered.subject)),
        ];
        if let Some(reply_to) = &newsletter.reply_to {
            let (name, address) = content::name_and_address(reply_to);
            headers.push(("Reply-To", encode::mailbox("Reply-To", name, address)));
        }
        headers.extend([
            ("MIME-Version", "1.0".to_owned()),
            ("Content-Type", format!("multipart/alternative; boundary=\"{boundary}\"")),
            ("List-Id", encode::mailbox("List-Id", &newsletter.name, &newsletter.list_id)),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()),
            ("Feedback-ID", format!("{}:{}:edition:{:0<5}", newsletter.id, content.date, sender)),
            ("Precedence", "bulk".to_owned()),
        ]);
        let part = |kind: &str, text: &str| {
            format!(
                "--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n",
                encode::quoted_printable(text, SLOT)
            )
        };
        let (mut body, mut places) = (vec![String::new()], Vec::new());
        lay_out(&part("plain", &rendered.text), Place::SaidInText, &mut body, &mut places);
        lay_out(&part("html", &rendered.html), Place::SaidInHtml, &mut body, &mut places);
        if let Some(last) = body.last_mut() {
            last.extend(["--", &boundary, "--\r\n"]);
        }
        let is_signed = |name: &str| dkim::SIGNED.contains(&name);
        Self {
            version: VERSION,
            signed: headers
                .iter()
                .filter(|(name, _)| is_signed(name))
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            relaxed: headers
                .iter()
                .filter(|(name, _)| is_signed(name))
                .map(|(name, value)| dkim::relaxed_header(name, value))
                .collect(),
            head: headers.iter().flat_map(|(name, value)| [name, ": ", value.as_str(), "\r\n"]).collect(),
            unsubscribe: format!("<{}/u/", newsletter.public_url),
            body,
            places,
            sentences: Sentences::new(rendered.language),
            begun: Begun::default(),
        }
    }

    /// Writes the whole message as the wire wants it and as it is read, which is the same: no line of it begins with
    /// a dot, so there is nothing to stuff. It ends with CRLF, without the final dot.
    ///
    /// # Errors
    /// [`Error::Unfit`] for what is personal and could not stand in its place, [`Error::Key`] where it could not be
    /// signed; nothing is written then.
    pub fn fill(
        &self,
        personal: &Personal<'_>,
        signer: Option<&Signer>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let said = self.write_head(personal, signer, out)?;
        out.reserve(self.len());
        self.each(personal.subscription_token, &said, |piece| out.extend_from_slice(piece.as_bytes()));
        Ok(())
    }

    /// The same message without a copy of its body. `head` is where its headers go.
    ///
    /// # Errors
    /// As of [`fill`](Self::fill).
    pub fn message(
        self: Arc<Self>,
        personal: &Personal<'_>,
        signer: Option<&Signer>,
        mut head: Vec<u8>,
    ) -> Result<Message, Error> {
        let said = self.write_head(personal, signer, &mut head)?;
        Ok(Message { head, token: personal.subscription_token.to_owned(), said, prepared: self })
    }

    /// Writes the headers and the blank line behind them; gives back what the body says of the reader's consent.
    fn write_head(
        &self,
        personal: &Personal<'_>,
        signer: Option<&Signer>,
        out: &mut Vec<u8>,
    ) -> Result<Said, Error> {
        let token = personal.subscription_token;
        let to = personal.fits()?;
        let date = personal.date.strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
        let unsubscribe = format!("{}{token}>", self.unsubscribe);
        let own = [
            ("To", to.as_ref()),
            ("Date", &date),
            ("Message-ID", personal.message_id),
            ("List-Unsubscribe", &unsubscribe),
        ];
        let said = said(&self.sentences, personal.consent);
        if let Some(signer) = signer {
            let names: Vec<&str> =
                self.signed.iter().map(String::as_str).chain(own.iter().map(|(name, _)| *name)).collect();
            let mut headers = String::with_capacity(self.relaxed.len() + 512);
            headers.push_str(&self.relaxed);
            for (name, value) in own {
                headers.push_str(&dkim::relaxed_header(name, value));
            }
            let signature = signer.sign(&names, &headers, self.hash(token, &said).as_ref())?;
            out.extend_from_slice(signature.as_bytes());
        }
        out.extend_from_slice(self.head.as_bytes());
        for (name, value) in own {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(said)
    }

    /// About how long a message is.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.iter().map(String::len).sum::<usize>() + 2048
    }

    /// Never: a message has headers.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// As it is kept with the revision.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain texts always serialise")
    }

    /// From what was kept.
    ///
    /// # Errors
    /// [`Error::Prepared`] when it is not ours.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let prepared: Self =
            serde_json::from_slice(bytes).map_err(|error| Error::Prepared(error.to_string()))?;
        if matches!(prepared.version, VERSION | WITHOUT_CONSENT) {
            Ok(prepared)
        } else {
            Err(Error::Prepared(format!("version {}", prepared.version)))
        }
    }

    /// The SHA-256 of the body in relaxed form, which is the body as it stands.
    fn hash(&self, token: &str, said: &Said) -> Digest {
        let first = self.body.first().map_or("", String::as_str);
        let begun = self.begun.0.get_or_init(|| {
            let mut hash = Context::new(&SHA256);
            hash.update(first.as_bytes());
            hash
        });
        let (mut hash, mut at) = (begun.clone(), 0);
        self.each(token, said, |piece| {
            if at > 0 {
                hash.update(piece.as_bytes());
            }
            at += 1;
        });
        hash.finish()
    }

    /// The pieces of the body, and what fills the places between them.
    fn each<'a>(&'a self, token: &'a str, said: &'a Said, mut to: impl FnMut(&'a str)) {
        for (at, piece) in self.body.iter().enumerate() {
            if at > 0 {
                to(match self.places.get(at - 1).unwrap_or(&Place::Token) {
                    Place::Token => token,
                    Place::SaidInText => &said.text,
                    Place::SaidInHtml => &said.html,
                });
            }
            to(piece);
        }
    }
}

/// One subscriber's message: headers of its own, and a body whose pieces it shares with everybody else's. Not copied
/// together, they are still in the processor's cache when the next message takes them from there.
#[derive(Clone, Debug)]
pub struct Message {
    head: Vec<u8>,
    token: String,
    said: Said,
    prepared: Arc<Prepared>,
}

impl Message {
    /// What [`Prepared::fill`] writes, in its order.
    pub fn pieces(&self) -> Vec<&[u8]> {
        let mut pieces = Vec::with_capacity(1 + self.prepared.body.len() + self.prepared.places.len());
        pieces.push(self.head.as_slice());
        self.prepared.each(&self.token, &self.said, |piece| pieces.push(piece.as_bytes()));
        pieces
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        let mut bytes = self.head.len();
        self.prepared.each(&self.token, &self.said, |piece| bytes += piece.len());
        bytes
    }

    /// Never: a message has headers.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }
}

impl Rendered {
    /// The same with the personal places of its parts filled in.
    pub fn filled(&self, subscription_token: &str, consent: &Consent) -> Self {
        let (text, html) = sentence(&Sentences::new(self.language), consent);
        let fill = |part: &str, said: &str| {
            part.replace(&format!("{CONSENT}\n"), said).replace(SLOT, subscription_token)
        };
        Self { html: fill(&self.html, &html), text: fill(&self.text, &text), ..self.clone() }
    }
}

/// Takes an encoded part apart at its places.
fn lay_out(part: &str, said: Place, body: &mut Vec<String>, places: &mut Vec<Place>) {
    let line = format!("{CONSENT}\r\n");
    for (at, stretch) in part.split(&line).enumerate() {
        for (nth, piece) in stretch.split(SLOT).enumerate() {
            if at > 0 || nth > 0 {
                places.push(if nth == 0 { said } else { Place::Token });
                body.push(String::new());
            }
            if let Some(last) = body.last_mut() {
                last.push_str(piece);
            }
        }
    }
}

/// What is said of a reader's consent, encoded: whole lines, or nothing.
#[derive(Clone, Debug, Default)]
struct Said {
    text: String,
    html: String,
}

fn said(sentences: &Sentences, consent: &Consent) -> Said {
    let (text, html) = sentence(sentences, consent);
    let encoded =
        |lines: &str| if lines.is_empty() { String::new() } else { encode::quoted_printable(lines, SLOT) };
    Said { text: encoded(&text), html: encoded(&html) }
}

/// The sentence as lines of the text part and as lines of the HTML part.
fn sentence(sentences: &Sentences, consent: &Consent) -> (String, String) {
    let text = sentences.say(consent, ToOwned::to_owned).map(|said| render::wrapped(&said));
    let html = sentences.say(consent, |place| format!("<bdi>{}</bdi>", render::escaped(place)));
    (text.unwrap_or_default(), html.map_or_else(String::new, |said| said + "\n"))
}

/// Letters and digits, as many as stand on a line of their own: nothing that could need encoding or end a link.
fn is_token(token: &str) -> bool {
    (1..=60).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// `<left@right>`, of letters, digits, dots and hyphens.
fn is_message_id(id: &str) -> bool {
    let inner = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).and_then(|id| id.split_once('@'));
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    id.len() <= 250 && inner.is_some_and(|(left, right)| plain(left) && plain(right))
}

/// The address as it stands in To, with the domain in A-labels; a local part beyond ASCII stays as it is (RFC 6532),
/// for servers that take it. `None` for what could end the header, or name a second reader.
fn to_header(address: &str) -> Option<Cow<'_, str>> {
    let (local, domain) = address.rsplit_once('@')?;
    if !is_local_part(local) || address.len() > 320 {
        return None;
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    if !domain.is_empty() && domain.bytes().all(plain) && !domain.contains("xn--") {
        return Some(Cow::Borrowed(address));
    }
    Some(Cow::Owned(format!("{local}@{}", crate::config::domain(domain).ok()?)))
}
