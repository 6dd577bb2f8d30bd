//! A way to PostgreSQL that loses things: the answer to a COMMIT, a COMMIT itself, a LISTEN, every connection at once,
//! with and without a word.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// The proxy; gone with its folder.
pub struct Lossy {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    server: Mutex<PathBuf>,
    /// The answers to so many further COMMITs are lost.
    unanswered: AtomicU32,
    /// So many further COMMITs never arrive.
    unheard: AtomicU32,
    /// So many further LISTENs never arrive.
    deaf: AtomicU32,
    /// Counts the cuts: every connection ends when it changes.
    cuts: watch::Sender<u32>,
    /// Nothing goes either way, and nobody is told.
    frozen: watch::Sender<bool>,
    /// Likewise, for good, for every connection that is there when it changes.
    abandoned: watch::Sender<u32>,
}

const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
const LISTEN: &[u8] = b"LISTEN ";

impl Lossy {
    /// A way to the server of this URL, as the tests' own harness gives it: a folder with a socket, and a port.
    pub fn start(url: &str) -> (Self, String) {
        let server = socket(url);
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(server.file_name().unwrap());
        let listener = UnixListener::bind(&own).unwrap();
        // A server that follows another comes this way, too, and is another user.
        for (path, mode) in [(folder.path(), 0o755), (&own, 0o777)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let host = server.parent().unwrap().to_str().unwrap().to_owned();
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            unanswered: AtomicU32::new(0),
            unheard: AtomicU32::new(0),
            deaf: AtomicU32::new(0),
            cuts: watch::Sender::new(0),
            frozen: watch::Sender::new(false),
            abandoned: watch::Sender::new(0),
        });
        let own = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let own = own.clone();
                tokio::spawn(async move { drop(own.carry(client).await) });
            }
        });
        let url = url.replace(&host, folder.path().to_str().unwrap());
        (Self { folder, shared }, url)
    }

    /// From now on it leads to this server.
    pub fn lead_to(&self, url: &str) {
        *self.shared.server.lock().unwrap() = socket(url);
    }

    pub fn lose_answers(&self, count: u32) {
        self.shared.unanswered.store(count, Ordering::SeqCst);
    }

    pub fn lose_commits(&self, count: u32) {
        self.shared.unheard.store(count, Ordering::SeqCst);
    }

    /// Whoever wants to listen finds that the connection is gone, so many times.
    pub fn lose_listens(&self, count: u32) {
        self.shared.deaf.store(count, Ordering::SeqCst);
    }

    /// How many of these are still to be lost.
    pub fn listens_to_lose(&self) -> u32 {
        self.shared.deaf.load(Ordering::SeqCst)
    }

    /// From now on the server is silent, as behind a cable that was pulled.
    pub fn freeze(&self) {
        self.shared.frozen.send_replace(true);
    }

    /// It speaks again.
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(false);
    }

    /// Those who are connected hear nothing any more, and nobody tells them; who connects from now on is served.
    pub fn abandon(&self) {
        self.shared.abandoned.send_modify(|count| *count += 1);
    }

    /// Every connection breaks, wherever it stands.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|count| *count += 1);
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.cut();
        debug_assert!(self.folder.path().exists());
    }
}

/// Where the server of this URL listens.
fn socket(url: &str) -> PathBuf {
    let parameter =
        |name: &str| url.split(['?', '&']).find_map(|part| part.strip_prefix(name)).unwrap_or_default();
    Path::new(parameter("host=")).join(format!(".s.PGSQL.{}", parameter("port=")))
}

fn spend(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Shared {
    async fn thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        drop(frozen.wait_for(|frozen| !frozen).await);
    }

    async fn carry(&self, mut client: UnixStream) -> std::io::Result<()> {
        let mut cuts = self.cuts.subscribe();
        let mut abandoned = self.abandoned.subscribe();
        let way = self.server.lock().unwrap().clone();
        let mut server = UnixStream::connect(way).await?;
        let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let count = read?;
                    if count == 0 {
                        return Ok(());
                    }
                    self.thawed().await;
                    let commits = up[..count].ends_with(COMMIT);
                    if commits && spend(&self.unheard) {
                        return Ok(());
                    }
                    let listens = up[..count].windows(LISTEN.len()).any(|piece| piece == LISTEN);
                    if listens && spend(&self.deaf) {
                        return Ok(());
                    }
                    server.write_all(&up[..count]).await?;
                    if commits && spend(&self.unanswered) {
                        // It answered, so it is kept; nobody hears it.
                        return server.read(&mut down).await.map(drop);
                    }
                }
                read = server.read(&mut down) => {
                    let count = read?;
                    if count == 0 {
                        return Ok(());
                    }
                    self.thawed().await;
                    client.write_all(&down[..count]).await?;
                }
                _ = cuts.changed() => return Ok(()),
                _ = abandoned.changed() => {
                    drop(cuts.changed().await);
                    return Ok(());
                }
            }
        }
    }
}
