//! Tests of the room `web`.

mod archive;
mod ends;
mod ops;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use matinale::config::Config;
use tower::ServiceExt as _;

/// A house with one newsletter and one relay.
pub(crate) fn config() -> Config {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[keys]\nsecret_file = \"secret.key\"\n[relay.main]\nurl = \"smtp://127.0.0.1:1\"\n\
         [web]\npublic_url = \"https://news.example\"\n\
         [newsletter.m]\nname = \"Le <Matin>\"\nfrom = \"m@news.example\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\n\
         timezone = \"Africa/Abidjan\"\nrelays = [\"main\"]\npromise = \"Dix & pas onze\"\n";
    std::fs::write(&file, text).unwrap();
    Config::load(&[file], &BTreeMap::new()).unwrap()
}

/// What a page answers: status, headers, text.
pub(crate) async fn get(routes: &Router, path: &str, seen: Option<&str>) -> (u16, HeaderMap, String) {
    let mut request = Request::get(path);
    if let Some(seen) = seen {
        request = request.header(header::IF_NONE_MATCH, seen);
    }
    let answer = routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}
