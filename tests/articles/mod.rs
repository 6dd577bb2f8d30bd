//! Tests of the room `articles`.

mod api;
mod feeds;
mod fetch;
mod import;
mod pictures;
mod push;
mod store;

use std::net::SocketAddr;

use axum::Router;

/// Serves these pages on loopback until the test ends.
async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn fetch_config() -> matinale::config::Fetch {
    matinale::config::Fetch {
        // Whoever tests it sets it: a machine with too much to do is no slow feed.
        timeout: std::time::Duration::from_secs(60),
        max_bytes: 200_000,
        redirects: 3,
        private_addresses: false,
        user_agent: "Matinale/test".to_owned(),
    }
}

/// The configuration of a house without anything in it.
fn config() -> matinale::config::Config {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret.key");
    std::fs::write(&key, "a-secret-of-some-length\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let environment = [("MATINALE__KEYS__SECRET_FILE".to_owned(), key.to_str().unwrap().to_owned())];
    matinale::config::Config::load(&[], &environment.into()).unwrap()
}
