//! A month of mornings in which the editors want the economy in front: what is kept of it, what is learned, and that
//! nothing is put in force but by a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::civil::Date;
use matinale::articles::formats::Format;
use matinale::articles::import::{self, Says};
use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::db::Db;
use matinale::editions::{Document, Who, store as editions};
use matinale::morning::{House, learn, line_up, replay, tick};
use matinale::selection::learning::{What, store};

use crate::support::databases::both;

fn config() -> Config {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[keys]\nsecret_file = \"secret.key\"\n[relay.main]\nurl = \"smtp://127.0.0.1:1\"\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"test@example.org\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\n\
         timezone = \"Africa/Abidjan\"\nrelays = [\"main\"]\ncheck_links = false\n";
    std::fs::write(&file, text).unwrap();
    Config::load(&[file], &BTreeMap::new()).unwrap()
}

const SECTIONS: [&str; 4] = ["sport", "culture", "politique", "économie"];

/// Twenty-four articles of the evening before, six a section, with nothing in common.
async fn bring(house: &House, date: Date) {
    let evening = date.yesterday().unwrap();
    let mut lines = String::new();
    for n in 0..24_u64 {
        let word = |salt: u64| {
            let mut seed =
                (n * 7919 + u64::from(date.day().unsigned_abs()) * 104_729 + salt * 1_299_709) ^ 0x5bd1;
            let mut word = String::new();
            for _ in 0..7 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                word.push(char::from(b'a' + u8::try_from((seed >> 33) % 26).unwrap()));
            }
            word
        };
        let (section, hour) = (SECTIONS[usize::try_from(n % 4).unwrap()], 10 + n % 12);
        writeln!(
            lines,
            "{{\"url\": \"https://press.example/{date}/{n}\", \"title\": \"{} {} {}\", \
             \"summary\": \"{} {} {} {}.\", \"section\": \"{section}\", \"source\": \"Source {}\", \
             \"language\": \"fr\", \"published_at\": \"{evening}T{hour}:00:00Z\"}}",
            word(1),
            word(2),
            word(3),
            word(4),
            word(5),
            word(6),
            word(7),
            n % 8,
        )
        .unwrap();
    }
    let says = Says { format: Some(Format::JsonLines), ..Says::default() };
    let bytes = import::bytes(lines.into_bytes());
    import::read(&house.db, "test".to_owned(), bytes, &says, house.clock.now()).await.unwrap();
}

/// One morning: proposed at half past four, the economy put in front by an editor (if one is there), locked at five.
async fn morning(house: &House, date: Date, edited: bool) {
    house.clock.set(format!("{date}T04:30:00Z").parse().unwrap());
    bring(house, date).await;
    tick::tick(house).await.unwrap();
    let newsletter = house.config.newsletters["test"].clone();
    let edition = line_up::open(house, &newsletter, date).await.unwrap();
    line_up::refresh(house, &newsletter, &edition).await.unwrap();
    let edition = line_up::open(house, &newsletter, date).await.unwrap();
    let items: Vec<_> = [23, 19, 15, 11, 7, 3]
        .iter()
        .map(|n| serde_json::json!({ "url": format!("https://press.example/{date}/{n}") }))
        .collect();
    let document: Document = serde_json::from_value(serde_json::json!({ "items": items })).unwrap();
    if edited {
        let who = Who("Awa".to_owned());
        line_up::edit(house, &newsletter, &edition, &document, &who).await.unwrap().unwrap();
    }
    house.clock.advance(Duration::from_secs(1801));
    tick::tick(house).await.unwrap();
}

fn house(db: Db) -> House {
    let clock = Clock::manual("2026-10-01T04:30:00Z".parse().unwrap());
    House::new(config(), db, clock, Random::seeded(1))
}

