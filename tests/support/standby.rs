//! A PostgreSQL server and a standby that follows it, as far as it is let, and takes its place.

use std::time::Duration;

use matinale::db::{Db, Options, Side};
use tokio::task::spawn_blocking;

use super::databases::Cluster;
use super::lossy::Lossy;

/// Both; gone with this process.
pub struct Pair {
    primary: Cluster,
    standby: Cluster,
    /// How the standby follows.
    following: Lossy,
    database: String,
    pub url: String,
}

impl Pair {
    /// A database of a server that a standby follows.
    pub async fn start(name: &'static str) -> Self {
        let (primary, url) = spawn_blocking(move || {
            let primary = Cluster::start(&format!("{name}-first"));
            let url = primary.new_database();
            (primary, url)
        })
        .await
        .unwrap();
        let database = url.split(['/', '?']).nth(3).unwrap().to_owned();
        let (following, by_it) = Lossy::start(&url);
        let standby = spawn_blocking(move || Cluster::following(&by_it, &format!("{name}-second")));
        Self { primary, standby: standby.await.unwrap(), following, database, url }
    }

    /// Lets the standby come to know what was kept until now, and nothing of what comes.
    pub async fn leave_behind(&self) {
        let kept = one(&self.url, "SELECT CAST(pg_current_wal_lsn() AS TEXT)").await;
        let there = "SELECT CAST(pg_last_wal_replay_lsn() AS TEXT)";
        let url = self.standby.database(&self.database);
        let arrived = async {
            while place(&one(&url, there).await) < place(&kept) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), arrived).await.expect("the standby follows");
        self.following.freeze();
    }

    /// The server crashes and the standby takes its place; returns where it is.
    pub async fn fail_over(self) -> String {
        let url = self.standby.database(&self.database);
        self.following.cut();
        let (primary, standby) = (self.primary, self.standby);
        spawn_blocking(move || {
            primary.crash();
            standby.promote();
        })
        .await
        .unwrap();
        url
    }
}

/// What one server says.
async fn one(url: &str, sql: &'static str) -> String {
    let db = Db::open(&Options { connections: 1, ..Options::new(url) }).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let Side::Postgres(c) = conn.side() else { unreachable!("it is PostgreSQL") };
    sqlx::query_scalar(sql).fetch_one(c).await.unwrap()
}

/// A place in the log as a number: it is written as two, in hexadecimal.
fn place(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    let part = |text| u64::from_str_radix(text, 16).unwrap();
    (part(high) << 32) + part(low)
}
