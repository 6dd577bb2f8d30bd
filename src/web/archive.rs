//! The public archive: the list of editions, and each of them as a page.
//!
//! What is shown is what was frozen and sent; an edition that nobody may read yet, or that was cancelled, is no page.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State as Extract};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use jiff::civil::Date;

use super::State;
use super::edition::{Edition, Invite, Page, look};
use super::public::{Away, lost};
use super::tongue::{Switch, Tongues, switches};
use crate::config::Newsletter;
use crate::config::theme::Theme;
use crate::editions::{self, EditionState};
use crate::mail::language::Phrases;
use crate::mail::{Content, Language};

/// Editions on one page of the archive, and in a feed.
pub(super) const A_PAGE: i64 = 30;
/// A correction is seen within five minutes.
pub(super) const CACHE: &str = "public, max-age=300";

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/", get(home))
        .route("/s/{newsletter}", get(newest))
        // What mails link to; the page says itself where it stands for good.
        .route("/e/{newsletter}/{date}", get(edition))
        .route("/archive/{newsletter}", get(list))
        .route("/archive/{newsletter}/{date}", get(edition))
}

#[derive(Template)]
#[template(path = "public/archive.html")]
struct Archive<'a> {
    language: Language,
    invite: Invite,
    words: &'static Phrases,
    name: &'a str,
    promise: Option<&'a str>,
    publisher: &'a str,
    look: String,
    address: String,
    editions: Vec<Line>,
    /// Where the ones before these are listed.
    older: Option<String>,
    older_words: &'static str,
    switches: Vec<Switch>,
    sisters: Vec<Sister<'a>>,
    nothing: &'static str,
}

/// One edition in the list.
struct Line {
    iso: String,
    date: String,
    address: String,
    headline: String,
    standfirst: String,
}

/// The newsletter in another language.
struct Sister<'a> {
    lang: &'a str,
    name: &'a str,
    address: String,
}

#[derive(Debug, serde::Deserialize)]
struct Before {
    before: Option<String>,
}

/// The newsletter's own language.
fn language_of(newsletter: Option<&Newsletter>) -> Language {
    Language::first_of(newsletter.map(|newsletter| newsletter.language.as_str()))
}

