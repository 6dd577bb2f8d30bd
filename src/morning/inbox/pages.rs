//! The inbox on a page: every mail at its reader's own hour, and each of them to read.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use mail_parser::MessageParser;

use super::Maildir;

/// The inbox's pages, below `/inbox`.
pub fn routes(maildir: Maildir) -> Router {
    Router::new()
        .route("/inbox", get(list))
        .route("/inbox/{name}", get(show))
        .route("/inbox/{name}/html", get(html))
        .route("/inbox/{name}/source", get(source))
        .with_state(maildir)
}

struct Mail {
    name: String,
    to: String,
    subject: String,
    /// `06:30`, in the reader's own zone, and the zone's offset.
    hour: String,
    offset: String,
    day: String,
}

#[derive(Template)]
#[template(path = "inbox/list.html")]
struct List {
    mails: Vec<Mail>,
}

#[derive(Template)]
#[template(path = "inbox/mail.html")]
struct Show {
    mail: Mail,
    text: String,
    headers: String,
    unsubscribe: Option<String>,
}

fn summary(name: &str, bytes: &[u8]) -> Option<Mail> {
    let message = MessageParser::default().parse_headers(bytes)?;
    let to =
        message.to().and_then(|to| to.first()).and_then(|to| to.address()).unwrap_or_default().to_owned();
    let date = message.date()?;
    let sign = if date.tz_before_gmt { '-' } else { '+' };
    Some(Mail {
        name: name.to_owned(),
        to,
        subject: message.subject().unwrap_or_default().to_owned(),
        hour: format!("{:02}:{:02}", date.hour, date.minute),
        offset: format!("UTC{sign}{}:{:02}", date.tz_hour, date.tz_minute),
        day: format!("{}-{:02}-{:02}", date.year, date.month, date.day),
    })
}

fn answer<T: Template>(page: &T) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn list(State(maildir): State<Maildir>) -> Response {
    let Ok(names) = maildir.names() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mails = names.iter().filter_map(|name| summary(name, &maildir.read(name).ok()??)).collect();
    answer(&List { mails })
}

async fn show(State(maildir): State<Maildir>, Path(name): Path<String>) -> Response {
    let Ok(Some(bytes)) = maildir.read(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let (Some(mail), Some(message)) = (summary(&name, &bytes), MessageParser::default().parse(&bytes)) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let text = message.body_text(0).unwrap_or_default().into_owned();
    let headers = String::from_utf8_lossy(&bytes);
    let headers = headers.split("\r\n\r\n").next().unwrap_or_default().to_owned();
    let unsubscribe = message
        .header_raw("List-Unsubscribe")
        .and_then(|value| Some(value.split_once('<')?.1.split_once('>')?.0.to_owned()));
    answer(&Show { mail, text, headers, unsubscribe })
}

async fn html(State(maildir): State<Maildir>, Path(name): Path<String>) -> Response {
    let Ok(Some(bytes)) = maildir.read(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let Some(message) = MessageParser::default().parse(&bytes) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let page = message.body_html(0).unwrap_or_default().into_owned();
    // As mail programs show it: no scripts, links in a window of their own.
    let page = page.replacen("<head>", "<head><base target=\"_blank\">", 1);
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; img-src https: http: data:; frame-ancestors 'self'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

async fn source(State(maildir): State<Maildir>, Path(name): Path<String>) -> Response {
    match maildir.read(&name) {
        Ok(Some(bytes)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], bytes).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
