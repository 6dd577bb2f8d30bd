//! A test copy leaves as its edition would: signed, with a return path, by a way that takes mail.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::delivery::{relay, shared_clock};
use matinale::morning::{House, line_up, send};

use crate::support::databases::{both, sqlite};
use crate::support::readers;
use crate::support::smtp::Scripted;

/// A house whose first relay is nowhere, and whose two others are these.
fn config(second: &Scripted, third: &Scripted) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    file("secret.key", "key");
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let base64 = data_encoding::BASE64.encode(der.as_ref());
    file("dkim.pem", &format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n"));
    let text = format!(
        "[keys]\nsecret_file = \"secret.key\"\n[bounces]\ndomain = \"bounces.example.org\"\n\
         [dkim.\"example.org\"]\nselector = \"m1\"\nkey_file = \"dkim.pem\"\n\
         [relay.spare]\nurl = \"smtp://{}?tls=none\"\nweight = 0\n\
         [relay.nowhere]\nurl = \"smtp://127.0.0.1:1?tls=none\"\n\
         [relay.main]\nurl = \"smtp://{}?tls=none\"\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"Test <test@example.org>\"\nlock = \"0 0 5 * * *\"\n\
         send_at = \"06:30\"\nrelays = [\"spare\", \"nowhere\", \"main\"]\ncheck_links = false\n",
        third.address, second.address
    );
    Config::load(&[file("matinale.toml", &text)], &BTreeMap::new()).unwrap()
}

async fn copy(house: &House, to: &str) -> Result<(), String> {
    let newsletter = &house.config.newsletters["test"];
    let edition = line_up::look(house, newsletter, "2026-11-24".parse().unwrap()).await.unwrap();
    send::test_copy(house, newsletter, &edition, to).await.unwrap()
}

fn clock() -> Clock {
    Clock::manual("2026-11-24T04:30:00Z".parse().unwrap())
}

#[tokio::test]
async fn a3_a_test_copy_is_signed_has_the_editions_return_path_and_ends_nobodys_subscription() {
    let test = sqlite().await;
    let (main, spare) = (Scripted::start(true).await, Scripted::start(true).await);
    let house = House::new(config(&main, &spare), test.db, clock(), Random::seeded(1));
    let people = [readers::somebody(&house.links, "ok-awa@example.org")];
    let mut tx = house.db.write().await.unwrap();
    readers::subscribe(&mut tx, &people, house.clock.now()).await;
    tx.commit().await.unwrap();
    copy(&house, "ok-awa@example.org").await.unwrap();
    let taken = main.record.lock().unwrap().taken.clone();
    let text = String::from_utf8(taken[0].bytes.clone()).unwrap();
    assert!(
        text.starts_with("DKIM-Signature: v=1; a=rsa-sha256;") && text.contains("d=example.org; s=m1;"),
        "{text}"
    );
    let path = taken[0].from.strip_suffix("@bounces.example.org");
    assert!(path.is_some_and(|path| path.starts_with("b.")), "{}", taken[0].from);
    assert!(!text.contains("List-Unsubscribe"), "{text}");
    // Of whoever it is for neither: it goes from hand to hand.
    let own = house.links.subscription_token(matinale::readers::SubscriptionId(1));
    let nobodys = house.links.subscription_token(matinale::readers::SubscriptionId(0));
    let whole = text.replace("=\r\n", "");
    assert!(!whole.contains(&own) && whole.contains(&nobodys), "{text}");
}

#[tokio::test]
async fn a_test_copy_takes_the_first_way_that_takes_mail_and_tells_of_every_way_that_did_not() {
    for test in both().await {
        let (main, spare) = (Scripted::start(true).await, Scripted::start(true).await);
        let house = House::new(config(&main, &spare), test.db.clone(), clock(), Random::seeded(1));
        let counts = || [&main, &spare].map(|server| server.record.lock().unwrap().taken.len());
        copy(&house, "ok-1@example.org").await.unwrap();
        assert_eq!(counts(), [1, 0], "{}: the one that cannot be reached is passed over", test.name);
        // What a relay says of it is said.
        let refused = copy(&house, "reject-1@example.org").await.unwrap_err();
        assert!(refused.contains("relay nowhere: ") && refused.contains("relay main: 550"), "{refused}");
        assert!(!refused.contains("relay spare"), "{refused}");

        let pause = async |name: &str| {
            let mut tx = house.db.write().await.unwrap();
            let shared = shared_clock(&mut tx, &house.clock).await.unwrap();
            relay::store::pause(&mut tx, name, Some(shared + 60_000), Some("x")).await.unwrap();
            tx.commit().await.unwrap();
        };
        pause("main").await;
        copy(&house, "ok-2@example.org").await.unwrap();
        assert_eq!(counts(), [1, 1], "{}: one that is paused is given nothing", test.name);
        pause("spare").await;
        let told = copy(&house, "ok-3@example.org").await.unwrap_err();
        for way in ["relay nowhere: ", "relay main is paused until", "relay spare is paused until"] {
            assert!(told.contains(way), "{}: {told}", test.name);
        }
        assert_eq!(counts(), [1, 1], "{}", test.name);
    }
}
