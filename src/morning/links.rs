//! Whether what an edition links to is still there, asked when it locks. A dead link is told, and stops nothing.

use std::time::Duration;

use futures_util::future::join_all;
use url::Url;

use super::{House, Result};
use crate::articles::fetch::{Error, Fetcher};
use crate::config::Newsletter;
use crate::mail::Content;

/// All of them together; who has not answered by then is slow, and not dead.
const LIMIT: Duration = Duration::from_secs(10);

/// What is wrong with the links of this content, each with its item and what helps.
pub(super) async fn check(house: &House, newsletter: &Newsletter, content: &Content) -> Result<Vec<String>> {
    if !newsletter.check_links {
        return Ok(Vec::new());
    }
    let fetcher =
        Fetcher::new(&house.config.fetch).map_err(|error| super::Error::Start(error.to_string()))?;
    let own = format!("{}/", house.config.web.base());
    let items = content.items.iter().map(|item| (format!("item {}", item.position), item.url.as_str()));
    let sponsor = content.sponsor.iter().map(|sponsor| ("sponsor".to_owned(), sponsor.url.as_str()));
    // Our own pages stand once the edition is frozen, and not before.
    let links = items.chain(sponsor).filter(|(_, url)| !url.starts_with(&own));
    let asked = links.map(|(place, url)| {
        let fetcher = &fetcher;
        async move {
            let why = fault(fetcher, url).await?;
            Some(format!("{place}: {url} {why}; look at it, or take another article"))
        }
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

async fn fault(fetcher: &Fetcher, url: &str) -> Option<String> {
    let Ok(parsed) = Url::parse(url) else { return Some("is no URL".to_owned()) };
    match tokio::time::timeout(LIMIT, fetcher.probe(&parsed)).await {
        Ok(Ok(status)) => is_dead(status).then(|| format!("answers {status}")),
        Ok(Err(Error::TooSlow(_))) | Err(_) => {
            Some(format!("has not answered within {} seconds", LIMIT.as_secs()))
        }
        Ok(Err(Error::Refused { why, .. })) => Some(format!("leads where readers cannot go: {why}")),
        Ok(Err(error)) => Some(format!("cannot be reached: {error}")),
    }
}

/// Whether readers would find nothing there. A paywall or a guard against programs answers 401, 403 or 429, and
/// readers come through.
fn is_dead(status: u16) -> bool {
    matches!(status, 404 | 410 | 451) || status >= 500
}
