//! Asking other people's servers, and not being used by them.
//!
//! Owns the only HTTP client of the house: feeds, pictures, link checks and webhooks go through [`Fetcher`]. One
//! deadline stands over the whole answer, redirects and all; its size is counted decoded, as it comes; redirects are
//! followed by hand and each hop is checked again; a name is resolved once and the connection goes to what was
//! checked, so that a name that changes its mind gains nothing. The rule a newcomer would break: never make a client
//! elsewhere.

pub mod address;

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, redirect};
use url::Url;

use crate::config::{self, masked};

/// Longer headers of a server are not kept.
const MAX_HEADER_BYTES: usize = 1_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no answer. Nothing was changed; the caller may ask again later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL, or one that it redirects to, may not be asked.
    #[error("{url}: {why}")]
    Refused {
        /// The URL.
        url: String,
        /// Why not.
        why: String,
    },
    /// The answer is larger than allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// The answer took longer than allowed.
    #[error("no whole answer within {} seconds", .0.as_secs_f32())]
    TooSlow(Duration),
    /// It redirects on and on.
    #[error("more than {0} redirects")]
    Redirects(u32),
    /// No connection, or what came was no HTTP.
    #[error("{0}")]
    Connection(String),
}

/// What to ask.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `If-None-Match`.
    pub etag: Option<String>,
    /// `If-Modified-Since`.
    pub last_modified: Option<String>,
    /// `Accept`.
    pub accept: Option<&'static str>,
    /// A smaller limit than the configured one.
    pub max_bytes: Option<u64>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The URL that answered, after redirects.
    pub url: Url,
    /// Where the URL asked for has moved for good, when it said so.
    pub moved: Option<Url>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
    /// `Retry-After`, as it was written.
    pub retry_after: Option<String>,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// The connection ended before the body did.
    pub cut: bool,
}

/// The house's HTTP client; cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    config: config::Fetch,
    /// Our own servers, which may be asked though they are private.
    ours: Vec<SocketAddr>,
}

impl Fetcher {
    /// A client with these limits.
    ///
    /// # Errors
    /// [`Error::Connection`] where TLS cannot be set up on this machine.
    pub fn new(config: &config::Fetch) -> Result<Self, Error> {
        // Whoever comes second finds it installed.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = Client::builder()
            .user_agent(&config.user_agent)
            .redirect(redirect::Policy::none())
            .referer(false)
            // A proxy would resolve names for us, unchecked.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
            .pool_max_idle_per_host(1)
            .dns_resolver(PublicNames { private: config.private_addresses })
            .build()
            .map_err(|error| Error::Connection(chain(&error)))?;
        Ok(Self { client, config: config.clone(), ours: Vec::new() })
    }

    /// The same, and it may ask these addresses, given in the URL as they stand here: servers of this process.
    #[must_use]
    pub fn and_ours(mut self, ours: &[SocketAddr]) -> Self {
        self.ours.extend_from_slice(ours);
        self
    }

    /// Gets a URL, following redirects.
    ///
    /// # Errors
    /// [`Error`]; any status of HTTP is an answer.
    pub async fn get(&self, url: &Url, request: &Request) -> Result<Answer, Error> {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: Option<&str>| {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        };
        set(header::IF_NONE_MATCH, request.etag.as_deref());
        set(header::IF_MODIFIED_SINCE, request.last_modified.as_deref());
        set(header::ACCEPT, request.accept);
        let most = request.max_bytes.unwrap_or(self.config.max_bytes).min(self.config.max_bytes);
        self.within(self.follow(Method::GET, url, headers, most)).await
    }

    /// Asks whether a URL still leads somewhere: HEAD, and where that is not liked, GET without its body.
    ///
    /// # Errors
    /// [`Error`]; any status of HTTP is an answer.
    pub async fn probe(&self, url: &Url) -> Result<u16, Error> {
        let probe = async {
            match self.follow(Method::HEAD, url, HeaderMap::new(), 0).await {
                Ok(answer) if answer.status < 400 => Ok(answer),
                // Many a server answers HEAD with 403, 405 or nothing, and GET well.
                Ok(_) | Err(_) => self.follow(Method::GET, url, HeaderMap::new(), 0).await,
            }
        };
        Ok(self.within(probe).await?.status)
    }

