//! What relays say, and what the ledger makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::db::{Db, Options, on};
use matinale::delivery::{Engine, Mode, store};
use matinale::editions::{EditionId, EditionState, NewRevision, Who};
use matinale::lifecycle::Shutdown;
use matinale::readers::links::Links;

use crate::support::smtp::Scripted;

struct Bench {
    db: Db,
    config: Arc<Config>,
    edition: EditionId,
    _folder: tempfile::TempDir,
}

async fn bench(server: &Scripted, addresses: &[String]) -> Bench {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("matinale.toml");
    std::fs::write(folder.path().join("secret.key"), "key").unwrap();
    std::fs::set_permissions(folder.path().join("secret.key"), std::fs::Permissions::from_mode(0o600))
        .unwrap();
    std::fs::write(
        &file,
        format!(
            "[database]\nurl = \"sqlite:test.db\"\n[keys]\nsecret_file = \"secret.key\"\n[delivery]\nretry = [\"20ms\", \"20ms\", \"20ms\"]\n[relay.main]\nurl = \"smtp://{}\"\nconnections = 4\n\
             [newsletter.test]\nname = \"T\"\nfrom = \"t@example.org\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\nrelays = [\"main\"]\n",
            server.address
        ),
    )
    .unwrap();
    let config = Arc::new(Config::load(&[file], &BTreeMap::new()).unwrap());
    let db = Db::open(&config.database.options()).await.unwrap();
    db.migrate().await.unwrap();
    let mut tx = db.write().await.unwrap();
    let now = Clock::system().now();
    for (at, address) in addresses.iter().enumerate() {
        let id = at as i64 + 1;
        on!(&mut tx, |c| {
            sqlx::query("INSERT INTO subscriber (id, key, key_hash, address) VALUES ($1, $2, $2, $2)")
                .bind(id)
                .bind(address)
                .execute(&mut *c)
                .await
                .map(drop)
                .unwrap();
            sqlx::query("INSERT INTO subscription (id, subscriber, newsletter, status) VALUES ($1, $1, 'test', 'active')").bind(id).execute(&mut *c).await.map(drop).unwrap()
        });
    }
    let edition = matinale::editions::store::open(&mut tx, "test", "2026-11-24".parse().unwrap(), now, now)
        .await
        .unwrap();
    let who = Who::command_line();
    let renderings = [("fr".to_owned(), b"Bonjour.\r\n".to_vec())];
    let revision = NewRevision { number: 1, who: &who, why: "lock", content: "{}", renderings: &renderings };
    matinale::editions::store::freeze(&mut tx, edition.id, &revision, now).await.unwrap();
    let plan = matinale::delivery::plan::Plan {
        edition: edition.id,
        newsletter: "test",
        morning: matinale::delivery::due::Morning {
            date: now.to_zoned_datetime(jiff::tz::TimeZone::UTC).date(),
            lock: now,
            deadline: jiff::civil::Time::constant(12, 0, 0, 0),
            window: std::time::Duration::from_secs(3600),
        },
        hour: jiff::civil::Time::constant(0, 0, 0, 0),
        zone: &jiff::tz::TimeZone::UTC,
    };
    assert_eq!(matinale::delivery::plan::plan(&mut tx, &plan).await.unwrap(), addresses.len() as i64);
    for state in [EditionState::Locked, EditionState::Sending] {
        let edition = matinale::editions::store::load(&mut tx, edition.id).await.unwrap();
        matinale::editions::store::set_state(&mut tx, &edition, state, None, &who, now).await.unwrap();
    }
    tx.commit().await.unwrap();
    Bench { db, config, edition: edition.id, _folder: folder }
}

async fn send(bench: &Bench) -> store_counts::Counts {
    let engine = Engine::new(
        bench.config.clone(),
        bench.db.clone(),
        Clock::system(),
        Random::seeded(1),
        Links::new(b"k"),
    )
    .unwrap();
    let mode = Mode { edition: Some(bench.edition), ..Mode::default() };
    engine.run_edition(mode, &Shutdown::new()).await.unwrap();
    store::counts(&mut bench.db.read().await.unwrap(), bench.edition).await.unwrap()
}

use matinale::delivery as store_counts;

#[tokio::test]
async fn p1_every_delivery_ends_and_the_servers_record_agrees() {
    for pipelining in [true, false] {
        let server = Scripted::start(pipelining).await;
        let plans = [
            "ok",
            "reject-x",
            "policy-x",
            "defer-1",
            "defer-2",
            "dotdefer-1",
            "dotreject-x",
            "taken-1",
            "lost-1",
            "cut-1",
            "busy-1",
            "junk-1",
            "multi-1",
        ];
        let addresses: Vec<String> =
            (0..260).map(|n| format!("{}-n{n}@example.org", plans[n % plans.len()])).collect();
        let bench = bench(&server, &addresses).await;
        let counts = send(&bench).await;
        println!("{counts:?}");
        assert!(counts.all_final());
        let by = server.by_recipient();
        assert_eq!(counts.rejected, 60);
        assert_eq!(counts.accepted, 200);
        for address in &addresses {
            let plan = address.split('-').next().unwrap();
            let expected = match plan {
                "reject" | "policy" | "dotreject" => 0,
                "taken" => 2,
                _ => 1,
            };
            assert_eq!(by.get(address).copied().unwrap_or(0), expected, "{address}");
        }
        let record = server.record.lock().unwrap();
        for taken in &record.taken {
            let n: i64 = addresses.iter().position(|a| *a == taken.to).unwrap() as i64 + 1;
            let _ = n;
            assert!(taken.from.starts_with("b.d"), "{taken:?}");
        }
        println!("connections {}", record.connections);
    }
}
