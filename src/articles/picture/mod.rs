//! Pictures: fetched once from where an article has them, made fit for mail, kept, served by us.
//!
//! Owns the tables `picture` and `picture_source`. The address of a kept picture is the hash of its bytes: it holds
//! nothing of any subscriber, and what it shows never changes. A picture that cannot be had is none: nothing stands
//! in its place. The rule a newcomer would break: a picture is fetched with the guards of feeds, and decoded only
//! within bounds, for its address comes from outside like everything else.

pub mod fit;
pub mod store;

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::fetch::{Fetcher, Request};
use crate::clock::Clock;
use crate::db::{self, Db};
use fit::{Fitted, fit};
use store::{Kept, Known};

/// The largest original.
const MOST_BYTES: u64 = 12 << 20;
/// After a failure an address is asked again, but not at every refresh.
const ASK_AGAIN: Duration = Duration::from_secs(600);

/// The picture of this address, fetched where nobody has yet; `None` where there is none to be had in this time.
///
/// # Errors
/// Of the database only: what is wrong with a picture is kept, and told in the log.
pub async fn get(
    db: &Db,
    clock: &Clock,
    fetcher: &Fetcher,
    url: &str,
    limit: Duration,
) -> Result<Option<Kept>, db::Error> {
    let known = store::find_source(&mut db.read().await?, url).await?;
    match known {
        Some(Known { picture: Some(picture), .. }) => return Ok(Some(picture)),
        Some(Known { picture: None, asked_at }) if is_fresh(asked_at, clock.now()) => return Ok(None),
        _ => {}
    }
    let gave = tokio::time::timeout(limit, fetched(fetcher, url))
        .await
        .unwrap_or_else(|_| Err(format!("no whole answer within {} seconds", limit.as_secs())));
    if let Err(why) = &gave {
        tracing::warn!(picture.url = url, why, "a picture is left out");
    }
    let mut tx = db.write().await?;
    store::keep(&mut tx, url, &gave, clock.now()).await?;
    tx.commit().await?;
    Ok(store::find_source(&mut db.read().await?, url).await?.and_then(|known| known.picture))
}

fn is_fresh(asked_at: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(asked_at)).is_ok_and(|age| age < ASK_AGAIN)
}

async fn fetched(fetcher: &Fetcher, url: &str) -> Result<Fitted, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    let request = Request {
        // What we can decode: a server that offers AVIF or SVG as well then sends something else.
        accept: Some("image/jpeg,image/png,image/gif,image/webp;q=0.8"),
        max_bytes: Some(MOST_BYTES),
        ..Request::default()
    };
    let answer = fetcher.get(&url, &request).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("the server answers {}", answer.status));
    }
    if answer.cut {
        return Err("the connection ended before the picture did".to_owned());
    }
    // Decoding is work: the other readers of this thread do not wait for it.
    tokio::task::spawn_blocking(move || fit(&answer.body))
        .await
        .unwrap_or_else(|_| Err("it could not be decoded".to_owned()))
}
