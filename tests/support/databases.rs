//! Both engines for every test: a SQLite file, and a database of a PostgreSQL cluster that this process starts.
//!
//! PostgreSQL is part of the tests: where it is missing they fail, unless `MATINALE_TEST_SKIP_POSTGRES=1` says that
//! this was meant, and then they say so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use matinale::db::{Db, Options, on};
use tempfile::TempDir;

/// One empty, migrated database; gone with its folder.
pub struct TestDb {
    pub db: Db,
    pub name: &'static str,
    /// Where it is, on PostgreSQL.
    pub url: Option<String>,
    _folder: Option<TempDir>,
}

/// A SQLite database, and a PostgreSQL one.
pub async fn both() -> Vec<TestDb> {
    let mut out = vec![sqlite().await];
    if postgres_wanted() {
        out.push(postgres().await);
    }
    out
}

/// Whether nobody said that PostgreSQL is to be skipped; where somebody did, the test says so.
pub fn postgres_wanted() -> bool {
    let skip = std::env::var("MATINALE_TEST_SKIP_POSTGRES").is_ok_and(|value| value == "1");
    if skip {
        eprintln!("SKIPPED on PostgreSQL: MATINALE_TEST_SKIP_POSTGRES=1");
    }
    !skip
}

/// A PostgreSQL database alone.
pub async fn postgres() -> TestDb {
    let url = postgres_url().expect("nobody said that PostgreSQL is to be skipped");
    let db = Db::open(&Options { connections: 6, ..Options::new(&url) }).await.unwrap();
    db.migrate().await.unwrap();
    TestDb { db, name: "PostgreSQL", url: Some(url), _folder: None }
}

/// A SQLite database alone.
pub async fn sqlite() -> TestDb {
    let folder = tempfile::tempdir().unwrap();
    let test = sqlite_in(folder.path()).await;
    TestDb { _folder: Some(folder), ..test }
}

/// A SQLite database in this folder.
pub async fn sqlite_in(folder: &Path) -> TestDb {
    let url = format!("sqlite:{}", folder.join("test.db").display());
    let db = Db::open(&Options::new(&url)).await.unwrap();
    db.migrate().await.unwrap();
    TestDb { db, name: "SQLite", url: None, _folder: None }
}

/// Held for reading while the server of [`restartable`] must stay up, for writing while it is away.
pub static QUIET: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
static SHAKY: OnceLock<Cluster> = OnceLock::new();

/// A database of a server that [`restart`] stops and starts.
pub async fn restartable() -> TestDb {
    let url = tokio::task::spawn_blocking(|| SHAKY.get_or_init(|| Cluster::start("shaky")).new_database())
        .await
        .unwrap();
    let db = Db::open(&Options { connections: 6, ..Options::new(&url) }).await.unwrap();
    db.migrate().await.unwrap();
    TestDb { db, name: "PostgreSQL", url: Some(url), _folder: None }
}

/// Stops that server as a crash would, and starts it again. Goes on when nobody waits for it any more.
pub async fn restart() {
    let done = tokio::spawn(async {
        let away = QUIET.write().await;
        tokio::task::spawn_blocking(|| SHAKY.get().expect("a database of it is in use").restart())
            .await
            .unwrap();
        drop(away);
    });
    done.await.unwrap();
}

/// The URL of a fresh PostgreSQL database; `None` where skipping was asked for.
pub fn postgres_url() -> Option<String> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| postgres_wanted().then(|| Cluster::start("tests")));
    Some(cluster.as_ref()?.new_database())
}

/// How many stages stand in this database of PostgreSQL's.
pub async fn stages(url: &str) -> i64 {
    let db = Db::open(&Options { connections: 1, ..Options::new(url) }).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 'matinale%'";
    let count = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
    drop(conn);
    db.close().await;
    count
}

pub(super) struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    port: u16,
}

/// Folders of clusters to stop when the process ends; statics are not dropped.
static STARTED: Mutex<Vec<(PathBuf, PathBuf)>> = Mutex::new(Vec::new());

impl Cluster {
    pub(super) fn start(name: &str) -> Self {
        let cluster = Self::prepare(name);
        let data = cluster.data();
        cluster.run(
            "initdb",
            &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"],
        );
        cluster.begin()
    }

    /// A standby that follows the server of this URL.
    pub(super) fn following(url: &str, name: &str) -> Self {
        let cluster = Self::prepare(name);
        cluster.run("pg_basebackup", &["-D", &cluster.data(), "-d", url, "-R", "-c", "fast", "-N"]);
        cluster.begin()
    }

    fn prepare(name: &str) -> Self {
        let bin = newest_binaries().expect("PostgreSQL is not installed; tests/run installs it");
        let folder = std::env::temp_dir().join(format!("matinale-postgres-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let cluster = Self { folder, bin, port };
        if is_root() {
            // initdb refuses root: the cluster belongs to the user that Debian's package makes.
            let given = Command::new("chown").arg("postgres").arg(&cluster.folder).status().unwrap();
            assert!(given.success());
        }
        cluster
    }

    fn begin(self) -> Self {
        let (folder, port) = (self.folder.display(), self.port);
        let settings = format!(
            "-c listen_addresses='' -c unix_socket_directories={folder} -c port={port} -c fsync=off -c max_connections=300"
        );
        let log = self.folder.join("log");
        let log = log.to_str().unwrap();
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-s", "-l", log, "-o", &settings, "start"]);
        STARTED.lock().unwrap().push((self.bin.clone(), self.folder.clone()));
        watch_for_the_end(&self);
        self
    }

    fn data(&self) -> String {
        self.folder.join("data").to_str().unwrap().to_owned()
    }

    /// The URL of a fresh database.
    pub(super) fn new_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::SeqCst));
        self.run("psql", &["-q", "-d", "postgres", "-c", &format!("CREATE DATABASE {name}")]);
        self.database(&name)
    }

    /// The URL of a database that is there.
    pub(super) fn database(&self, name: &str) -> String {
        let (folder, port) = (self.folder.display(), self.port);
        format!("postgres://postgres@localhost/{name}?host={folder}&port={port}")
    }

    fn restart(&self) {
        let log = self.folder.join("log");
        let log = log.to_str().unwrap();
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-s", "-l", log, "-m", "immediate", "restart"]);
    }

    /// Stops as a crash would.
    pub(super) fn crash(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-s", "-m", "immediate", "stop"]);
    }

    /// A standby takes the place of what it followed.
    pub(super) fn promote(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-s", "promote"]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let path = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        let done = command
            .args(arguments)
            .current_dir("/")
            .env("PGHOST", &self.folder)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success(), "{program} {arguments:?}");
    }
}

/// A small process of its own stops the cluster once this one is gone, however it goes.
fn watch_for_the_end(cluster: &Cluster) {
    let script = format!(
        "while kill -0 {pid} 2>/dev/null; do sleep 0.5; done; kill -QUIT $(head -1 {folder}/data/postmaster.pid) 2>/dev/null; sleep 0.5; rm -rf {folder}",
        pid = std::process::id(),
        folder = cluster.folder.display(),
    );
    // In the background of a shell that ends at once: it must outlive this process.
    let started = Command::new("sh")
        .args(["-c", &format!("setsid sh -c '{script}' &")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(started.success());
}

fn newest_binaries() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| Path::exists(&bin.join("initdb")))
        .collect();
    found.sort();
    found.pop()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