    /// Posts a body to a URL, as webhooks do; redirects are not followed, the answer is an answer.
    ///
    /// # Errors
    /// [`Error`]; any status of HTTP is an answer.
    pub async fn post(&self, url: &Url, content_type: &'static str, body: Vec<u8>) -> Result<Answer, Error> {
        const MOST_BYTES: u64 = 64 << 10;
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        self.within(self.hop(Method::POST, url, headers, body, MOST_BYTES)).await
    }

    async fn within(&self, work: impl Future<Output = Result<Answer, Error>>) -> Result<Answer, Error> {
        let limit = self.config.timeout;
        tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::TooSlow(limit)))
    }

    async fn follow(
        &self,
        method: Method,
        start: &Url,
        headers: HeaderMap,
        most: u64,
    ) -> Result<Answer, Error> {
        let mut url = start.clone();
        let mut moved = None;
        let mut for_good = true;
        for _ in 0..=self.config.redirects {
            let mut answer = self.hop(method.clone(), &url, headers.clone(), Vec::new(), most).await?;
            let Some(next) = answer.moved.take() else {
                answer.moved = moved;
                return Ok(answer);
            };
            for_good &= matches!(answer.status, 301 | 308);
            if for_good {
                moved = Some(next.clone());
            }
            url = next;
        }
        Err(Error::Redirects(self.config.redirects))
    }

    /// One request; where it is a redirect, `moved` says where to. With room for nothing the body is not read.
    async fn hop(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Vec<u8>,
        most: u64,
    ) -> Result<Answer, Error> {
        let refused = |why| Error::Refused { url: masked::url(url.as_str()), why };
        if !self.ours.iter().any(|ours| address::is(url, *ours)) {
            address::check(url, self.config.private_addresses).map_err(refused)?;
        }
        let sent = self.client.request(method, url.clone()).headers(headers).body(body).send().await;
        let mut response = sent.map_err(|error| match private(&error) {
            Some(why) => Error::Refused { url: masked::url(url.as_str()), why },
            None => Error::Connection(chain(&error)),
        })?;
        let text = |name: HeaderName| {
            let value = response.headers().get(name)?;
            // Only what can be sent back as it came.
            value.to_str().ok().filter(|text| text.len() <= MAX_HEADER_BYTES).map(ToOwned::to_owned)
        };
        let redirects = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let mut answer = Answer {
            status: response.status().as_u16(),
            url: url.clone(),
            moved: text(header::LOCATION).filter(|_| redirects).and_then(|to| url.join(&to).ok()),
            content_type: text(header::CONTENT_TYPE),
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
            retry_after: text(header::RETRY_AFTER),
            body: Vec::new(),
            cut: false,
        };
        if answer.moved.is_some() || most == 0 {
            return Ok(answer);
        }
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if answer.body.len() as u64 + chunk.len() as u64 > most => {
                    return Err(Error::TooLarge(most));
                }
                Ok(Some(chunk)) => answer.body.extend_from_slice(&chunk),
                Ok(None) => return Ok(answer),
                Err(error) if answer.body.is_empty() => return Err(Error::Connection(chain(&error))),
                Err(_) => {
                    answer.cut = true;
                    return Ok(answer);
                }
            }
        }
    }
}

/// Resolves names and gives only public addresses; the connection goes to what was given.
#[derive(Debug)]
struct PublicNames {
    private: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0} leads to a private address (fetch.private_addresses)")]
struct Private(String);

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let all: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let found = !all.is_empty();
            let public: Vec<SocketAddr> =
                all.into_iter().filter(|address| private || address::is_public(address.ip())).collect();
            if public.is_empty() && found {
                return Err(Private(host).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// What our resolver said, if it was our resolver that refused.
fn private(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(private) = error.downcast_ref::<Private>() {
            return Some(private.to_string());
        }
        cause = error.source();
    }
    None
}

/// An error with its causes, without the URL that reqwest puts in front: it may hold a password.
fn chain(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !causes.iter().any(|known| known.contains(&text)) {
            causes.push(text);
        }
        cause = error.source();
    }
    if causes.is_empty() { "the request failed".to_owned() } else { causes.join(": ") }
}
