//! An address exists only parsed.

use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// A mail address: the spelling its owner gave, and the key that makes it the same person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    given: String,
    key: String,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `@`, or nothing before or behind it.
    #[error("is no address: expected name@domain")]
    Shape,
    /// A character that no address has on the wire.
    #[error("has a character that no address may have")]
    Character,
    /// Longer than RFC 5321 4.5.3.1 allows.
    #[error("is too long: at most 64 before the @ and 254 in all")]
    Length,
    /// The part behind the `@` is no domain.
    #[error("has no valid domain")]
    Domain,
}

impl Address {
    /// The spelling its owner gave.
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// Lower-case NFC local part @ A-label domain: one person per key. Dots and +tags differ.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Shape)?;
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Shape);
        }
        if !is_local_part(local) {
            return Err(AddressError::Character);
        }
        let ascii = crate::config::domain(domain).map_err(|_| AddressError::Domain)?;
        let labels = ascii.split('.').count() > 1 && ascii.split('.').all(|label| !label.is_empty());
        if !labels || ascii.parse::<std::net::IpAddr>().is_ok() {
            return Err(AddressError::Domain);
        }
        if local.len() > 64 || local.len() + 1 + ascii.len() > 254 {
            return Err(AddressError::Length);
        }
        let local_key: String = local.nfc().flat_map(char::to_lowercase).collect();
        Ok(Self { given: format!("{local}@{domain}"), key: format!("{local_key}@{ascii}") })
    }
}

/// Whether this can stand before the `@` of an address as it is: letters with the marks that belong to them, digits, and
/// what else a dot-atom has (RFC 5322 3.2.3, RFC 6532 3.2).
pub fn is_local_part(local: &str) -> bool {
    let mut behind_letter = false;
    let is_text = local.chars().all(|c| {
        // An accent that is typed by itself, and many vowels of Hindi, are marks and no letters.
        let belongs = behind_letter && is_combining_mark(c);
        behind_letter = belongs || c.is_alphabetic();
        belongs || c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
    });
    is_text && !local.is_empty() && !local.starts_with('.') && !local.ends_with('.') && !local.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_per_key_and_the_own_spelling_kept() {
        let address: Address = " Awa.Diop@Example.ORG ".parse().unwrap();
        assert_eq!(address.as_str(), "Awa.Diop@Example.ORG");
        assert_eq!(address.key(), "awa.diop@example.org");
        let plus: Address = "awa.diop+news@example.org".parse().unwrap();
        assert_ne!(address.key(), plus.key());
        let idn: Address = "awa@sénégal.example".parse().unwrap();
        assert_eq!(idn.key(), "awa@xn--sngal-bsab.example");
    }

    #[test]
    fn rfc6532_an_accent_that_stands_by_itself_and_the_marks_of_hindi_are_letters_too() {
        let address: Address = "ame\u{301}lie@example.org".parse().unwrap();
        assert_eq!(address.as_str(), "ame\u{301}lie@example.org", "their own spelling");
        assert_eq!(address.key(), "amélie@example.org", "one person, however it was typed");
        for local in ["हिन्दी", "क़लम", "விஜய்", "สมชาย", "محمّد"]
        {
            let address: Address = format!("{local}@example.org").parse().unwrap();
            assert!(is_local_part(address.key().split('@').next().unwrap()), "{local}");
        }
        for local in ["\u{301}a", "a.\u{301}b", "1\u{20e3}", "a\u{200b}b", "a\u{202e}b"] {
            let parsed = format!("{local}@example.org").parse::<Address>();
            assert_eq!(parsed, Err(AddressError::Character), "{local:?}");
        }
    }

    #[test]
    fn p10_what_is_no_address_is_refused_with_its_reason() {
        use AddressError as E;
        let long = format!("{}@example.org", "a".repeat(65));
        let table = [
            ("awa", E::Shape),
            ("@example.org", E::Shape),
            ("awa@", E::Shape),
            ("a b@example.org", E::Character),
            ("a\r\nBcc: x@example.org", E::Character),
            ("a>@example.org", E::Character),
            (".a@example.org", E::Character),
            ("a..b@example.org", E::Character),
            ("awa@localhost", E::Domain),
            ("awa@exa mple.org", E::Domain),
            ("awa@127.0.0.1", E::Domain),
            (long.as_str(), E::Length),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Address>().unwrap_err(), expected, "{text:?}");
        }
    }
}
