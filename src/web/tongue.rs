//! Which language a page is asked for in: by its address (`?lang=pt`), or by what the browser prefers.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::mail::Language;
use crate::mail::language::ALL;

/// What a request says of languages; those that we speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tongues {
    /// Named in the address: it wins over everything.
    pub(super) asked: Option<Language>,
    /// What the browser takes, the dearest first.
    pub(super) accepted: Vec<Language>,
}

impl Tongues {
    /// The language of a page that has one of its own.
    pub(super) fn or(&self, own: Language) -> Language {
        self.asked.unwrap_or(own)
    }

    /// The language of a page that has none.
    pub(super) fn any(&self, otherwise: Language) -> Language {
        self.asked.or(self.accepted.first().copied()).unwrap_or(otherwise)
    }

    fn read(query: Option<&str>, accepts: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let asked = pairs.filter(|(key, _)| key == "lang").find_map(|(_, tag)| Language::of(&tag));
        let mut accepted: Vec<(u32, Language)> = Vec::new();
        for part in accepts.unwrap_or_default().split(',').take(20) {
            let (tag, weight) = part.split_once(";q=").unwrap_or((part, "1"));
            let weight: f32 = weight.trim().parse().unwrap_or(0.0);
            let Some(language) = Language::of(tag.trim()).filter(|_| weight > 0.0) else { continue };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 1000"
            )]
            accepted.push(((weight.min(1.0) * 1000.0) as u32, language));
        }
        accepted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        Self { asked, accepted: accepted.into_iter().map(|(_, language)| language).collect() }
    }
}

impl<S: Sync> FromRequestParts<S> for Tongues {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let accepts = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Ok(Self::read(parts.uri.query(), accepts))
    }
}

/// A link to the same page in another language.
pub(super) struct Switch {
    pub(super) tag: &'static str,
    pub(super) dir: &'static str,
    pub(super) name: &'static str,
    pub(super) address: String,
}

/// The page in the other languages that we speak.
pub(super) fn switches(address: &str, shown: Language) -> Vec<Switch> {
    ALL.into_iter()
        .filter(|language| *language != shown)
        .map(|language| Switch {
            tag: language.tag(),
            dir: language.dir(),
            name: language.phrases().name,
            address: format!("{address}?lang={}", language.tag()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_wins_then_what_the_browser_prefers() {
        let tags = |query, accepts| {
            let read = Tongues::read(query, accepts);
            (read.asked.map(Language::tag), read.accepted.into_iter().map(Language::tag).collect::<Vec<_>>())
        };
        assert_eq!(tags(Some("before=2026-11-24&lang=ar"), None), (Some("ar"), vec![]));
        assert_eq!(
            tags(Some("lang=xx"), Some("sw, en-GB;q=0.7, fr-CI;q=0.9, pt;q=0, *;q=0.1")),
            (None, vec!["fr", "en"])
        );
        assert_eq!(tags(Some("lang=%00"), Some("en;q=\u{7f}, ;;,=")), (None, vec![]));
    }
}
