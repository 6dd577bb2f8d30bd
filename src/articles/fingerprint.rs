//! What counts as the same content, and as the same title. Pure.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// A key is indexed, and one sign can fold to eighteen.
const MAX_KEY_BYTES: usize = 1_000;

/// Digests fields so that no two different lists of fields digest alike.
#[derive(Debug, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds one field; `None` and the empty text differ.
    pub fn field(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            None => self.0.update([0]),
            Some(text) => {
                self.0.update([1]);
                self.0.update((text.len() as u64).to_be_bytes());
                self.0.update(text);
            }
        }
        self
    }

    /// Thirty-two hexadecimal digits: half of a SHA-256 tells articles apart.
    pub fn finish(self) -> String {
        let digest = self.0.finalize();
        HEXLOWER.encode(digest.get(..16).unwrap_or_default())
    }
}

/// The title folded to lower-case letters and digits without accents, one space between words.
///
/// "Sénégal : l’opposition unie" and "Senegal: l'opposition unie" have one key. A title that is all signs keeps
/// them, so that two such titles are not one.
pub fn title_key(title: &str) -> String {
    let mut key = String::with_capacity(title.len());
    for c in title.nfkd().filter(|c| !is_combining_mark(*c)) {
        if c.is_alphanumeric() {
            key.extend(c.to_lowercase());
        } else if !key.ends_with(' ') && !key.is_empty() {
            key.push(' ');
        }
    }
    let key = key.trim_end();
    let mut key = if key.is_empty() { title.trim().to_lowercase() } else { key.to_owned() };
    if key.len() > MAX_KEY_BYTES {
        let mut end = MAX_KEY_BYTES;
        while !key.is_char_boundary(end) {
            end -= 1;
        }
        key.truncate(end);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_that_differ_in_signs_accents_and_case_have_one_key() {
        assert_eq!(title_key("Sénégal : l’opposition unie !"), title_key("SENEGAL: l'opposition unie"));
        assert_eq!(title_key("Œuvre d’art n° 5"), "œuvre d art n 5");
        assert_eq!(title_key("???"), "???");
        assert_ne!(title_key("الجزائر"), title_key("تونس"));
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let of = |fields: &[Option<&str>]| {
            let mut print = Fingerprint::default();
            for field in fields {
                print.field(*field);
            }
            print.finish()
        };
        assert_ne!(of(&[Some("ab"), Some("c")]), of(&[Some("a"), Some("bc")]));
        assert_ne!(of(&[None, Some("")]), of(&[Some(""), None]));
        assert_eq!(of(&[Some("a")]).len(), 32);
    }
}
