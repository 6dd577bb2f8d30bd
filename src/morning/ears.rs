//! Whoever must be told: alarms leave by mail and by webhook, each copy until it was heard.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::alert::{GIVEN_UP, target, wait_after};
use super::store::{self, Copy};
use super::{House, Result};
use crate::config::Config;
use crate::lifecycle::Shutdown;
use crate::{delivery, mail};

/// One copy may take so long, whole: a server that takes a connection and never greets is no ear.
const LONGEST: Duration = Duration::from_secs(60);
/// So many at a time: an ear that does not hear keeps few others waiting.
const AT_ONCE: usize = 8;

/// Brings every due copy of every alarm to its ear; begins none any more, and waits for none, once told to end.
pub(super) async fn ring(house: &House, shutdown: &Shutdown) -> Result<()> {
    // A loop, not a closure: the compiler cannot see that a closure here works for every lifetime.
    let mut copies = Vec::new();
    for copy in house.db.answered(due(house)).await? {
        copies.push(bring(house, copy, shutdown));
    }
    let mut copies = futures_util::stream::iter(copies).buffer_unordered(AT_ONCE);
    let mut all = Ok(());
    // To the end: one that was heard and not written down would ring again.
    while let Some(brought) = copies.next().await {
        all = all.and(brought);
    }
    all
}

async fn bring(house: &House, copy: Copy, shutdown: &Shutdown) -> Result<()> {
    // An ear that is configured no more is left to another daemon, whose configuration may be newer.
    if shutdown.is_draining()
        || !is_configured(&house.config, &copy)
        || !house.db.answered(claim(house, &copy)).await?
    {
        return Ok(());
    }
    let heard = tokio::select! {
        heard = in_time(tell(house, &copy)) => heard,
        // Heard or not, the next life tries it again.
        () = shutdown.draining() => return Ok(()),
    };
    match heard {
        Ok(()) => house.db.answered(mark_heard(house, &copy)).await?,
        Err(error) => {
            let tries = copy.tries + 1;
            let age = house.clock.now().duration_since(crate::clock::timestamp(copy.raised_at));
            let next = age.unsigned_abs() + wait_after(copy.tries);
            if next >= GIVEN_UP {
                tracing::error!(alarm.key = %copy.alarm, tries, %error, "an alarm was not heard for days, and is given up");
            } else {
                tracing::warn!(alarm.key = %copy.alarm, tries, %error, "an alarm was not heard; trying again");
            }
        }
    }
    Ok(())
}

async fn tell(house: &House, copy: &Copy) -> std::result::Result<(), String> {
    if copy.target.contains("://") { post(house, copy).await } else { write(house, copy).await }
}

async fn in_time(
    telling: impl Future<Output = std::result::Result<(), String>>,
) -> std::result::Result<(), String> {
    let late = || Err(format!("not heard within {} seconds", LONGEST.as_secs()));
    tokio::time::timeout(LONGEST, telling).await.unwrap_or_else(|_| late())
}

/// Whether the configuration still has this ear for that alarm.
fn is_configured(config: &Config, copy: &Copy) -> bool {
    let hears = |id: &String| copy.newsletter.as_ref().is_none_or(|of| of == id);
    let newsletters = config.newsletters.iter().filter(|(id, _)| hears(id));
    newsletters.flat_map(|(_, newsletter)| &newsletter.alerts).any(|ear| target(ear) == copy.target)
}

async fn due(house: &House) -> Result<Vec<Copy>> {
    Ok(store::due_copies(&mut house.db.read().await?, house.clock.now()).await?)
}

async fn claim(house: &House, copy: &Copy) -> Result<bool> {
    let mut tx = house.db.write().await?;
    let taken = store::claim_copy(&mut tx, copy, house.clock.now(), wait_after(copy.tries)).await?;
    tx.commit().await?;
    Ok(taken)
}

async fn mark_heard(house: &House, copy: &Copy) -> Result<()> {
    let mut tx = house.db.write().await?;
    store::mark_heard(&mut tx, copy, house.clock.now()).await?;
    Ok(tx.commit().await?)
}

/// A Message-ID for a mail that is no delivery, from somebody of this domain.
pub(super) fn message_id(house: &House, domain: &str) -> String {
    let unique = data_encoding::HEXLOWER.encode(&house.random.bytes::<16>());
    format!("<n.{unique}@{domain}>")
}

async fn write(house: &House, copy: &Copy) -> std::result::Result<(), String> {
    let config = &house.config;
    let newsletter = copy
        .newsletter
        .as_ref()
        .and_then(|id| config.newsletters.get(id))
        .or_else(|| config.newsletters.values().next())
        .ok_or("no newsletter is configured that could say it")?;
    let name = config.notices.relay.as_ref().or_else(|| newsletter.relays.first());
    let relay = name.and_then(|name| config.relays.get(name)).ok_or("no relay for notices")?;
    let date = house.clock.now().to_zoned_datetime(newsletter.timezone.clone());
    let sender = config.notices.from.as_ref().unwrap_or(&newsletter.from);
    let from = sender.email.to_string();
    let notice = mail::notice::Notice {
        from_name: sender.name.as_deref().unwrap_or_default(),
        from_address: &from,
        to: &copy.target,
        message_id: &message_id(house, sender.email.domain()),
        date: &date,
        subject: &copy.subject,
        text: &copy.body,
    };
    let sent = delivery::send_one(house.with(), relay, &from, &copy.target, &notice.to_bytes()).await;
    sent.map_err(|untaken| untaken.to_string())
}

async fn post(house: &House, copy: &Copy) -> std::result::Result<(), String> {
    let body = serde_json::json!({
        "alarm": copy.alarm,
        "newsletter": copy.newsletter,
        "subject": copy.subject,
        "text": copy.body,
        "raised_at": crate::clock::timestamp(copy.raised_at).to_string(),
    });
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(15))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(house.config.fetch.user_agent.as_str())
        .build()
        .map_err(|error| error.to_string())?;
    let answer = client
        .post(&copy.target)
        .json(&body)
        .send()
        .await
        .map_err(|error| error.without_url().to_string())?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("answered {}", answer.status())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn p1_an_ear_that_never_answers_is_given_up_after_a_minute() {
        let began = tokio::time::Instant::now();
        let heard = tokio::time::timeout(2 * LONGEST, in_time(std::future::pending())).await;
        assert_eq!(heard.unwrap(), Err("not heard within 60 seconds".to_owned()));
        assert_eq!(began.elapsed(), LONGEST);
    }
}
