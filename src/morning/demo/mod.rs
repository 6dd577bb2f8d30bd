//! A whole morning on sample articles and readers: ingest, line-up, edition, delivery into the built-in inbox.
//!
//! It is the real thing, end to end, on embedded SQLite; only the relay is our own inbox, and the civil clock jumps
//! from one reader's hour to the next.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::inbox::Inbox;
use super::send::{self, How};
use super::{Error, House, Result, line_up, prefer};
use crate::articles::formats::Format;
use crate::articles::import;
use crate::clock::{Clock, Random};
use crate::config::Config;
use crate::db::Db;
use crate::delivery::Counts;
use crate::lifecycle::Shutdown;
use crate::readers;

const ARTICLES: &str = include_str!("articles.jsonl");
const SUBSCRIBERS: &str = include_str!("subscribers.csv");
/// The newsletter of the demo.
pub const NEWSLETTER: &str = "la-matinale";

/// A morning that was gone through.
#[derive(Debug)]
pub struct Morning {
    /// The house that it happened in.
    pub house: House,
    /// Where the mails are.
    pub inbox: Inbox,
    /// The edition's date.
    pub date: Date,
    /// How many articles there were.
    pub articles: usize,
    /// How many readers.
    pub readers: u64,
    /// What the deliveries came to.
    pub counts: Counts,
}

#[derive(Deserialize)]
struct Sample {
    hours_before_lock: i64,
    #[serde(flatten)]
    article: serde_json::Map<String, serde_json::Value>,
}

/// Goes through a whole morning in this folder; pages will be served at `listen`.
pub async fn run(folder: &Path, listen: SocketAddr, shutdown: &Shutdown) -> Result<Morning> {
    let clock = Clock::system();
    let inbox = Inbox::start(&folder.join("inbox"), shutdown).await.map_err(start)?;
    let config = configuration(folder, listen, inbox.address).map_err(start)?;
    let newsletter = config
        .newsletters
        .get(NEWSLETTER)
        .cloned()
        .ok_or_else(|| Error::Start("no newsletter".to_owned()))?;
    let db = Db::open(&config.database.options()).await?;
    db.migrate().await?;
    let house = House::new(config, db, clock.clone(), Random::system());
    let date = clock.now().to_zoned_datetime(newsletter.timezone.clone()).date();
    let edition = line_up::open(&house, &newsletter, date).await?;
    let articles = ingest(&house, edition.lock_at).await?;
    let options = readers::import::Options {
        newsletters: [NEWSLETTER.to_owned()].into(),
        newsletter: Some(NEWSLETTER.to_owned()),
        consent: Some("Sample readers of the demonstration".to_owned()),
    };
    let imported = prefer::import(&house, SUBSCRIBERS.as_bytes(), &options, clock.now(), |_| Ok(()))
        .await
        .map_err(|error| Error::Start(format!("sample readers: {error}")))?;
    // Half an hour before the lock: the desk is quiet, the coffee is warm.
    house
        .clock
        .set_civil(edition.lock_at.checked_sub(SignedDuration::from_mins(30)).unwrap_or(edition.lock_at));
    line_up::refresh(&house, &newsletter, &edition).await?;
    let how = How { wait: true, now: false, late: false, civil: true };
    let counts = send::send(&house, &newsletter, date, how, shutdown).await?.map_err(Error::Start)?;
    house.clock.set_civil(house.clock.now());
    Ok(Morning { house, inbox, date, articles, readers: imported.new, counts })
}

fn says() -> import::Says {
    import::Says { format: Some(Format::JsonLines), ..import::Says::default() }
}

fn start(error: impl std::fmt::Display) -> Error {
    Error::Start(error.to_string())
}

/// The sample articles, each as old as it is at that lock.
async fn ingest(house: &House, lock: Timestamp) -> Result<usize> {
    let mut lines = String::new();
    let mut count = 0;
    for line in ARTICLES.lines() {
        let sample: Sample = serde_json::from_str(line).map_err(start)?;
        let at = lock.checked_sub(SignedDuration::from_hours(sample.hours_before_lock)).unwrap_or(lock);
        let mut article = sample.article;
        article.insert("published_at".to_owned(), at.to_string().into());
        lines.push_str(&serde_json::to_string(&article).map_err(start)?);
        lines.push('\n');
        count += 1;
    }
    // At the lock, not now: a morning of later today is no future to the store.
    let input = import::bytes(lines.into_bytes());
    let report = import::read(&house.db, "sample articles".to_owned(), input, &says(), lock).await?;
    match report.refusals.first() {
        Some(refusal) => Err(Error::Start(format!("sample articles: {}: {}", refusal.field, refusal.why))),
        None => Ok(count),
    }
}

fn configuration(folder: &Path, listen: SocketAddr, inbox: SocketAddr) -> io::Result<Config> {
    std::fs::create_dir_all(folder)?;
    let key = folder.join("secret.key");
    if !key.exists() {
        let secret = data_encoding::BASE32_NOPAD.encode(&Random::system().bytes::<32>());
        std::fs::write(&key, secret)?;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    }
    let text = format!(
        r#"# Written by `matinale demo`.
[database]
url = "sqlite:demo.db"

[web]
listen = "{listen}"
public_url = "http://{listen}"

[keys]
secret_file = "secret.key"

[relay.inbox]
url = "inbox://{inbox}"
connections = 2

[newsletter.{NEWSLETTER}]
name = "La Matinale"
language = "fr"
from = "La Matinale <matinale@news.example>"
reply_to = "redaction@news.example"
lock = "0 0 4 * * *"
timezone = "Africa/Abidjan"
send_at = "06:30"
relays = ["inbox"]
# The sample articles stand nowhere.
check_links = false
publisher = "Example Press, 1 rue du Port, Dakar"
"#
    );
    let file = folder.join("matinale.toml");
    std::fs::write(&file, text)?;
    Config::load_for(&[file], &std::collections::BTreeMap::new(), true).map_err(io::Error::other)
}
