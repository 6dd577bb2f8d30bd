//! The doors to the outside: readers' pages, the push interface, probes and figures.
//!
//! Nothing here decides anything: a page loads, asks a room, answers. The rule a newcomer would break: GET never
//! changes anything (W3), for scanners follow every link in every mail.

mod api;
mod archive;
mod edition;
mod feeds;
mod ops;
mod pictures;
mod public;
mod tongue;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::clock::{Clock, Random};
use crate::config::Config;
use crate::db::Db;
use crate::delivery::Engine;
use crate::lifecycle::Shutdown;
use crate::morning::tick::Troubles;
use crate::readers::links::Links;

/// Whoever has not read an answer so long after the daemon was told to end reads no more: a page is made within as long.
pub const LONGEST_END: Duration = Duration::from_secs(30);

/// What a request may need; cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub db: Db,
    /// The times.
    pub clock: Clock,
    /// Random numbers.
    pub random: Random,
    /// The links in mails.
    pub links: Links,
    /// Who sends in this process.
    pub sending: Option<Arc<Engine>>,
    /// What the clock of this process cannot do.
    pub looking: Option<Arc<Troubles>>,
}

impl State {
    /// Puts together what requests need.
    pub fn new(config: Arc<Config>, db: Db, clock: Clock, random: Random, links: Links) -> Self {
        Self { config, db, clock, random, links, sending: None, looking: None }
    }
}

/// Binds the address of the configuration.
///
/// # Errors
/// When it is in use, or not ours.
pub async fn bind(config: &Config) -> io::Result<TcpListener> {
    let listen = config.web.listen;
    TcpListener::bind(listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("web.listen {listen}: {error}")))
}

/// Every page and endpoint.
pub fn routes(state: State) -> Router {
    let set = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    Router::new()
        .merge(public::routes())
        .merge(archive::routes())
        .merge(feeds::routes())
        .merge(pictures::routes())
        .merge(ops::routes())
        .merge(api::routes())
        .with_state(state)
        .layer(RequestBodyLimitLayer::new(16 << 20))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(30)))
        .layer(CatchPanicLayer::new())
        .layer(set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(set(header::REFERRER_POLICY, "no-referrer"))
        .layer(set(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src https: http: data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ))
}

/// Serves until told to drain; requests that have begun are answered, where that takes no longer than this: a client that
/// stops reading keeps no daemon from its end.
pub async fn serve(listener: TcpListener, routes: Router, shutdown: &Shutdown, longest: Duration) {
    let drain = shutdown.clone();
    let served = axum::serve(listener, routes).with_graceful_shutdown(async move { drain.draining().await });
    let late = async {
        shutdown.draining().await;
        tokio::select! {
            () = tokio::time::sleep(longest) => {}
            () = shutdown.stopping() => {}
        }
    };
    tokio::select! {
        biased;
        served = served.into_future() => if let Err(error) = served {
            tracing::error!(%error, "the web server stopped");
        },
        () = late => tracing::warn!("the web server ends though not every client has read its answer"),
    }
}
