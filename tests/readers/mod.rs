//! Tests of the room `readers`.

use jiff::Timestamp;
use matinale::db::Conn;
use matinale::readers::links::Links;
use matinale::readers::store::{self as readers, NewSubscriber, NewSubscription};
use matinale::readers::{Address, SubscriptionId};

use crate::support::databases::both;

/// Takes somebody in; returns their subscription.
async fn take_in(conn: &mut Conn, links: &Links, address: &Address) -> SubscriptionId {
    let person = NewSubscriber {
        key: address.key().to_owned(),
        key_hash: links.key_hash(address.key()),
        address: address.as_str().to_owned(),
        name: None,
        language: None,
        timezone: None,
        send_at: None,
    };
    readers::upsert(conn, &[person], Timestamp::UNIX_EPOCH).await.unwrap();
    let subscriber = readers::find(conn, address).await.unwrap().unwrap().id;
    let wish = NewSubscription {
        subscriber,
        newsletter: "matin".to_owned(),
        status: "active",
        consented_at: None,
        consent_source: None,
        consent_text: None,
    };
    readers::subscribe(conn, &[wish], Timestamp::UNIX_EPOCH).await.unwrap();
    let wishes = readers::subscriptions(conn, 0, i64::MAX).await.unwrap();
    SubscriptionId(wishes.iter().find(|wish| wish.subscriber == subscriber).unwrap().id)
}

#[tokio::test]
async fn p4_w2_the_links_of_an_erased_reader_open_nobody_elses_page() {
    for test in both().await {
        let links = Links::new(b"key");
        let [leaves, comes]: [Address; 2] =
            ["awa@example.org", "bakary@example.org"].map(|address| address.parse().unwrap());
        let mut tx = test.db.write().await.unwrap();
        let token = links.subscription_token(take_in(&mut tx, &links, &leaves).await);
        assert!(readers::erase(&mut tx, &links, &leaves, Timestamp::UNIX_EPOCH).await.unwrap());
        let other = take_in(&mut tx, &links, &comes).await;

        let held = links.subscription_of(&token).unwrap();
        assert_ne!(held, other);
        assert!(readers::find_subscription(&mut tx, held).await.unwrap().is_none());
    }
}
