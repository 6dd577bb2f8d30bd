//! The canonical URL: what makes two links the same article.
//!
//! The *link* that readers follow is the URL with a lower-case host and without default port, credentials,
//! fragment, tracking parameters (`utm_…` and their kin) and trailing slash. The *key* is the link without its
//! scheme and with its parameters in order: a source that moves to https, or writes its parameters the other way
//! round, does not make every article new. `www.` stays: there are hosts where it means another site. Pure.

use url::Url;

/// A link longer than this is no link: mail programs cut it, and no index holds it.
const MAX_BYTES: usize = 2_000;

/// Parameters that say where a click came from, never which article is meant.
const TRACKING: &[&str] = &[
    "fbclid",
    "gclid",
    "dclid",
    "gbraid",
    "wbraid",
    "msclkid",
    "yclid",
    "twclid",
    "ttclid",
    "igshid",
    "igsh",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "_hsenc",
    "_hsmi",
    "vero_id",
    "oly_enc_id",
    "oly_anon_id",
    "ns_campaign",
    "ns_mchannel",
    "ns_source",
    "ns_linkname",
    "ns_fee",
    "at_medium",
    "at_campaign",
    "at_custom1",
    "at_custom2",
    "at_custom3",
    "at_custom4",
    "xtor",
    "cmpid",
    "cmp",
    "ocid",
    "smid",
    "s_cid",
    "wt_mc",
    "wt.mc_id",
    "ref_src",
    "ref_url",
    "__twitter_impression",
    "spm",
    "_ga",
    "_gl",
];

/// A URL in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// What readers follow.
    pub link: String,
    /// What the store knows the article by.
    pub key: String,
}

/// The canonical form of `text`, taken relative to `base` where there is one; why it has none otherwise.
///
/// `urn:` URLs are admitted: an imported text without a URL is known by `urn:sha256:…` of its title and date.
pub fn canonical(text: &str, base: Option<&Url>) -> Result<Canonical, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is missing");
    }
    if text.len() > MAX_BYTES {
        return Err("is longer than 2,000 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("holds control characters");
    }
    if let Some(name) = text.strip_prefix("urn:") {
        let (kind, rest) = name.split_once(':').ok_or("is no URL")?;
        let known = kind.len() > 1 && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !known || rest.is_empty() || text.contains(char::is_whitespace) {
            return Err("is no URL");
        }
        return Ok(Canonical { link: text.to_owned(), key: text.to_owned() });
    }
    let parsed = match base {
        Some(base) => base.join(text),
        None => Url::parse(text),
    };
    let mut url = parsed.map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => "is not absolute",
        _ => "is no URL",
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://");
    }
    url.set_fragment(None);
    // These fail only for URLs without a host, which http URLs always have.
    let (_, _) = (url.set_username(""), url.set_password(None));
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')).map(ToOwned::to_owned) {
        url.set_host(Some(&host)).map_err(|_| "is no URL")?;
    }
    let mut kept: Vec<String> = url.query().map(parameters).unwrap_or_default();
    url.set_query(None);
    let path = url.path();
    if path.len() > 1 && path.ends_with('/') {
        let shorter = path.trim_end_matches('/').to_owned();
        url.set_path(&shorter);
    }
    let plain = url.as_str().to_owned();
    let link = if kept.is_empty() { plain.clone() } else { format!("{plain}?{}", kept.join("&")) };
    // Written out in ASCII it may have grown.
    if link.len() > MAX_BYTES {
        return Err("is longer than 2,000 bytes");
    }
    kept.sort_unstable();
    let address = plain.split_once("://").map_or(plain.as_str(), |(_, rest)| rest);
    let key = if kept.is_empty() { address.to_owned() } else { format!("{address}?{}", kept.join("&")) };
    Ok(Canonical { link, key })
}

/// The parameters that mean something, as they were written.
fn parameters(query: &str) -> Vec<String> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .filter(|part| {
            let name = part.split('=').next().unwrap_or_default().to_ascii_lowercase();
            let name = name.strip_prefix("amp;").unwrap_or(&name);
            !(name.starts_with("utm_") || name.starts_with("pk_") || TRACKING.contains(&name))
        })
        .map(ToOwned::to_owned)
        .collect()
}

/// A picture's or a page's address: http or https, absolute or relative to `base`.
pub fn web_url(text: &str, base: Option<&Url>) -> Option<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_BYTES || text.chars().any(char::is_control) {
        return None;
    }
    let mut url = match base {
        Some(base) => base.join(text).ok()?,
        None => Url::parse(text).ok()?,
    };
    url.set_fragment(None);
    let (_, _) = (url.set_username(""), url.set_password(None));
    matches!(url.scheme(), "http" | "https").then(|| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_mean_one_article_have_one_key() {
        let key = |text| canonical(text, None).unwrap().key;
        let expected = "news.example.org/a/b?id=7&p=1";
        for same in [
            "https://news.example.org/a/b?id=7&p=1",
            "http://news.example.org/a/b/?p=1&id=7",
            "HTTPS://News.Example.ORG:443/a/b?id=7&utm_source=rss&p=1#comments",
            "https://user:secret@news.example.org./a/b?id=7&p=1&fbclid=x&amp;utm_medium=y",
        ] {
            assert_eq!(key(same), expected, "{same}");
        }
        assert_ne!(key("https://news.example.org/a/B?id=7&p=1"), expected);
        assert_eq!(key("https://news.example.org"), key("http://news.example.org/?utm_campaign=z"));
        assert_eq!(key("http://éco.example/a"), key("https://xn--co-9ia.example/a/"));
    }

    #[test]
    fn what_readers_follow_keeps_its_scheme_and_the_order_of_its_parameters() {
        let link = canonical("https://a.example/x?b=2&a=1&utm_id=3", None).unwrap().link;
        assert_eq!(link, "https://a.example/x?b=2&a=1");
    }

    #[test]
    fn p10_what_is_no_link_says_why() {
        for (text, why) in [
            ("", "is missing"),
            ("/a/b", "is not absolute"),
            ("javascript:alert(1)", "must begin with http:// or https://"),
            ("ftp://a.example/x", "must begin with http:// or https://"),
            ("https://", "is no URL"),
            ("https://a.example/\r\nBcc: x", "holds control characters"),
            ("urn:x", "is no URL"),
        ] {
            assert_eq!(canonical(text, None), Err(why), "{text}");
        }
        assert!(canonical("urn:sha256:00ff", None).is_ok());
        let base = Url::parse("https://a.example/feed/").unwrap();
        assert_eq!(canonical("../x", Some(&base)).unwrap().link, "https://a.example/x");
    }
}
