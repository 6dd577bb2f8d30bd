//! DKIM: whether what is published at the selector is the key that we sign with (RFC 6376 3.6.1).

use data_encoding::BASE64;
use secrecy::ExposeSecret as _;

use super::{AREA, unanswered};
use crate::config::Dkim;
use crate::delivery::names::Names;
use crate::mail::dkim::Signer;
use crate::morning::doctor::finding::{Finding, txt_record};

pub(super) async fn look(names: &Names, dkim: &Dkim) -> Vec<Finding> {
    let subject = format!("{}._domainkey.{}", dkim.selector, dkim.domain);
    let signer = Signer::new(&dkim.domain, &dkim.selector, dkim.key.expose_secret().as_bytes());
    let Ok(own) = signer.and_then(|signer| signer.public_key()) else {
        let why = "There is no key that could be compared: the keys say why.";
        return vec![Finding::unseen(AREA, subject, why)];
    };
    match names.texts(&subject).await {
        Ok(texts) => judge(&subject, &texts, &own),
        Err(why) => vec![unanswered(&subject, &why)],
    }
}

/// There is no key for a domain that mail is From; `key` says so.
pub(super) fn unsigned(domain: &str, key: &str) -> Finding {
    Finding::doubtful(
        AREA,
        domain,
        format!(
            "There is no [dkim.\"{domain}\"], which {key} is from: unless the relay signs, large receivers \
             refuse the mail."
        ),
        format!(
            "Make a key (openssl genrsa -out dkim.pem 2048; chmod 600 dkim.pem), name it in \
             [dkim.\"{domain}\"] with selector and key_file, and run doctor again: it tells the record."
        ),
    )
}

/// What is published, beside our own public key.
fn judge(subject: &str, texts: &[String], own: &str) -> Vec<Finding> {
    let publish =
        |finding: Finding| finding.with_record(txt_record(subject, &format!("v=DKIM1; k=rsa; p={own}")));
    // Whoever else signs with what is there would fail everywhere without it.
    let others = |told: String| {
        let advice = "Choose another selector in [dkim], and run doctor again: somebody else may sign with what stands \
            here.";
        vec![Finding::bad(AREA, subject, told, advice)]
    };
    let text = match texts {
        [] => {
            let advice =
                "Publish this record; mails are signed with a key that nobody can look up until then.";
            let told = "There is no DKIM record at the selector.";
            return vec![publish(Finding::bad(AREA, subject, told, advice))];
        }
        [text] => text,
        several => {
            return others(format!(
                "There are {} records at the selector, and verifiers take any one.",
                several.len()
            ));
        }
    };
    let tags = tags(text);
    let tag = |name: &str| tags.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.as_str());
    let bare: String = tag("p").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = |text: &str| BASE64.decode(text.as_bytes()).ok();
    let is_own = bytes(&bare).is_some() && bytes(&bare) == bytes(own);
    let bad = |told: &str| {
        if !is_own {
            return others(told.to_owned());
        }
        vec![publish(Finding::bad(AREA, subject, told, "Publish this one in its place."))]
    };
    if tag("v").is_some_and(|version| version != "DKIM1")
        || tag("k").is_some_and(|kind| !kind.eq_ignore_ascii_case("rsa"))
    {
        return bad("The record is not one of DKIM with RSA.");
    }
    if tag("p").is_none() {
        return bad("The record has no key (p=).");
    }
    if bare.is_empty() {
        return bad("The key is revoked: p= is empty.");
    }
    if !is_own {
        let told = "What is published is not the key that we sign with: every signature fails.";
        let advice = "Name the key that belongs to it in key_file, or choose another selector: somebody else may sign \
            with this one.";
        return vec![Finding::bad(AREA, subject, told, advice)];
    }
    if tag("h")
        .is_some_and(|hashes| !hashes.split(':').any(|hash| hash.trim().eq_ignore_ascii_case("sha256")))
    {
        return bad("The record does not allow SHA-256 (h=).");
    }
    if tag("s").is_some_and(|services| !services.split(':').any(|s| matches!(s.trim(), "*" | "email"))) {
        return bad("The record's key is not for mail (s=).");
    }
    if tag("t").is_some_and(|flags| flags.split(':').any(|flag| flag.trim() == "y")) {
        let told = "The record says that it is a test (t=y): receivers may treat the mail as unsigned.";
        return vec![publish(Finding::doubtful(AREA, subject, told, "Publish it without t=y."))];
    }
    vec![Finding::good(AREA, subject, "The key that is published is the one that we sign with.")]
}

/// `name=value` pairs, in their order.
pub(super) fn tags(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    text.split(';').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morning::doctor::Verdict::{self, Bad, Doubtful, Good};

    #[test]
    fn a1_what_is_published_must_be_the_key_that_signs() {
        let own = BASE64.encode(b"our own key");
        let other = BASE64.encode(b"somebody else's");
        let cases: [(Vec<String>, Verdict, &str); 13] = [
            (vec![format!("v=DKIM1; k=rsa; p={own}")], Good, "the one that we sign with"),
            (vec![format!("p={own}")], Good, ""),
            (vec![format!("v=DKIM1; p={} {}", &own[..4], &own[4..])], Good, ""),
            (vec![format!("v=DKIM1; h=sha1:sha256; s=email; p={own}")], Good, ""),
            (vec![], Bad, "no DKIM record"),
            (vec![format!("p={own}"), format!("p={own}")], Bad, "2 records"),
            (vec![format!("v=DKIM1; k=ed25519; p={own}")], Bad, "not one of DKIM with RSA"),
            (vec!["v=DKIM1; k=rsa".to_owned()], Bad, "no key"),
            (vec!["v=DKIM1; p=".to_owned()], Bad, "revoked"),
            (vec![format!("v=DKIM1; p={other}")], Bad, "not the key"),
            (vec!["v=DKIM1; p=!!".to_owned()], Bad, "not the key"),
            (vec![format!("v=DKIM1; h=sha1; p={own}")], Bad, "SHA-256"),
            (vec![format!("v=DKIM1; t=y:s; p={own}")], Doubtful, "t=y"),
        ];
        for (texts, verdict, words) in cases {
            let told = &judge("m1._domainkey.example.org", &texts, &own)[0];
            assert!(told.verdict == verdict && told.finding.contains(words), "{texts:?}: {told:?}");
            let record = format!("m1._domainkey.example.org. IN TXT \"v=DKIM1; k=rsa; p={own}\"");
            // A second signer may hang on what is somebody else's.
            let is_free = texts.is_empty() || texts.len() == 1 && texts[0].contains(&own);
            assert_eq!(told.record, (verdict != Good && is_free).then_some(record), "{texts:?}");
            let names_another =
                told.advice.as_deref().is_some_and(|advice| advice.contains("another selector"));
            assert_eq!(names_another, verdict != Good && !is_free, "{texts:?}");
        }
    }
}