/// A page that everybody may keep for a while.
fn shown<T: Template>(template: &T) -> Response {
    match template.render() {
        Ok(html) => ([(header::CACHE_CONTROL, CACHE)], Html(tidy(&html))).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Without the empty lines of the template.
fn tidy(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    for line in html.lines().map(str::trim).filter(|line| !line.is_empty()) {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// What these editions say, each as it was frozen last, newest first.
pub(super) async fn contents(
    state: &State,
    newsletter: &str,
    before: Option<Date>,
) -> Result<Vec<Content>, Away> {
    let mut conn = state.db.read().await?;
    let editions = editions::store::list_sent(&mut conn, newsletter, before, A_PAGE + 1).await?;
    let mut out = Vec::new();
    for edition in editions {
        let text = editions::store::find_content(&mut conn, edition.id, edition.revision).await?;
        out.extend(text.and_then(|text| read(&text)));
    }
    Ok(out)
}

/// A frozen content, fit for pages and feeds: no mark in it breaks out of its place.
fn read(text: &str) -> Option<Content> {
    serde_json::from_str(text).ok().map(Content::clean)
}

async fn list(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
    Query(Before { before }): Query<Before>,
    tongues: Tongues,
) -> Result<Response, Away> {
    let Some(newsletter) = state.config.newsletters.get(&id) else {
        return Ok(lost(tongues.any(language_of(None))));
    };
    let language = tongues.or(language_of(Some(newsletter)));
    let before = match before.map(|text| text.parse::<Date>()) {
        Some(Err(_)) => return Ok(lost(language)),
        Some(Ok(date)) => Some(date),
        None => None,
    };
    let mut contents = contents(&state, &id, before).await?;
    let more = contents.len() > usize::try_from(A_PAGE).unwrap_or_default();
    if more {
        contents.pop();
    }
    let address = format!("{}/archive/{id}", state.config.web.base());
    // Whoever chose a language keeps it from page to page.
    let chosen = tongues.asked.map_or_else(String::new, |asked| format!("lang={}", asked.tag()));
    let older = contents.last().filter(|_| more).map(|last| {
        let and = if chosen.is_empty() { "" } else { "&" };
        format!("{address}?before={}{and}{chosen}", last.date)
    });
    let house = Theme::default();
    let theme = contents.first().map_or(&house, |content| &content.newsletter.theme);
    let look = look(theme, language);
    let editions = contents
        .iter()
        .map(|content| Edition::in_language(content, language))
        .map(|edition| Line {
            iso: edition.content.date.to_string(),
            date: edition.date,
            address: if chosen.is_empty() {
                edition.address
            } else {
                format!("{}?{chosen}", edition.address)
            },
            headline: edition.headline,
            standfirst: edition.standfirst,
        })
        .collect();
    let (older_words, nothing) = match language.tag() {
        "en" => ("Older editions", "The first edition is being prepared."),
        "pt" => ("Edições anteriores", "A primeira edição está a ser preparada."),
        "ar" => ("أعداد أقدم", "العدد الأول قيد الإعداد."),
        _ => ("Éditions plus anciennes", "La première édition se prépare."),
    };
    Ok(shown(&Archive {
        language,
        invite: Invite::new(newsletter, language),
        words: language.phrases(),
        name: &newsletter.name,
        promise: newsletter.promise.as_deref(),
        publisher: &newsletter.publisher,
        look,
        switches: switches(&address, language),
        sisters: newsletter
            .translations
            .iter()
            .filter_map(|id| state.config.newsletters.get(id))
            .map(|sister| Sister {
                lang: &sister.language,
                name: &sister.name,
                address: format!("{}/archive/{}", state.config.web.base(), sister.id),
            })
            .collect(),
        address,
        editions,
        older,
        older_words,
        nothing,
    }))
}

async fn edition(
    Extract(state): Extract<State>,
    Path((id, date)): Path<(String, String)>,
    tongues: Tongues,
) -> Result<Response, Away> {
    let language = tongues.any(language_of(state.config.newsletters.get(&id)));
    let Ok(date) = date.parse() else { return Ok(lost(language)) };
    let mut conn = state.db.read().await?;
    let found = editions::store::find(&mut conn, &id, date).await?;
    let Some(edition) = found.filter(|edition| edition.state != EditionState::Cancelled) else {
        return Ok(lost(language));
    };
    let content = editions::store::find_content(&mut conn, edition.id, edition.revision).await?;
    Ok(page(content, &tongues, None).unwrap_or_else(|| lost(language)))
}

/// An edition's page; `asked`: the newsletter that its visitor may want to receive.
fn page(content: Option<String>, tongues: &Tongues, asked: Option<&Newsletter>) -> Option<Response> {
    let content = read(&content?)?;
    let own = Language::first_of([content.newsletter.language.as_str()]);
    let edition = Edition::in_language(&content, tongues.or(own));
    let invite = asked.map(|newsletter| Invite::new(newsletter, edition.language));
    Some(shown(&Page { edition: &edition, invite }))
}

/// The newest edition is the pitch: of the newsletter in the visitor's language where there is one.
async fn home(extract: Extract<State>, tongues: Tongues) -> Result<Response, Away> {
    let newsletters = &extract.0.config.newsletters;
    let theirs = tongues.asked.iter().chain(&tongues.accepted).find_map(|language| {
        newsletters.values().find(|newsletter| language_of(Some(newsletter)) == *language)
    });
    match theirs.or(newsletters.values().next()).map(|newsletter| newsletter.id.clone()) {
        Some(id) => {
            let mut answer = newest(extract, Path(id), tongues).await?;
            answer.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-language"));
            Ok(answer)
        }
        None => Ok(lost(tongues.any(language_of(None)))),
    }
}

async fn newest(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
    tongues: Tongues,
) -> Result<Response, Away> {
    let newsletter = state.config.newsletters.get(&id);
    let language = tongues.any(language_of(newsletter));
    let mut conn = state.db.read().await?;
    let newest = editions::store::list_sent(&mut conn, &id, None, 1).await?.pop();
    let Some(edition) = newest else {
        drop(conn);
        // Before the first one the archive says that it is being prepared.
        return list(Extract(state), Path(id), Query(Before { before: None }), tongues).await;
    };
    let content = editions::store::find_content(&mut conn, edition.id, edition.revision).await?;
    Ok(page(content, &tongues, newsletter).unwrap_or_else(|| lost(language)))
}