#[tokio::test]
async fn a_month_of_edits_is_kept_learned_from_and_put_in_force_only_by_a_person() {
    let mut told = Vec::new();
    for test in both().await {
        let house = house(test.db);
        let newsletter = house.config.newsletters["test"].clone();
        let first: Date = "2026-10-01".parse().unwrap();
        for date in first.series(jiff::Span::new().days(1)).take(3) {
            morning(&house, date, true).await;
        }
        let mut conn = house.db.read().await.unwrap();
        let events = store::events(&mut conn, "test", first).await.unwrap();
        assert_eq!(events.len(), 6, "{}: {events:?}", test.name);
        assert!(
            events.iter().any(|kept| kept.event.what == What::Moved && kept.event.to == Some(1)),
            "{events:?}"
        );
        assert!(events.iter().any(|kept| kept.event.what == What::Added), "{events:?}");
        assert!(events.iter().all(|kept| kept.who == "Awa"), "{events:?}");
        let proposals = store::proposals(&mut conn, "test", first).await.unwrap();
        assert!(proposals.len() >= 2, "one by the machine, one with the editor's wishes: {proposals:?}");
        assert!(proposals.iter().all(|kept| (kept.chosen, kept.reserves) == (10, 10)), "{proposals:?}");
        assert!(store::shown(&mut conn, "test", first).await.unwrap().len() >= 20);
        let kept = store::lessons(&mut conn, "test", Date::MAX, 100).await.unwrap();
        assert_eq!(kept.len(), 3, "{}", test.name);
        for lesson in &kept {
            assert_eq!(lesson.shown.iter().filter(|shown| shown.taken).count(), 10, "{}", test.name);
            assert!(lesson.shown.len() >= 20, "{}", test.name);
        }
        drop(conn);
        let who = Who("Awa".to_owned());
        let refused = learn::promote(&house, &newsletter, false, &who).await.unwrap().unwrap_err();
        assert!(refused.starts_with("3 of 20 mornings compared: too early"), "{refused}");

        for date in first.series(jiff::Span::new().days(1)).skip(3).take(19) {
            morning(&house, date, true).await;
        }
        let report = learn::report(&house, &newsletter).await.unwrap();
        assert_eq!((report.mornings.len(), &report.in_force), (22, &None), "{}", test.name);
        assert!(report.learned.traits["section économie"] > 50, "{:?}", report.learned);
        assert!(report.verdict.gain > 0 && report.verdict.chance < 500, "{:?}", report.verdict);
        let agreed = learn::agreed(&house, &newsletter).await.unwrap().unwrap();
        assert!(agreed.mornings == 20 && agreed.learned > agreed.given, "{agreed:?}");
        let now = report.mornings.first().unwrap();
        assert!(now.learned > now.given, "{now:?}");

        // What would have been, had it been in force; and what other weights would have done.
        let days = |settings: Vec<replay::Setting>| {
            let (house, newsletter) = (&house, &newsletter);
            async move { replay::replay(house, newsletter, first, Date::MAX, &settings).await.unwrap() }
        };
        let same = days(Vec::new()).await.unwrap();
        assert!(same.len() >= 22 && same.iter().all(|day| day.changes.is_empty()), "{}", test.name);
        // Of equal points the newest stands first, so that another weight of freshness alone would change nothing here.
        let other =
            days(vec!["freshness=0".parse().unwrap(), "per_section=2".parse().unwrap()]).await.unwrap();
        assert!(other.iter().take(22).all(|day| !day.changes.is_empty()), "{}", test.name);
        let unknown = days(vec!["glamour=2".parse().unwrap()]).await.unwrap_err();
        assert!(unknown.contains("\"glamour\""), "{unknown}");

        // A morning without an editor is compared and counts for nobody.
        morning(&house, "2026-10-23".parse().unwrap(), false).await;
        let after = learn::report(&house, &newsletter).await.unwrap();
        assert_eq!((after.mornings.len(), after.mornings[0].looked), (23, false), "{}", test.name);
        assert_eq!((after.mornings[0].given, &after.verdict), (10_000, &report.verdict), "{}", test.name);

        learn::promote(&house, &newsletter, true, &who).await.unwrap().unwrap();
        let date: Date = "2026-10-24".parse().unwrap();
        let edition = line_up::open(&house, &newsletter, date).await.unwrap();
        house.clock.set(format!("{date}T04:30:00Z").parse().unwrap());
        bring(&house, date).await;
        let proposal = line_up::refresh(&house, &newsletter, &edition).await.unwrap();
        let lead = &proposal.chosen[0];
        assert!(
            lead.reasons.iter().any(|reason| reason.words == "appris pour la rubrique économie"),
            "{lead:?}"
        );
        for candidate in proposal.chosen.iter().chain(&proposal.reserves) {
            let sum: i64 = candidate.reasons.iter().map(|reason| reason.points).sum();
            assert_eq!(candidate.points, sum, "P7: reasons add up under learned weights too");
        }
        assert!(learn::demote(&house, &newsletter, &who).await.unwrap());
        assert!(!learn::demote(&house, &newsletter, &who).await.unwrap());
        let proposal = line_up::refresh(&house, &newsletter, &edition).await.unwrap();
        assert!(proposal.chosen.iter().all(|c| c.reasons.iter().all(|reason| reason.term != "editors")));
        let mut conn = house.db.read().await.unwrap();
        let line_up = editions::line_up(&mut conn, edition.id).await.unwrap();
        let urls: Vec<&str> = proposal.chosen.iter().map(|candidate| candidate.url.as_str()).collect();
        told.push(format!("{urls:?} {:?} {}", report.learned, line_up.chosen.len()));
    }
    if let [sqlite, postgres] = told.as_slice() {
        assert_eq!(sqlite, postgres);
    }
}

