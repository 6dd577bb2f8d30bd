//! Values as they may be shown: what is secret in them is masked, whatever key they stand under.
//!
//! A URL can hold a secret in its password, in its user where that is a token, in its query, and, where it is a webhook,
//! in its path. What is not secret stays as it was written: somebody looks for a fault in it.

use config::ValueKind;
use url::Url;

const MASK: &str = "***";
/// What a setting is called that nobody else may know.
const SECRETS: [&str; 3] = ["password", "secret", "token"];

/// The value under this key.
pub(super) fn value(key: &str, kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) if SECRETS.iter().any(|secret| key.ends_with(secret)) => {
            if text.is_empty() {
                "\"\"".to_owned()
            } else {
                format!("{MASK:?}")
            }
        }
        ValueKind::String(text) if key.ends_with("alerts") => format!("{:?}", webhook(text)),
        ValueKind::String(text) => format!("{:?}", url(text)),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| value(key, &item.kind)).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// A text without the secrets that it holds if it is a URL.
pub fn url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        // No URL that anything could be done with; a password in it is one all the same.
        return match text.split_once("://") {
            Some((scheme, rest))
                if rest.contains('@') && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                format!("{scheme}://{MASK}")
            }
            _ => text.to_owned(),
        };
    };
    // A server's user is no secret; of a page it is often a token.
    let web = matches!(url.scheme(), "http" | "https");
    let user = web && !url.username().is_empty();
    let password = url.password().is_some();
    let query =
        url.query().map(|query| masked_query(query, web)).filter(|masked| url.query() != Some(masked));
    // A password that was not written as a URL wants it may pass for a port and a path.
    let astray = !web && url.username().is_empty() && !password && url.has_host();
    if astray && url[url::Position::BeforePath..].contains('@') {
        return format!("{}://{MASK}", url.scheme());
    }
    if !user && !password && query.is_none() {
        return text.to_owned();
    }
    if user && url.set_username(MASK).is_err() || password && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    if let Some(query) = query {
        url.set_query(Some(&query));
    }
    url.to_string()
}

/// The settings in a URL of ours and of PostgreSQL have names that tell; elsewhere any may be a token.
fn masked_query(query: &str, web: bool) -> String {
    let masked = |setting: &str| match setting.split_once('=') {
        Some((_, "")) => setting.to_owned(),
        Some((name, _)) if web || SECRETS.iter().any(|secret| name.ends_with(secret)) => {
            format!("{name}={MASK}")
        }
        None if web && !setting.is_empty() => MASK.to_owned(),
        _ => setting.to_owned(),
    };
    query.split('&').map(masked).collect::<Vec<_>>().join("&")
}

/// Where an alert goes: whoever knows the whole of a webhook's URL may write there.
fn webhook(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) if url.has_host() => format!("{}/{MASK}", url.origin().ascii_serialization()),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_url_is_masked_and_the_rest_of_it_shown() {
        for (text, shown) in [
            ("postgres://matinale:hunter2@db.example.org/m", "postgres://matinale:***@db.example.org/m"),
            (
                "postgres:///m?host=/run&user=matinale&password=hunter2",
                "postgres:///m?host=/run&user=matinale&password=***",
            ),
            ("postgres://u:hunter#2@db/m", "postgres://***"),
            ("postgres://u:12#3@db/m", "postgres://***"),
            ("postgres://u:4711/x@db/m", "postgres://***"),
            (
                "smtp://user@relay.example.org:587?tls=required",
                "smtp://user@relay.example.org:587?tls=required",
            ),
            ("https://ghp_hunter2@feeds.example.org/rss", "https://***@feeds.example.org/rss"),
            (
                "https://feeds.example.org/rss?format=&token=hunter2",
                "https://feeds.example.org/rss?format=&token=***",
            ),
            ("https://feeds.example.org/rss?hunter2", "https://feeds.example.org/rss?***"),
            ("https://feeds.example.org", "https://feeds.example.org"),
            ("sqlite:matinale.db", "sqlite:matinale.db"),
            ("La Matinale <matinale@news.example.org>", "La Matinale <matinale@news.example.org>"),
        ] {
            assert_eq!(url(text), shown);
        }
    }

    #[test]
    fn of_a_webhook_only_its_host_is_shown_and_an_address_stays() {
        let given = ["ops@example.org", "https://hooks.example.org/services/T0/hunter2"];
        let alerts = ValueKind::Array(given.map(config::Value::from).into());
        assert_eq!(
            value("newsletter.test.alerts", &alerts),
            "[\"ops@example.org\", \"https://hooks.example.org/***\"]"
        );
        assert_eq!(value("relay.main.password", &"hunter2".into()), "\"***\"");
    }
}
