//! The client that must not be used by others.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Redirect;
use axum::routing::get;
use matinale::articles::fetch::{Error, Fetcher, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower_http::compression::CompressionLayer;
use url::Url;

use super::{fetch_config, serve};

#[expect(clippy::needless_pass_by_value, reason = "every caller has just made it")]
fn url(text: String) -> Url {
    Url::parse(&text).unwrap()
}

#[tokio::test]
async fn p10_a_redirect_to_a_private_address_is_not_followed() {
    let secret = serve(Router::new().route("/", get(|| async { "secret" }))).await;
    let door = serve(
        Router::new()
            .route("/port", get(move || async move { Redirect::temporary(&format!("http://{secret}/")) }))
            .route("/literal", get(|| async { Redirect::permanent("http://127.0.0.1/") }))
            .route("/mapped", get(|| async { Redirect::to("http://[::ffff:127.0.0.1]/") }))
            .route("/name", get(|| async { Redirect::to("http://localhost/") }))
            .route("/file", get(|| async { Redirect::to("file:///etc/passwd") }))
            .route("/round", get(|| async { Redirect::to("/round") })),
    )
    .await;
    let fetcher = Fetcher::new(&fetch_config()).unwrap().and_ours(&[door]);
    for (path, expected) in [
        ("port", "is refused (fetch.private_addresses)"),
        ("literal", "127.0.0.1 is a private address"),
        ("mapped", "is a private address"),
        ("name", "localhost leads to a private address"),
        ("file", "file is neither http nor https"),
    ] {
        let error =
            fetcher.get(&url(format!("http://{door}/{path}")), &Request::default()).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{path}: {error}");
        assert!(error.to_string().contains(expected), "{path}: {error}");
    }
    let error = fetcher.get(&url(format!("http://{door}/round")), &Request::default()).await.unwrap_err();
    assert!(matches!(error, Error::Redirects(3)), "{error}");
}

#[tokio::test]
async fn p10_a_feed_that_never_ends_and_a_bomb_are_cut_at_the_limit() {
    let endless = || async {
        let piece = Bytes::from_static(b"<item><title>again</title></item>\n");
        Body::from_stream(futures_util::stream::repeat_with(move || Ok::<_, Infallible>(piece.clone())))
    };
    let silent = || async { Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>()) };
    let bomb = Router::new()
        .route("/bomb", get(|| async { ([("content-type", "text/xml")], vec![b' '; 5_000_000]) }))
        .layer(CompressionLayer::new());
    let server =
        serve(Router::new().route("/endless", get(endless)).route("/silent", get(silent)).merge(bomb)).await;
    let mut config = fetch_config();
    let fetcher = Fetcher::new(&config).unwrap().and_ours(&[server]);
    for path in ["endless", "bomb"] {
        let error =
            fetcher.get(&url(format!("http://{server}/{path}")), &Request::default()).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge(200_000)), "{path}: {error}");
    }
    config.timeout = Duration::from_millis(100);
    let fetcher = Fetcher::new(&config).unwrap().and_ours(&[server]);
    let error = fetcher.get(&url(format!("http://{server}/silent")), &Request::default()).await.unwrap_err();
    assert!(matches!(error, Error::TooSlow(_)), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_cut_off_gives_what_came() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut asked = [0; 1024];
        assert!(socket.read(&mut asked).await.unwrap() > 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<rss><channel>").await.unwrap();
    });
    let fetcher = Fetcher::new(&fetch_config()).unwrap().and_ours(&[server]);
    let answer = fetcher.get(&url(format!("http://{server}/")), &Request::default()).await.unwrap();
    assert!(answer.cut);
    assert_eq!(answer.body, b"<rss><channel>");
}
