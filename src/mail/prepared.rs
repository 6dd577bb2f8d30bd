//! One revision in one language as bytes, with places for what is personal.
//!
//! Encoded, folded and dot-stuffed once; filling one subscriber in is copying, and one signature. The places stand
//! where nothing that fills them can need encoding or move a line: tokens are letters and digits.

use jiff::ZonedDateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Error;
use super::content::Content;
use super::dkim::{self, Signer};
use super::encode;
use super::render::Rendered;

/// Stands for the subscription's token until it is filled in.
pub(super) const SLOT: &str = "subscriptiontokengoesherexxxxx";
const VERSION: u32 = 1;

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
}

/// One revision in one language, ready to be filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    version: u32,
    /// The headers that are the same for everybody, in order: name and value.
    headers: Vec<(String, String)>,
    /// What List-Unsubscribe begins with, before the token.
    unsubscribe: String,
    /// The body between its slots, dot-stuffed.
    body: Vec<String>,
    /// The same not stuffed, where it differs.
    plain: Vec<String>,
    /// The same in the relaxed form that is signed.
    relaxed: Vec<String>,
}

impl Prepared {
    /// Prepares what was rendered.
    pub fn new(rendered: &Rendered, content: &Content) -> Self {
        let newsletter = &content.newsletter;
        let digest = Sha256::digest(format!("{}\0{}\0{}", rendered.subject, rendered.text, rendered.html));
        let boundary = format!("m-{}", data_encoding::HEXLOWER.encode(&digest[..12]));
        let domain = newsletter.from_address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let sender: String = domain.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
        let mut headers = vec![
            ("From".to_owned(), encode::mailbox(&newsletter.from_name, &newsletter.from_address)),
            ("Subject".to_owned(), encode::unstructured(&rendered.subject)),
        ];
        if let Some(reply_to) = &newsletter.reply_to {
            headers.push(("Reply-To".to_owned(), encode::one_line(reply_to)));
        }
        headers.extend([
            ("MIME-Version".to_owned(), "1.0".to_owned()),
            ("Content-Type".to_owned(), format!("multipart/alternative; boundary=\"{boundary}\"")),
            ("List-Id".to_owned(), encode::mailbox(&newsletter.name, &newsletter.list_id)),
            ("List-Unsubscribe-Post".to_owned(), "List-Unsubscribe=One-Click".to_owned()),
            ("Feedback-ID".to_owned(), format!("{}:{}:edition:{:0<5}", newsletter.id, content.date, sender)),
            ("Precedence".to_owned(), "bulk".to_owned()),
        ]);
        let part = |kind: &str, text: &str| {
            format!(
                "--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n",
                encode::quoted_printable(text, SLOT)
            )
        };
        let body =
            format!("{}{}--{boundary}--\r\n", part("plain", &rendered.text), part("html", &rendered.html));
        let pieces = |text: &str| text.split(SLOT).map(str::to_owned).collect::<Vec<_>>();
        Self {
            version: VERSION,
            headers,
            unsubscribe: format!("<{}/u/", newsletter.public_url),
            body: pieces(&encode::stuff(&body)),
            relaxed: pieces(&dkim::relaxed_body(&body)),
            plain: pieces(&body),
        }
    }

    /// Writes the whole message as the wire wants it: dot-stuffed, ended by CRLF, without the final dot.
    pub fn fill(&self, personal: &Personal<'_>, signer: Option<&Signer>, out: &mut Vec<u8>) {
        self.write(personal, signer, &self.body, out);
    }

    /// Writes the whole message as it is read: not dot-stuffed.
    pub fn fill_plain(&self, personal: &Personal<'_>, signer: Option<&Signer>, out: &mut Vec<u8>) {
        self.write(personal, signer, &self.plain, out);
    }

    /// About how long a message is.
    pub fn len(&self) -> usize {
        self.body.iter().map(String::len).sum::<usize>() + 2048
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
        if prepared.version == VERSION {
            Ok(prepared)
        } else {
            Err(Error::Prepared(format!("version {}", prepared.version)))
        }
    }

    fn write(&self, personal: &Personal<'_>, signer: Option<&Signer>, body: &[String], out: &mut Vec<u8>) {
        let token = personal.subscription_token;
        let to = to_header(personal.address);
        let date = personal.date.strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
        let unsubscribe = format!("{}{token}>", self.unsubscribe);
        let own = [
            ("To", to.as_str()),
            ("Date", &date),
            ("Message-ID", personal.message_id),
            ("List-Unsubscribe", &unsubscribe),
        ];
        if let Some(signer) = signer {
            let mut hash = Sha256::new();
            for (at, piece) in self.relaxed.iter().enumerate() {
                if at > 0 {
                    hash.update(token.as_bytes());
                }
                hash.update(piece.as_bytes());
            }
            let mut names = Vec::with_capacity(dkim::SIGNED.len());
            let mut headers = String::with_capacity(1024);
            for name in dkim::SIGNED {
                let value = own.iter().find(|(own, _)| *own == name).map(|(_, value)| *value).or_else(|| {
                    self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
                });
                if let Some(value) = value {
                    names.push(name);
                    headers.push_str(&dkim::relaxed_header(name, value));
                }
            }
            out.extend_from_slice(signer.sign(&names, &headers, &hash.finalize()).as_bytes());
        }
        for (name, value) in
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(own)
        {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        for (at, piece) in body.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(token.as_bytes());
            }
            out.extend_from_slice(piece.as_bytes());
        }
    }
}

/// A rendered part with the personal places filled in.
pub fn fill_text(text: &str, subscription_token: &str) -> String {
    text.replace(SLOT, subscription_token)
}

/// The domain in A-labels; a local part beyond ASCII stays as it is (RFC 6532), for servers that take it.
fn to_header(address: &str) -> String {
    let address = encode::one_line(address);
    match address.rsplit_once('@') {
        Some((local, domain)) => {
            format!("{local}@{}", crate::config::domain(domain).unwrap_or_else(|_| domain.to_owned()))
        }
        None => address,
    }
}
