//! Whoever must be told: alarms leave by mail and by webhook, each copy until it was heard.

use std::time::Duration;

use super::alert::wait_after;
use super::store::{self, Copy};
use super::{House, Result};
use crate::config::Newsletter;
use crate::{delivery, mail};

/// Brings every due copy of every alarm to its ear.
pub(super) async fn ring(house: &House) -> Result<()> {
    for copy in house.db.answered(due(house)).await? {
        if !house.db.answered(claim(house, &copy)).await? {
            continue;
        }
        let heard =
            if copy.target.contains("://") { post(house, &copy).await } else { write(house, &copy).await };
        match heard {
            Ok(()) => house.db.answered(mark_heard(house, &copy)).await?,
            Err(error) => {
                tracing::warn!(alarm.key = %copy.alarm, tries = copy.tries + 1, %error, "an alarm was not heard; trying again");
            }
        }
    }
    Ok(())
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

/// A Message-ID for a mail that is no delivery.
pub(super) fn message_id(house: &House, newsletter: &Newsletter) -> String {
    let unique = data_encoding::HEXLOWER.encode(&house.random.bytes::<16>());
    format!("<n.{unique}@{}>", newsletter.domain())
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
    let from = newsletter.from.email.to_string();
    let notice = mail::notice::Notice {
        from_name: newsletter.from.name.as_deref().unwrap_or_default(),
        from_address: &from,
        to: &copy.target,
        message_id: &message_id(house, newsletter),
        date: &date,
        subject: &copy.subject,
        text: &copy.body,
    };
    delivery::send_one(house.with(), relay, &from, &copy.target, &notice.to_bytes()).await
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
