//! DKIM signatures (RFC 6376): relaxed/relaxed, RSA with SHA-256 (RFC 8301), no `l=`.
//!
//! Headers that somebody could add or repeat on the way are over-signed: named once more than they occur.

use aws_lc_rs::digest::{Algorithm, SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::BASE64;

use super::Error;

/// Signs for one domain with one key; never prints the key.
pub struct Signer {
    domain: String,
    selector: String,
    key: RsaKeyPair,
    /// What is signed is the headers' hash by this.
    hash: &'static Algorithm,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("domain", &self.domain)
            .field("selector", &self.selector)
            .finish_non_exhaustive()
    }
}

/// The headers that are signed, in this order, when they are there.
pub(super) const SIGNED: [&str; 13] = [
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "Auto-Submitted",
];

impl Signer {
    /// A signer with this RSA key: PEM, PKCS#8 or PKCS#1, 2048 bits or more.
    ///
    /// # Errors
    /// [`Error::Key`] with what is wrong with it.
    pub fn new(domain: &str, selector: &str, pem: &[u8]) -> Result<Self, Error> {
        let wrong = |message: &str| Error::Key(message.to_owned());
        let text = std::str::from_utf8(pem).map_err(|_| wrong("is no PEM text"))?;
        let pkcs1 = text.contains("BEGIN RSA PRIVATE KEY");
        if !pkcs1 && !text.contains("BEGIN PRIVATE KEY") {
            return Err(wrong("holds no private key (PEM, PKCS#8 or PKCS#1, without a passphrase)"));
        }
        let base64: String = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("-----") && !line.is_empty())
            .collect();
        let der = BASE64.decode(base64.as_bytes()).map_err(|_| wrong("is damaged: no base64"))?;
        let key = if pkcs1 { RsaKeyPair::from_der(&der) } else { RsaKeyPair::from_pkcs8(&der) };
        let key = key.map_err(|_| wrong("is no RSA key of 2048 bits or more"))?;
        if key.public_modulus_len() * 8 < KeySize::Rsa2048.len() * 8 {
            return Err(wrong("is shorter than 2048 bits"));
        }
        Ok(Self { domain: domain.to_owned(), selector: selector.to_owned(), key, hash: &SHA256 })
    }

    /// How many bits its key has.
    pub fn bits(&self) -> usize {
        self.key.public_modulus_len() * 8
    }

    /// What verifiers need of the key, as it stands in the `p=` of its record (RFC 6376 3.6.1).
    ///
    /// # Errors
    /// [`Error::Key`] when it cannot be written.
    pub fn public_key(&self) -> Result<String, Error> {
        let der: PublicKeyX509Der<'_> =
            self.key.public_key().as_der().map_err(|_| Error::Key("has no public part".to_owned()))?;
        Ok(BASE64.encode(der.as_ref()))
    }

    /// The whole DKIM-Signature header, with its line end.
    ///
    /// `names` are the signed headers that are there, `headers` those in relaxed form with their line ends,
    /// `body_hash` the SHA-256 of the relaxed body. Without `t=`: a repeated mail repeats its bytes, and a moment that a
    /// verifier's clock has not reached yet would void the signature.
    ///
    /// # Errors
    /// [`Error::Key`]: nothing was signed. An unsigned mail would fail where a signed one is asked for, and cost the
    /// domain its name: the message is made later.
    pub(super) fn sign(&self, names: &[&str], headers: &str, body_hash: &[u8]) -> Result<String, Error> {
        let over: Vec<&str> = names.iter().chain(names).copied().collect();
        let h = over.join(":");
        let bh = BASE64.encode(body_hash);
        // In the relaxed form the folds are single spaces; written and hashed here from the same parts.
        let parts = [
            "v=1; a=rsa-sha256; c=relaxed/relaxed;".to_owned(),
            format!("d={}; s={};", self.domain, self.selector),
            format!("h={};", fold_names(&h)),
            format!("bh={bh};"),
            "b=".to_owned(),
        ];
        let mut hashed = String::with_capacity(headers.len() + 700);
        hashed.push_str(headers);
        hashed.push_str("dkim-signature:");
        hashed.push_str(&parts.join(" ").replace("\r\n\t", " "));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let hash = digest(self.hash, hashed.as_bytes());
        self.key
            .sign_digest(&RSA_PKCS1_SHA256, &hash, &mut signature)
            .map_err(|_| Error::Key("signed nothing".to_owned()))?;
        let mut out = format!("DKIM-Signature: {}", parts.join("\r\n\t"));
        let encoded = BASE64.encode(&signature);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(70));
            out.push_str(line);
            rest = more;
            if !rest.is_empty() {
                out.push_str("\r\n\t");
            }
        }
        out.push_str("\r\n");
        Ok(out)
    }
}

