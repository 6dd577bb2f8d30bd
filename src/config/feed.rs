//! `[feed.NAME]`: where articles come from by themselves.

use std::time::Duration;

use url::Url;

use super::reader::Section;

/// One feed.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is.
    pub url: Url,
    /// The name readers see; the feed's own title where `None`.
    pub source: Option<String>,
    /// How often it is asked.
    pub every: Duration,
    /// The language of its articles where they do not say.
    pub language: Option<String>,
    /// The section of its articles where they do not say.
    pub section: Option<String>,
    /// The countries of its articles where they do not say, ISO 3166 alpha-2.
    pub countries: Vec<String>,
    /// Silent for so long, it is an alarm.
    pub silent_after: Duration,
    /// Whether it is asked at all.
    pub enabled: bool,
}

impl Feed {
    pub(super) fn read(name: &str, section: &Section) -> Option<Self> {
        section.required("url");
        let url = section.parse("url", |text| {
            Url::parse(text)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https"))
                .ok_or_else(|| format!("expected an http or https URL, found {text:?}"))
        });
        let feed = Self {
            name: name.to_owned(),
            url: url.clone().or_else(|| Url::parse("http://invalid.example/").ok())?,
            source: section.text("source"),
            every: section.duration("every").unwrap_or(Duration::from_secs(600)),
            language: section.text("language"),
            section: section.text("section"),
            countries: section.parsed_list("countries", country),
            silent_after: section.duration("silent_after").unwrap_or(Duration::from_secs(36 * 3600)),
            enabled: section.flag("enabled").unwrap_or(true),
        };
        if feed.every < Duration::from_secs(60) {
            section.fault("every", "a feed is asked at most once a minute");
        }
        url.map(|_| feed)
    }
}

fn country(text: &str) -> Result<String, String> {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic()) {
        Ok(text.to_ascii_uppercase())
    } else {
        Err("expected a country as ISO 3166 alpha-2, such as \"SN\"".to_owned())
    }
}
