//! When a certificate ends: the one thing of it that nobody else here needs to know.
//!
//! Reads as much of DER (X.690) as stands before that date in a certificate (RFC 5280 4.1). What is told hangs on it,
//! and no trust: who is at the other end is judged elsewhere.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The last moment of a certificate; `None` where it does not read as one.
pub(in crate::delivery) fn ends(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(der).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (first, _, after) = element(rest)?;
    if first == VERSION {
        rest = after;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (_, validity, _) = element(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, _, after) = element(validity)?;
    let (tag, until, _) = element(after)?;
    moment(tag, std::str::from_utf8(until).ok()?)
}

/// The element at the beginning: its tag, what is in it, what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (inside, after) = rest.split_at_checked(length)?;
    Some((tag, inside, after))
}

/// `YYMMDDHHMMSSZ`, whose years are 1950 to 2049, or `YYYYMMDDHHMMSSZ`.
fn moment(tag: u8, text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let digits = match (tag, digits.len()) {
        (UTC_TIME, 12) => format!("{}{digits}", if digits < "50" { "20" } else { "19" }),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    let at = DateTime::strptime("%Y%m%d%H%M%S", &digits).ok()?;
    TimeZone::UTC.to_timestamp(at).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_says_when_it_ends_before_and_after_2050() {
        for (year, month, day, expected) in
            [(2026, 12, 5, "2026-12-05T00:00:00Z"), (2061, 1, 31, "2061-01-31T00:00:00Z")]
        {
            let mut params = CertificateParams::new(vec!["mx.example.org".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, month, day);
            let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
            assert_eq!(ends(&der).unwrap().to_string(), expected);
            // Whatever is cut off of it, it is never misread.
            for length in 0..der.len() {
                assert!(ends(&der[..length]).is_none(), "{length}");
            }
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(moment(UTC_TIME, "500101000000Z").unwrap().to_string(), "1950-01-01T00:00:00Z");
        assert_eq!(moment(UTC_TIME, "491231235959Z").unwrap().to_string(), "2049-12-31T23:59:59Z");
        for (tag, text) in [(UTC_TIME, "2601010000Z"), (GENERALIZED_TIME, "20260101000000"), (0x0c, "x")] {
            assert_eq!(moment(tag, text), None, "{text}");
        }
        assert_eq!(ends(b"\x30\x82\xff\xff"), None);
        assert_eq!(ends(b"\x30\x80\x30\x00"), None);
    }
}
