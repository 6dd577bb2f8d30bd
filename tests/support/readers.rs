//! Readers of the newsletter "test".

use std::collections::HashMap;

use jiff::Timestamp;
use matinale::db::Conn;
use matinale::readers::SubscriberId;
use matinale::readers::links::Links;
use matinale::readers::store::{self, NewSubscriber, NewSubscription};

/// Somebody with this address and no wishes of their own.
pub fn somebody(links: &Links, address: &str) -> NewSubscriber {
    NewSubscriber {
        key: address.to_owned(),
        key_hash: links.key_hash(address),
        address: address.to_owned(),
        name: None,
        language: None,
        timezone: None,
        send_at: None,
    }
}

/// Makes these active subscribers; gives back their ids by address.
pub async fn subscribe(
    tx: &mut Conn,
    people: &[NewSubscriber],
    now: Timestamp,
) -> HashMap<String, SubscriberId> {
    let ids = store::upsert(tx, people, now).await.unwrap();
    let wishes: Vec<NewSubscription> = ids
        .values()
        .map(|(id, _)| NewSubscription {
            subscriber: id.0,
            newsletter: "test".to_owned(),
            status: "active",
            consented_at: None,
            consent_source: None,
            consent_text: None,
        })
        .collect();
    store::subscribe(tx, &wishes, now).await.unwrap();
    ids.into_iter().map(|(key, (id, _))| (key, id)).collect()
}
