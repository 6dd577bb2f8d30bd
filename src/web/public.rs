//! Readers' pages: goodbye in one click, preferences.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::State;
use super::tongue::Tongues;
use crate::clock::time_zone;
use crate::config::values;
use crate::db;
use crate::mail::{self, Language};
use crate::morning::prefer::prefer;
use crate::readers::store::{self, Subscriber, Subscription};
use crate::readers::{SubscriberId, SubscriptionId};

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/u/{token}", get(goodbye_page).post(goodbye))
        .route("/p/{token}", get(preferences_page).post(preferences))
}

#[derive(Template)]
#[template(path = "public/goodbye.html")]
struct Goodbye<'a> {
    language: Language,
    newsletter: &'a str,
    /// Said already: this is the answer.
    done: bool,
    /// Where a change of mind goes; `None` for readers who are gone.
    back: Option<String>,
    words: Words,
}

#[derive(Template)]
#[template(path = "public/preferences.html")]
struct Preferences<'a> {
    language: Language,
    newsletter: &'a str,
    words: Words,
    zone: &'a str,
    hour: &'a str,
    chosen: &'a str,
    languages: Vec<(&'static str, &'static str)>,
    saved: bool,
    fault: Option<&'static str>,
    active: bool,
    goodbye: String,
}

#[derive(Template)]
#[template(path = "public/lost.html")]
struct Lost {
    language: Language,
    words: Words,
}

/// The few fixed words of these pages.
#[derive(Clone, Copy)]
struct Words {
    question: &'static str,
    button: &'static str,
    done: &'static str,
    back: &'static str,
    preferences: &'static str,
    language: &'static str,
    zone: &'static str,
    hour: &'static str,
    save: &'static str,
    again: &'static str,
    saved: &'static str,
    zone_fault: &'static str,
    hour_fault: &'static str,
    language_fault: &'static str,
    lost: &'static str,
}

const FRENCH: Words = Words {
    question: "Ne plus recevoir cette lettre\u{202F}?",
    button: "Me désabonner",
    done: "C’est fait\u{A0}: vous ne recevrez plus cette lettre.",
    back: "Un changement d’avis\u{202F}? Vos préférences",
    preferences: "Vos préférences",
    language: "Langue",
    zone: "Fuseau horaire",
    hour: "Heure du matin",
    save: "Enregistrer",
    again: "Recevoir de nouveau cette lettre",
    saved: "Vos préférences sont enregistrées.",
    zone_fault: "Ce fuseau horaire n’est pas connu\u{A0}: écrivez par exemple Africa/Abidjan ou Europe/Paris.",
    hour_fault: "Cette heure ne se lit pas\u{A0}: écrivez par exemple 06:30.",
    language_fault: "Cette langue n’est pas proposée\u{A0}: choisissez-en une de la liste.",
    lost: "Cette page n’existe pas.",
};

const ENGLISH: Words = Words {
    question: "Stop receiving this newsletter?",
    button: "Unsubscribe me",
    done: "Done: you will not receive this newsletter any more.",
    back: "Changed your mind? Your preferences",
    preferences: "Your preferences",
    language: "Language",
    zone: "Time zone",
    hour: "Morning hour",
    save: "Save",
    again: "Receive this newsletter again",
    saved: "Your preferences are saved.",
    zone_fault: "This time zone is not known: write Africa/Lagos, for example, or Europe/London.",
    hour_fault: "This hour cannot be read: write 06:30, for example.",
    language_fault: "This language is not offered: choose one of the list.",
    lost: "There is no such page.",
};

const PORTUGUESE: Words = Words {
    question: "Deixar de receber esta carta?",
    button: "Cancelar a minha subscrição",
    done: "Feito: não voltará a receber esta carta.",
    back: "Mudou de ideias? As suas preferências",
    preferences: "As suas preferências",
    language: "Língua",
    zone: "Fuso horário",
    hour: "Hora da manhã",
    save: "Guardar",
    again: "Voltar a receber esta carta",
    saved: "As suas preferências foram guardadas.",
    zone_fault: "Este fuso horário não é conhecido: escreva, por exemplo, Africa/Luanda ou Europe/Lisbon.",
    hour_fault: "Esta hora não se lê: escreva, por exemplo, 06:30.",
    language_fault: "Esta língua não é oferecida: escolha uma da lista.",
    lost: "Esta página não existe.",
};

