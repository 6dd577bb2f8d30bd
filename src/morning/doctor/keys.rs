//! What signs: the keys of DKIM, and the secret of the links in mails.
//!
//! That their files are there and kept from others the configuration sees to: it is refused otherwise, and its faults
//! are told in place of everything else.

use secrecy::ExposeSecret as _;

use super::finding::{Area, Finding};
use super::{Check, Patient};
use crate::config::Dkim;
use crate::mail::dkim::Signer;

const AREA: Area = Area::Keys;
/// In characters: so many of what `matinale init` draws (32 bytes, which are 52 of base32) are 80 bits, and nobody
/// guesses those.
const LONG_ENOUGH: usize = 16;

pub(super) fn checks(patient: &Patient) -> Vec<Check> {
    let secret = judge_secret(patient.config.secret.expose_secret());
    let mut checks = vec![Check::start(patient, AREA, "keys.secret_file", async { vec![secret] })];
    for dkim in patient.config.dkim.values() {
        let subject = format!("dkim.{}", dkim.domain);
        let dkim = dkim.clone();
        checks.push(Check::start(patient, AREA, &subject, async move { vec![judge_dkim(&dkim)] }));
    }
    checks
}

fn judge_secret(secret: &str) -> Finding {
    let subject = "keys.secret_file";
    let length = secret.trim().chars().count();
    if length < LONG_ENOUGH {
        return Finding::doubtful(
            AREA,
            subject,
            format!(
                "The secret that signs links has {length} characters: whoever guesses it unsubscribes \
                 anybody."
            ),
            "Before the first edition: (umask 077; openssl rand -hex 32 > FILE), where FILE is what keys.secret_file names; \
             later, links in mails already sent die with the old one.",
        );
    }
    Finding::good(AREA, subject, format!("It is there, kept from others, {length} characters: keep a copy."))
}

fn judge_dkim(dkim: &Dkim) -> Finding {
    let subject = format!("dkim.{}.key_file", dkim.domain);
    match Signer::new(&dkim.domain, &dkim.selector, dkim.key.expose_secret().as_bytes()) {
        Ok(signer) => Finding::good(AREA, subject, format!("RSA, {} bits, kept from others.", signer.bits())),
        Err(error) => Finding::bad(
            AREA,
            &subject,
            format!("{error}."),
            format!(
                "Make one in the place of {subject}: openssl genrsa -out FILE 2048 && chmod 600 FILE; then publish its \
                 record, which doctor tells."
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morning::doctor::Verdict;

    #[test]
    fn a_secret_that_can_be_guessed_is_doubtful() {
        for (secret, verdict) in [
            ("key", Verdict::Doubtful),
            ("0123456789abcde\n", Verdict::Doubtful),
            ("0123456789abcdef", Verdict::Good),
        ] {
            let told = judge_secret(secret);
            assert_eq!(told.verdict, verdict, "{secret:?}");
            // `init` writes nothing beside a configuration that is there, and this one was read.
            let made =
                told.advice.is_none_or(|advice| advice.contains("(umask 077; openssl rand -hex 32 > FILE)"));
            assert!(made, "{secret:?}");
        }
    }

    #[test]
    fn a2_a_key_that_signs_nothing_is_bad_with_the_command_that_makes_one() {
        let dkim = |key: &str| Dkim {
            domain: "news.example.org".to_owned(),
            selector: "m1".to_owned(),
            key: key.to_owned().into(),
        };
        let told = judge_dkim(&dkim("no key"));
        assert_eq!((told.verdict, told.subject.as_str()), (Verdict::Bad, "dkim.news.example.org.key_file"));
        assert!(told.advice.unwrap().contains("openssl genrsa"));
    }
}
