//! What goes wrong on our side while the edition is sent.

use std::time::Duration;

use matinale::db::{Db, Options, on};
use matinale::delivery::store;
use matinale::lifecycle::Shutdown;

use super::mix::{Mix, Ours};
use crate::delivery::ground::Bench;
use crate::support::databases::{self, TestDb};
use crate::support::disk::SmallDisk;
use crate::support::faulty::Faulty;
use crate::support::lossy::Lossy;

/// Sends the edition until each delivery is final, whatever happens on our side meanwhile.
pub(super) async fn send(mix: &Mix, bench: &Bench, server: &Faulty, test: &TestDb, disk: Option<&SmallDisk>) {
    match mix.ours {
        Ours::Nothing => until_final(bench, &bench.db).await,
        Ours::Clock => {
            tokio::select! {
                () = until_final(bench, &bench.db) => {}
                () = step_the_clock(mix, bench, server) => {}
            }
        }
        Ours::Cut => {
            let (lossy, db) = by_a_lossy_way(test).await;
            let cut = async {
                for moment in &mix.moments {
                    server.until(*moment).await;
                    lossy.cut();
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = until_final(bench, &db) => {}
                () = cut => {}
            }
        }
        Ours::Disk => {
            tokio::select! {
                () = until_final(bench, &bench.db) => {}
                () = fill_the_disk(mix, bench, server, disk) => {}
            }
        }
        Ours::Restarted => {
            let restart = async {
                for moment in &mix.moments {
                    server.until(*moment).await;
                    databases::restart().await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = until_final(bench, &bench.db) => {}
                () = restart => {}
            }
        }
        Ours::Late => {
            let late = async {
                server.until(mix.moments[1]).await;
                bench.clock.advance(Duration::from_secs(2 * 3600));
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = until_final(bench, &bench.db) => {}
                () = late => {}
            }
        }
        Ours::Commits => {
            let (lossy, db) = by_a_lossy_way(test).await;
            let lose = async {
                for (n, moment) in mix.moments.iter().enumerate() {
                    server.until(*moment).await;
                    if n % 2 == 0 { lossy.lose_answers(2) } else { lossy.lose_commits(2) }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = until_final(bench, &db) => {}
                () = lose => {}
            }
        }
        Ours::Fenced => {
            tokio::select! {
                _ = async { tokio::join!(until_final(bench, &bench.db), until_final(bench, &bench.db)) } => {}
                () = end_leases(mix, bench, server) => {}
            }
        }
        Ours::Killed => {
            for moment in &mix.moments {
                tokio::select! {
                    () = until_final(bench, &bench.db) => {}
                    // Dropped as it stands: nothing is given back, nobody says goodbye.
                    () = server.until(*moment) => {}
                }
            }
            until_final(bench, &bench.db).await;
        }
    }
}

/// As the daemon does it: a life that ended for the database's sake is followed by another.
pub(super) async fn until_final(bench: &Bench, db: &Db) {
    loop {
        let engine = bench.engine_on(db.clone());
        if engine.run_edition(bench.mode(), &Shutdown::new()).await.is_ok() && is_final(bench).await {
            return;
        }
        // It is held, or the database is away.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn is_final(bench: &Bench) -> bool {
    let Ok(mut conn) = bench.db.read().await else { return false };
    store::all_final(&mut conn, bench.edition).await.unwrap_or(false)
}

async fn by_a_lossy_way(test: &TestDb) -> (Lossy, Db) {
    let (lossy, url) = Lossy::start(test.url.as_deref().expect("it is on PostgreSQL"));
    let db = Db::open(&Options { connections: 6, ..Options::new(&url) }).await.unwrap();
    (lossy, db)
}

async fn step_the_clock(mix: &Mix, bench: &Bench, server: &Faulty) {
    let minute = Duration::from_secs(60);
    for moment in &mix.moments {
        server.until(*moment).await;
        bench.clock.advance(minute * 5);
        server.until(moment + 5).await;
        let back = bench.clock.now().checked_sub(jiff::SignedDuration::from_mins(5)).unwrap();
        bench.clock.set(back);
        server.until(moment + 10).await;
        bench.clock.advance(minute * 5);
    }
    std::future::pending::<()>().await;
}

/// A small disk, filled to the last byte; without one, no page more than there are: every statement that needs one
/// fails in the same way.
async fn fill_the_disk(mix: &Mix, bench: &Bench, server: &Faulty, disk: Option<&SmallDisk>) {
    for moment in &mix.moments {
        server.until(*moment).await;
        match disk {
            Some(disk) => disk.fill(),
            None => limit_pages(&bench.db, 1).await,
        }
        // So long that several commits meet it.
        tokio::time::sleep(Duration::from_millis(60)).await;
        match disk {
            Some(disk) => disk.empty(),
            None => limit_pages(&bench.db, 1 << 30).await,
        }
    }
    std::future::pending::<()>().await;
}

async fn limit_pages(db: &Db, pages: i64) {
    let mut tx = db.write().await.unwrap();
    // SQLite takes the pages that there are where fewer are named. A pragma binds nothing.
    let sql = format!("PRAGMA max_page_count = {pages}");
    on!(&mut tx, |c| sqlx::query(sqlx::AssertSqlSafe(sql.as_str())).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

async fn end_leases(mix: &Mix, bench: &Bench, server: &Faulty) {
    for moment in &mix.moments {
        server.until(*moment).await;
        while !leases_ended(&bench.db).await {}
    }
    std::future::pending::<()>().await;
}

/// Ends every lease. Whoever takes over locks the same rows in another order: of two that wait for each other PostgreSQL
/// ends one, and where that was this one, nothing happened.
async fn leases_ended(db: &Db) -> bool {
    let mut tx = db.write().await.unwrap();
    let sql = "UPDATE daemon SET lease_until = 0 WHERE gone = 0";
    match on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop)) {
        Ok(()) => {
            tx.commit().await.unwrap();
            true
        }
        Err(error) => {
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            assert_eq!(code.as_deref(), Some("40P01"), "{error}");
            false
        }
    }
}