const ARABIC: Words = Words {
    question: "هل تريد التوقف عن تلقي هذه النشرة؟",
    button: "إلغاء اشتراكي",
    done: "تم: لن تصلك هذه النشرة بعد الآن.",
    back: "غيّرت رأيك؟ تفضيلاتك",
    preferences: "تفضيلاتك",
    language: "اللغة",
    zone: "المنطقة الزمنية",
    hour: "ساعة الصباح",
    save: "حفظ",
    again: "تلقي هذه النشرة من جديد",
    saved: "حُفظت تفضيلاتك.",
    zone_fault: "هذه المنطقة الزمنية غير معروفة: اكتب مثلًا Africa/Cairo أو Africa/Casablanca.",
    hour_fault: "تعذّرت قراءة هذه الساعة: اكتب مثلًا 06:30.",
    language_fault: "هذه اللغة غير متاحة: اختر واحدة من القائمة.",
    lost: "هذه الصفحة غير موجودة.",
};

fn words(language: Language) -> Words {
    match language.tag() {
        "en" => ENGLISH,
        "pt" => PORTUGUESE,
        "ar" => ARABIC,
        _ => FRENCH,
    }
}

/// What a page cannot do; told in the log, and to the reader as a moment of silence.
pub(super) struct Away(db::Error);

