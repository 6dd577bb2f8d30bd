//! What a summary says of the replies of an edition.

use matinale::db::{Db, Options, on};

use super::refusals::{answer, house};

/// An edition, and of the n-th of sixty kinds of reply n tries that were counted when it was pruned.
const COUNTED: [&str; 2] = [
    "INSERT INTO edition (id, newsletter, date, state, lock_at, created_at)
     VALUES (1, 'test', '2026-11-24', 'sent', 0, 0)",
    "INSERT INTO pruned_attempt (edition, relay, outcome, code, enhanced, class, count)
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
     SELECT 1, 'main', 'rejected', 550, '5.7.' || i, 'policy', i FROM n",
];

#[tokio::test]
async fn p6_a_summary_says_how_much_it_leaves_out_and_gives_all_of_it_as_json() {
    let house = house("");
    answer(&house, &["migrate"]);
    let url = format!("sqlite:{}", house.path().join("test.db").display());
    let db = Db::open(&Options::new(&url)).await.unwrap();
    let mut tx = db.write().await.unwrap();
    for sql in COUNTED {
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    }
    tx.commit().await.unwrap();
    let told = answer(&house, &["delivery", "summary", "test", "--date", "2026-11-24"]);
    assert!(told.contains("5.7.49 ") && !told.contains("5.7.48 "), "{told}");
    // 1 + 2 + … + 48.
    assert!(told.ends_with("and 48 more, 1176 tries: --json gives each\n"), "{told}");
    let told = answer(&house, &["--json", "delivery", "summary", "test", "--date", "2026-11-24"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let said = told["said"].as_array().unwrap();
    let tries: i64 = said.iter().map(|row| row["attempts"].as_i64().unwrap()).sum();
    assert_eq!((said.len(), tries), (60, 1830));
}