#[tokio::test]
async fn p8_a_value_that_an_editor_gives_counts_and_the_last_proposal_is_kept_whole() {
    let mut told = Vec::new();
    for test in both().await {
        let house = house(test.db);
        let newsletter = house.config.newsletters["test"].clone();
        let date: Date = "2026-10-01".parse().unwrap();
        bring(&house, date).await;
        let edition = line_up::open(&house, &newsletter, date).await.unwrap();
        line_up::refresh(&house, &newsletter, &edition).await.unwrap();
        let url = format!("https://press.example/{date}/0");
        let before = learn::record(&house, &newsletter, date).await.unwrap().unwrap();
        assert!(before.chosen.iter().all(|candidate| candidate.url != url), "{}", test.name);

        let document = |values: serde_json::Value| -> Document {
            serde_json::from_value(serde_json::json!({ "values": values })).unwrap()
        };
        let who = Who("Awa".to_owned());
        let wrong = document(serde_json::json!([{ "url": url, "value": 6 }]));
        let refused = line_up::edit(&house, &newsletter, &edition, &wrong, &who).await.unwrap().unwrap_err();
        assert_eq!(refused, "values[0].value: a news value is a whole number from 1 to 5");
        let good = document(serde_json::json!([{ "url": url, "value": 5, "lifetime": "long" }]));
        line_up::edit(&house, &newsletter, &edition, &good, &who).await.unwrap().unwrap();

        let record = learn::record(&house, &newsletter, date).await.unwrap().unwrap();
        let lead = &record.chosen[0];
        assert_eq!((lead.url.as_str(), lead.reasons[0].points), (url.as_str(), 400), "{}", test.name);
        let kept = record.chosen.len() + record.reserves.len() + record.left_out.len();
        assert_eq!((kept, record.inputs.len()), (24, 32), "every candidate, and a hash of what went in");
        assert_ne!(record.inputs, before.inputs, "another input, another hash");
        let shown = line_up::document(&house, &newsletter, &edition).await.unwrap();
        assert_eq!(shown.values.unwrap()[0].value, Some(5));
        line_up::edit(&house, &newsletter, &edition, &document(serde_json::json!([])), &who)
            .await
            .unwrap()
            .unwrap();
        let after = learn::record(&house, &newsletter, date).await.unwrap().unwrap();
        // But for the hash: the stories' ids are remembered meanwhile, and go in too.
        let after = matinale::selection::Proposal { inputs: before.inputs.clone(), ..after };
        assert_eq!(after, before, "{}: taken back, all is as it was", test.name);
        told.push(record);
    }
    if let [sqlite, postgres] = told.as_slice() {
        assert_eq!(sqlite, postgres);
    }
}