impl From<db::Error> for Away {
    fn from(error: db::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Away {
    fn into_response(self) -> Response {
        tracing::error!(error = %self.0, "a page could not be made");
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    }
}

fn page<T: Template>(status: StatusCode, template: &T) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(super) fn lost(language: Language) -> Response {
    page(StatusCode::NOT_FOUND, &Lost { language, words: words(language) })
}

/// The wish that a token belongs to, and its reader; `Err` for a token that we did not make.
async fn reader(state: &State, id: SubscriptionId) -> Result<Option<(Subscription, Subscriber)>, Away> {
    let mut conn = state.db.read().await?;
    let Some(wish) = store::find_subscription(&mut conn, id).await? else { return Ok(None) };
    let reader = store::find_by_id(&mut conn, SubscriberId(wish.subscriber)).await?;
    Ok(reader.map(|reader| (wish, reader)))
}

fn language_of(state: &State, known: Option<&(Subscription, Subscriber)>) -> Language {
    let own = known.and_then(|(_, reader)| reader.language.as_deref());
    let newsletter = known
        .and_then(|(wish, _)| state.config.newsletters.get(&wish.newsletter))
        .or_else(|| state.config.newsletters.values().next())
        .map(|newsletter| newsletter.language.as_str());
    Language::first_of(own.into_iter().chain(newsletter))
}

fn title<'a>(state: &'a State, known: Option<&'a (Subscription, Subscriber)>) -> &'a str {
    known
        .and_then(|(wish, _)| state.config.newsletters.get(&wish.newsletter))
        .or_else(|| state.config.newsletters.values().next())
        .map_or("Matinale", |newsletter| newsletter.name.as_str())
}

fn back(token: &str, known: Option<&(Subscription, Subscriber)>) -> Option<String> {
    known.map(|_| format!("/p/{token}"))
}

async fn goodbye_page(
    Extract(state): Extract<State>,
    Path(token): Path<String>,
    tongues: Tongues,
) -> Result<Response, Away> {
    let Some(id) = state.links.subscription_of(&token) else {
        return Ok(lost(tongues.any(language_of(&state, None))));
    };
    let known = reader(&state, id).await?;
    let language = language_of(&state, known.as_ref());
    let done = known.as_ref().is_none_or(|(wish, _)| wish.status == "ended");
    let newsletter = title(&state, known.as_ref());
    Ok(page(
        StatusCode::OK,
        &Goodbye { language, newsletter, done, back: back(&token, known.as_ref()), words: words(language) },
    ))
}

/// W1: any body, no cookie, no redirect; the same answer whether it was said before, or its reader is gone.
async fn goodbye(
    Extract(state): Extract<State>,
    Path(token): Path<String>,
    tongues: Tongues,
) -> Result<Response, Away> {
    let Some(id) = state.links.subscription_of(&token) else {
        return Ok(lost(tongues.any(language_of(&state, None))));
    };
    let known = reader(&state, id).await?;
    let mut tx = state.db.write().await?;
    let ended = store::end(&mut tx, id, "one-click", state.clock.now()).await?;
    tx.commit().await?;
    if ended {
        tracing::info!(subscription.id = id.0, "a reader said goodbye");
    }
    let language = language_of(&state, known.as_ref());
    let newsletter = title(&state, known.as_ref());
    Ok(page(
        StatusCode::OK,
        &Goodbye {
            language,
            newsletter,
            done: true,
            back: back(&token, known.as_ref()),
            words: words(language),
        },
    ))
}

fn preferences_of(
    state: &State,
    token: &str,
    known: &(Subscription, Subscriber),
    saved: bool,
    refused: Option<(&'static str, &Chosen)>,
) -> Response {
    let (fault, typed) = refused.unzip();
    let (wish, reader) = known;
    let language = language_of(state, Some(known));
    let newsletter = state.config.newsletters.get(&wish.newsletter);
    let zone = newsletter.and_then(|newsletter| newsletter.timezone.iana_name()).unwrap_or("UTC");
    let hour =
        newsletter.map_or_else(String::new, |newsletter| newsletter.send_at.strftime("%H:%M").to_string());
    page(
        if fault.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK },
        &Preferences {
            language,
            newsletter: title(state, Some(known)),
            words: words(language),
            // What was typed stays, right or wrong.
            zone: typed.map_or(reader.timezone.as_deref().unwrap_or(zone), |typed| &typed.timezone),
            hour: typed.map_or(reader.send_at.as_deref().unwrap_or(&hour), |typed| &typed.send_at),
            chosen: typed.map_or(language.tag(), |typed| &typed.language),
            languages: mail::language::ALL
                .iter()
                .map(|language| (language.tag(), language.phrases().name))
                .collect(),
            saved,
            fault,
            active: wish.status == "active",
            goodbye: format!("/u/{token}"),
        },
    )
}

async fn preferences_page(
    Extract(state): Extract<State>,
    Path(token): Path<String>,
    tongues: Tongues,
) -> Result<Response, Away> {
    let Some(id) = state.links.subscription_of(&token) else {
        return Ok(lost(tongues.any(language_of(&state, None))));
    };
    match reader(&state, id).await? {
        Some(known) => Ok(preferences_of(&state, &token, &known, false, None)),
        None => Ok(lost(language_of(&state, None))),
    }
}

#[derive(Debug, serde::Deserialize)]
struct Chosen {
    language: String,
    timezone: String,
    send_at: String,
    #[serde(default)]
    back: Option<String>,
}

async fn preferences(
    Extract(state): Extract<State>,
    Path(token): Path<String>,
    axum::Form(chosen): axum::Form<Chosen>,
) -> Result<Response, Away> {
    let Some(id) = state.links.subscription_of(&token) else { return Ok(lost(language_of(&state, None))) };
    let Some(known) = reader(&state, id).await? else { return Ok(lost(language_of(&state, None))) };
    let zone = time_zone(chosen.timezone.trim());
    let hour = values::time_of_day(chosen.send_at.trim());
    let words = words(language_of(&state, Some(&known)));
    let fault = match (&zone, &hour) {
        (None, _) => Some(words.zone_fault),
        (_, Err(_)) => Some(words.hour_fault),
        _ if Language::of(&chosen.language).is_none() => Some(words.language_fault),
        _ => None,
    };
    if let Some(fault) = fault {
        return Ok(preferences_of(&state, &token, &known, false, Some((fault, &chosen))));
    }
    let mut tx = state.db.write().await?;
    let zone_name = zone.as_ref().and_then(|zone| zone.iana_name());
    let hour = hour.ok().map(|hour| hour.strftime("%H:%M").to_string());
    let now = state.clock.now();
    let id_of_reader = SubscriberId(known.1.id);
    prefer(&mut tx, id_of_reader, Some(&chosen.language), zone_name, hour.as_deref(), now).await?;
    if chosen.back.is_some() {
        store::activate(&mut tx, id, now).await?;
    }
    tx.commit().await?;
    match reader(&state, id).await? {
        Some(known) => Ok(preferences_of(&state, &token, &known, true, None)),
        None => Ok(lost(language_of(&state, None))),
    }
}
