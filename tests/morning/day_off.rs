//! A day off whose edition somebody asks for by name: it is opened by what is done of it, and by nothing that is refused.

use std::time::Duration;

use matinale::delivery;
use matinale::editions::{self, Document, Edition, EditionState, Who};
use matinale::lifecycle::Shutdown;
use matinale::morning::send::{How, send};
use matinale::morning::{House, line_up, lock, tick};

use super::clock::{house, state};
use crate::support::databases::both;
use crate::support::readers;

const DAY_OFF: &str = "2026-11-24";
const HOW: How = How { wait: false, now: true, late: false, civil: false };

async fn look(house: &House) -> Edition {
    line_up::look(house, &house.config.newsletters["test"], DAY_OFF.parse().unwrap()).await.unwrap()
}

async fn edit(house: &House, document: &str) -> Result<(), String> {
    let document: Document = serde_json::from_str(document).unwrap();
    let (newsletter, edition) = (&house.config.newsletters["test"], look(house).await);
    line_up::edit(house, newsletter, &edition, &document, &Who::command_line()).await.unwrap()
}

async fn sent(house: &House) -> String {
    let (newsletter, date) = (&house.config.newsletters["test"], DAY_OFF.parse().unwrap());
    send(house, newsletter, date, HOW, &Shutdown::new()).await.unwrap().unwrap_err()
}

async fn locked(house: &House) -> Result<lock::Frozen, String> {
    let (newsletter, edition) = (&house.config.newsletters["test"], look(house).await);
    lock::lock_or_refuse(house, newsletter, &edition, &Who::command_line(), false).await.unwrap()
}

#[tokio::test]
async fn p5_what_is_refused_of_a_day_off_leaves_nothing_for_the_clock_to_send() {
    let off = format!("days_off = [\"{DAY_OFF}\"]");
    for more in ["minimum_items = 9", "approval = \"approve\""] {
        for test in both().await {
            let house = house(test.db, &format!("{more}\n{off}")).await;
            let none = async |told: &str| {
                tick::tick(&house).await.unwrap();
                assert_eq!(state(&house, DAY_OFF).await, None, "{} {more}: {told}", test.name);
            };
            let refused = sent(&house).await;
            assert!(refused.contains("minimum is 9") || refused.contains("waits for approval"), "{refused}");
            none("send").await;
            none(&locked(&house).await.unwrap_err()).await;
            none(&edit(&house, "{\"removed\": [\"https://press.example/z\"]}").await.unwrap_err()).await;
            none(&edit(&house, "{\"version\": 7, \"subject\": \"x\"}").await.unwrap_err()).await;
            // The hour at which it would have locked, and when that is long past.
            for (hours, told) in [(1, "2026-11-24"), (6, "has no edition of 2026-11-24, which is past")] {
                house.clock.advance(Duration::from_secs(hours * 3600));
                let refused = sent(&house).await;
                assert!(refused.contains(told), "{} {more}: {refused}", test.name);
                none("send").await;
            }
        }
    }
}

/// Whatever breaks between the first word of an edition and its last: here what the line-up is written to is gone.
#[tokio::test]
async fn p5_a_step_that_breaks_off_opens_no_edition_of_a_day_off() {
    for test in both().await {
        let house = house(test.db, &format!("days_off = [\"{DAY_OFF}\"]")).await;
        super::clock::sql(&house, "ALTER TABLE revision RENAME TO elsewhere").await;
        let (newsletter, edition) = (&house.config.newsletters["test"], look(&house).await);
        let who = Who::command_line();
        lock::lock_or_refuse(&house, newsletter, &edition, &who, false).await.unwrap_err();
        assert_eq!(state(&house, DAY_OFF).await, None, "{}", test.name);
        super::clock::sql(&house, "ALTER TABLE elsewhere RENAME TO revision").await;
        super::clock::sql(&house, "ALTER TABLE edition_event RENAME TO elsewhere").await;
        let document: Document = serde_json::from_str("{\"subject\": \"x\"}").unwrap();
        line_up::edit(&house, newsletter, &edition, &document, &who).await.unwrap_err();
        assert_eq!(state(&house, DAY_OFF).await, None, "{}", test.name);
    }
}

#[tokio::test]
async fn p5_an_edition_of_a_day_off_is_opened_by_the_edit_or_the_lock_that_asks_for_it() {
    for test in both().await {
        let house = house(test.db, &format!("days_off = [\"{DAY_OFF}\"]")).await;
        // Two who looked before either did anything: they change one edition.
        let (newsletter, looked_at) = (&house.config.newsletters["test"], look(&house).await);
        edit(&house, "{\"version\": 1, \"subject\": \"Bonjour\"}").await.unwrap();
        assert_eq!(state(&house, DAY_OFF).await, Some(EditionState::Open), "{}", test.name);
        let who = Who::command_line();
        let raced = lock::lock_or_refuse(&house, newsletter, &looked_at, &who, false).await.unwrap();
        assert!(raced.unwrap_err().contains("somebody changed the edition"), "{}", test.name);
        assert_eq!(locked(&house).await.unwrap().revision, 1, "{}", test.name);
        let edition = look(&house).await;
        assert_eq!(
            (edition.state, edition.words.subject.as_deref()),
            (EditionState::Locked, Some("Bonjour"))
        );
        let all = editions::store::list(&mut house.db.read().await.unwrap(), "test", 9).await.unwrap();
        assert_eq!(all.len(), 1, "{}: {all:?}", test.name);
    }
}

#[tokio::test]
async fn p1_p5_a_lock_of_a_day_off_opens_it_freezes_it_and_plans_for_everybody_in_one_step() {
    for test in both().await {
        let house = house(test.db, &format!("days_off = [\"{DAY_OFF}\"]")).await;
        let somebody = ["awa@example.org", "kofi@example.org"];
        let somebody = somebody.map(|address| readers::somebody(&house.links, address));
        let mut tx = house.db.write().await.unwrap();
        readers::subscribe(&mut tx, &somebody, house.clock.now()).await;
        tx.commit().await.unwrap();
        let frozen = locked(&house).await.unwrap();
        assert_eq!((frozen.revision, frozen.planned), (1, 2), "{}", test.name);
        let edition = look(&house).await;
        assert_eq!((edition.state, edition.revision), (EditionState::Locked, 1), "{}", test.name);
        let mut conn = house.db.read().await.unwrap();
        let planned = delivery::store::counts(&mut conn, edition.id).await.unwrap().planned;
        assert_eq!(planned, 2, "{}: {}", test.name, edition.id.0);
    }
}
