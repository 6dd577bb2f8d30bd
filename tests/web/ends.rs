//! How the web server ends: its clients have their answers, and none of them keeps it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use matinale::lifecycle::Shutdown;
use matinale::web;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// These pages, served; and a client that has asked for `/`.
async fn asked(routes: Router, shutdown: &Shutdown, longest: Duration) -> (JoinHandle<()>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = shutdown.clone();
    let serving = tokio::spawn(async move { web::serve(listener, routes, &shutdown, longest).await });
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: news.example\r\n\r\n").await.unwrap();
    (serving, client)
}

/// A page that no buffer between two sockets holds.
fn large() -> Router {
    Router::new().route("/", get(|| async { vec![b'.'; 64 << 20] }))
}

#[tokio::test]
async fn p2_a_client_that_stops_reading_keeps_no_daemon_from_its_end() {
    let shutdown = Shutdown::new();
    let (serving, mut client) = asked(large(), &shutdown, Duration::from_millis(10)).await;
    client.read_exact(&mut [0; 1]).await.unwrap();
    shutdown.drain();
    timeout(PATIENCE, serving).await.expect("it ends").unwrap();
    drop(client);
}

#[tokio::test]
async fn p2_a_second_signal_ends_the_web_server_at_once() {
    let shutdown = Shutdown::new();
    let (serving, mut client) = asked(large(), &shutdown, FOR_EVER).await;
    client.read_exact(&mut [0; 1]).await.unwrap();
    shutdown.stop();
    timeout(PATIENCE, serving).await.expect("it ends").unwrap();
    drop(client);
}

#[tokio::test]
async fn p2_a_request_that_has_begun_is_answered_before_the_end() {
    let (begun, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (begins, goes) = (begun.clone(), go.clone());
    let page = get(move || async move {
        begins.add_permits(1);
        goes.acquire().await.unwrap().forget();
        "the whole of it"
    });
    let shutdown = Shutdown::new();
    let (serving, mut client) = asked(Router::new().route("/", page), &shutdown, FOR_EVER).await;
    begun.acquire().await.unwrap().forget();
    shutdown.drain();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!serving.is_finished(), "somebody is still to be answered");
    go.add_permits(1);
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await.expect("it ends").unwrap();
    assert!(answer.ends_with("the whole of it"), "{answer}");
    timeout(PATIENCE, serving).await.expect("it ends").unwrap();
}