/// A list of names in lines of a decent length; it may be folded after any colon.
fn fold_names(names: &str) -> String {
    let mut out = String::with_capacity(names.len() + 16);
    let mut width = 0;
    for (at, name) in names.split(':').enumerate() {
        if at > 0 {
            out.push(':');
            if width > 60 {
                out.push_str("\r\n\t");
                width = 0;
            }
        }
        out.push_str(name);
        width += name.len() + 1;
    }
    out
}

/// A header in relaxed form (RFC 6376 3.4.2), with its line end.
pub(super) fn relaxed_header(name: &str, value: &str) -> String {
    format!(
        "{}:{}\r\n",
        name.to_ascii_lowercase(),
        value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    )
}

/// A body in relaxed form (RFC 6376 3.4.4): what the encoding of ours leaves nothing to do for.
#[cfg(test)]
pub(super) fn relaxed_body(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    for line in body.split_inclusive("\r\n") {
        let line = line.strip_suffix("\r\n").unwrap_or(line).trim_end_matches([' ', '\t']);
        let mut blank = false;
        for c in line.chars() {
            if c == ' ' || c == '\t' {
                blank = true;
                continue;
            }
            if std::mem::take(&mut blank) {
                out.push(' ');
            }
            out.push(c);
        }
        out.push_str("\r\n");
    }
    while out.ends_with("\r\n\r\n") {
        out.truncate(out.len() - 2);
    }
    if out == "\r\n" {
        out.clear();
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::digest::SHA512;
    use aws_lc_rs::encoding::Pkcs8V1Der;
    use aws_lc_rs::rsa::KeyPair;

    use super::*;

    /// With a key that was made now.
    pub(crate) fn signer() -> Signer {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        Signer::new(
            "example.org",
            "m1",
            format!("{begin}\n{}\n{end}", BASE64.encode(der.as_ref())).as_bytes(),
        )
        .unwrap()
    }

    /// One that signs nothing.
    pub(crate) fn broken_signer() -> Signer {
        Signer { hash: &SHA512, ..signer() }
    }

    #[test]
    fn a3_what_cannot_be_signed_is_an_error_and_no_unsigned_mail() {
        let told = broken_signer().sign(&["From"], "from:a@example.org\r\n", &[0; 32]).unwrap_err();
        assert_eq!(told.to_string(), "the DKIM key: signed nothing");
        assert!(signer().sign(&["From"], "from:a@example.org\r\n", &[0; 32]).is_ok());
    }

    #[test]
    fn a3_relaxed_forms_are_those_of_the_rfc() {
        assert_eq!(relaxed_header("SUBJect", " AbC\r\n\t  d "), "subject:AbC d\r\n");
        assert_eq!(relaxed_body(" C \r\nD \t E\r\n\r\n\r\n"), " C\r\nD E\r\n");
        assert_eq!(relaxed_body("\r\n"), "");
    }

    #[test]
    fn p10_a_key_that_signs_nothing_is_told_as_such() {
        assert!(Signer::new("d", "s", b"hello").is_err());
        assert!(
            Signer::new("d", "s", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").is_err()
        );
    }
}
