//! Notices: single mails of ours that are no edition (an alert, a confirmation).

use jiff::ZonedDateTime;
use sha2::{Digest as _, Sha256};

use super::dkim::{self, Signer};
use super::{Error, encode};

/// One notice.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Display name of the From.
    pub from_name: &'a str,
    /// Address of the From.
    pub from_address: &'a str,
    /// Who it is for.
    pub to: &'a str,
    /// With its angle brackets.
    pub message_id: &'a str,
    /// When it is sent.
    pub date: &'a ZonedDateTime,
    /// What it is about.
    pub subject: &'a str,
    /// What it says, plain text.
    pub text: &'a str,
}

impl Notice<'_> {
    /// The whole message as the wire wants it: dot-stuffed, ended by CRLF (RFC 3834: generated, not to be answered
    /// by machines).
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, body) = ("text/plain; charset=utf-8".to_owned(), self.text_body());
        let mut headers = self.headers(kind);
        headers.push(("Content-Transfer-Encoding", "quoted-printable".to_owned()));
        written(&headers, "", &body)
    }

    /// The same with an HTML part beside the text, signed where there is a key: a test copy of an edition.
    ///
    /// # Errors
    /// [`Error::Key`] where the key signs nothing.
    pub fn to_bytes_with_html(&self, html: &str, signer: Option<&Signer>) -> Result<Vec<u8>, Error> {
        let boundary = "m-notice-of-two-parts";
        let part = |kind: &str, encoded: &str| {
            format!(
                "--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{encoded}\r\n"
            )
        };
        let (plain, html) = (part("plain", &self.text_body()), part("html", &encoded(html)));
        let body = format!("{plain}{html}--{boundary}--\r\n");
        let headers = self.headers(format!("multipart/alternative; boundary=\"{boundary}\""));
        let signature = signer.map(|signer| signed(signer, &headers, &body)).transpose()?;
        Ok(written(&headers, &signature.unwrap_or_default(), &body))
    }

    fn text_body(&self) -> String {
        encoded(&format!("{}\n", self.text.trim_end()))
    }

    fn headers(&self, kind: String) -> Vec<(&'static str, String)> {
        vec![
            ("From", encode::mailbox("From", self.from_name, self.from_address)),
            ("To", encode::one_line(self.to)),
            ("Subject", encode::unstructured("Subject", self.subject)),
            ("Date", self.date.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()),
            ("Message-ID", encode::one_line(self.message_id)),
            ("MIME-Version", "1.0".to_owned()),
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("Content-Type", kind),
        ]
    }
}

fn encoded(text: &str) -> String {
    encode::quoted_printable(text, super::prepared::SLOT)
}

/// The signature of a message; its body is in relaxed form as it is encoded.
fn signed(signer: &Signer, headers: &[(&'static str, String)], body: &str) -> Result<String, Error> {
    let signed = || headers.iter().filter(|(name, _)| dkim::SIGNED.contains(name));
    let names: Vec<&str> = signed().map(|(name, _)| *name).collect();
    let relaxed: String = signed().map(|(name, value)| dkim::relaxed_header(name, value)).collect();
    signer.sign(&names, &relaxed, &Sha256::digest(body))
}

fn written(headers: &[(&'static str, String)], signature: &str, body: &str) -> Vec<u8> {
    let mut out = signature.to_owned();
    for (name, value) in headers {
        out.extend([name, ": ", value.as_str(), "\r\n"]);
    }
    out.push_str("\r\n");
    out.push_str(&encode::stuff(body));
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use data_encoding::BASE64;

    use super::*;
    use crate::mail::dkim::tests::{broken_signer, signer};

    /// A header's name, and all of it in relaxed form without its line end.
    fn relaxed(header: &str) -> (String, String) {
        let (name, value) = header.split_once(':').unwrap();
        let relaxed = dkim::relaxed_header(name, &value.replace("\r\n", ""));
        (name.to_ascii_lowercase(), relaxed.trim_end().to_owned())
    }

    /// As RFC 6376 6.1.3 has it, for a message whose body is in relaxed form already.
    fn verifies(message: &str, key: &str) -> bool {
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        let unfolded = head.replace("\r\n\t", "\t").replace("\r\n ", " ");
        let mut headers: Vec<(String, String)> = unfolded.split("\r\n").map(relaxed).collect();
        let (_, signature) = headers.remove(0);
        let tag = |name: &str| {
            let tags = signature.split_once(':').unwrap().1.split(';');
            let found = tags.map(str::trim).find_map(|tag| tag.strip_prefix(name)).unwrap();
            found.replace(' ', "")
        };
        let body_hash = BASE64.encode(&Sha256::digest(body));
        let mut hashed = String::new();
        for name in tag("h=").split(':') {
            if let Some(at) = headers.iter().rposition(|(other, _)| *other == name.to_ascii_lowercase()) {
                hashed.extend([&headers.remove(at).1, "\r\n"]);
            }
        }
        hashed += &signature[..signature.find("; b=").unwrap() + 4];
        let key = BASE64.decode(key.as_bytes()).unwrap();
        let signed = BASE64.decode(tag("b=").as_bytes()).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
        tag("bh=") == body_hash && key.verify(hashed.as_bytes(), &signed).is_ok()
    }

    #[test]
    fn a3_a_test_copy_is_signed_as_an_edition_is_or_not_made() {
        let date = "2026-11-24T06:30:00+00:00[Africa/Abidjan]".parse().unwrap();
        let notice = Notice {
            from_name: "La Matinale, déjà",
            from_address: "matinale@example.org",
            to: "awa@example.org",
            message_id: "<n.1@example.org>",
            date: &date,
            subject: "[Essai] Le cacao monte, et le franc CFA reste à la même place depuis longtemps",
            text: "Un.\n.\n  Deux  blancs.\n\n",
        };
        let signer = signer();
        let key = signer.public_key().unwrap();
        let made = notice.to_bytes_with_html("<p>Un.</p>\n.\n", Some(&signer)).unwrap();
        let made = String::from_utf8(made).unwrap();
        assert!(verifies(&made, &key), "{made}");
        assert!(!verifies(&made.replace("To: awa", "To: ben"), &key), "it is no test that finds all good");
        assert!(!verifies(&made.replace("Deux", "Trois"), &key));
        let unsigned = notice.to_bytes_with_html("<p>Un.</p>\n.\n", None).unwrap();
        assert!(made.ends_with(&String::from_utf8(unsigned).unwrap()), "the same behind its signature");
        let broken = notice.to_bytes_with_html("<p>Un.</p>", Some(&broken_signer()));
        assert!(matches!(broken, Err(Error::Key(_))), "{broken:?}");
    }
}
