//! `[newsletter.NAME]`: a title that goes out on a schedule.

use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use lettre::message::Mailbox;
use url::Url;

use super::reader::Section;
use super::selection::Selection;
use super::theme::Theme;
use super::values;

/// Which date an edition bears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForDay {
    /// The civil date of its lock.
    #[default]
    Same,
    /// The day after.
    Next,
}

/// What a lock needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// Nothing: it locks as it stands.
    #[default]
    Auto,
    /// An editor's word.
    Approve,
    /// Nothing, unless an editor has held it.
    AutoUnlessHeld,
}

/// What becomes of pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// Fetched once, made fit for mail, served by us.
    #[default]
    Serve,
    /// Left where their source has them.
    Leave,
}

/// Where an alarm goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A mail to this address.
    Mail(String),
    /// A POST to this URL.
    Webhook(Url),
}

/// One newsletter.
#[derive(Clone, Debug)]
pub struct Newsletter {
    /// Its name in the configuration.
    pub id: String,
    /// Its title.
    pub name: String,
    /// The language of its desk and of readers who gave none (BCP 47).
    pub language: String,
    /// Its promise in one sentence.
    pub promise: Option<String>,
    /// Who it is from: display name and address.
    pub from: Mailbox,
    /// Where answers go; the From where `None`.
    pub reply_to: Option<Mailbox>,
    /// How many items an edition has.
    pub items: u32,
    /// How many reserves stand behind them.
    pub reserves: u32,
    /// With fewer candidates the edition is skipped.
    pub minimum_items: u32,
    /// When editions lock: six-field cron, in `timezone`.
    pub lock: String,
    /// The zone of the lock.
    pub timezone: TimeZone,
    /// The morning hour, in the subscriber's zone.
    pub send_at: Time,
    /// When it is yesterday's news, in the subscriber's zone.
    pub deadline: Time,
    /// But at least so long after it was due.
    pub window: Duration,
    /// Which date an edition bears.
    pub for_day: ForDay,
    /// A lock missed by more than this makes the edition `missed`.
    pub catch_up: Duration,
    /// The relays it goes through, in this order.
    pub relays: Vec<String>,
    /// Its List-Id (RFC 2919).
    pub list_id: String,
    /// How many pictures a mail has at most; the lead's is the first.
    pub pictures: u32,
    /// What becomes of pictures.
    pub images: Images,
    /// Whether links are asked at the lock.
    pub check_links: bool,
    /// Who publishes it, and where they are to be found.
    pub publisher: String,
    /// Who is told when something is wrong.
    pub alerts: Vec<Alert>,
    /// What a lock needs.
    pub approval: Approval,
    /// How long before the lock the desk is reminded.
    pub remind: Duration,
    /// Sources whose articles may enter; all when empty.
    pub sources: Vec<String>,
    /// Sections whose articles may enter; all when empty.
    pub sections: Vec<String>,
    /// Languages whose articles may enter; all when empty.
    pub languages: Vec<String>,
    /// The same newsletter in other languages, by their ids.
    pub translations: Vec<String>,
    /// Dates without an edition.
    pub days_off: Vec<Date>,
    /// Words that the newsroom does not want to see; preflight finds them.
    pub avoid: Vec<String>,
    /// How it chooses.
    pub selection: Selection,
    /// How its mail looks.
    pub theme: Theme,
}

impl Newsletter {
    pub(super) fn read(id: &str, section: &Section) -> Option<Self> {
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            section.fault(
                "name",
                format!("the newsletter's id {id:?} stands in addresses and links: a-z, 0-9 and - only"),
            );
        }
        let name = section.required("name");
        section.required("from");
        let from = section.parse("from", mailbox);
        let lock = section.required("lock");
        if !lock.is_empty()
            && let Err(message) = crate::config::check_cron(&lock)
        {
            section.fault("lock", message);
        }
        section.required("send_at");
        let send_at = section.parse("send_at", values::time_of_day);
        let relays = section.list("relays");
        if relays.is_empty() {
            section
                .fault("relays", "is required: the names of the relays it goes through, such as [\"main\"]");
        }
        let timezone = section.parse("timezone", values::timezone).unwrap_or(TimeZone::UTC);
        let for_day = section.parse("for_day", |text| match text {
            "same" => Ok(ForDay::Same),
            "next" => Ok(ForDay::Next),
            other => Err(format!("expected \"same\" or \"next\", found {other:?}")),
        });
        let approval = section.parse("approval", |text| match text {
            "auto" => Ok(Approval::Auto),
            "approve" => Ok(Approval::Approve),
            "auto-unless-held" => Ok(Approval::AutoUnlessHeld),
            other => Err(format!("expected \"auto\", \"approve\" or \"auto-unless-held\", found {other:?}")),
        });
        let images = section.parse("images", |text| match text {
            "serve" => Ok(Images::Serve),
            "leave" => Ok(Images::Leave),
            other => Err(format!("expected \"serve\" or \"leave\", found {other:?}")),
        });
        let reply_to = section.parse("reply_to", mailbox);
        let language = section.parse("language", language).unwrap_or_else(|| "fr".to_owned());
        let items = section.count("items", 1..=50).unwrap_or(10);
        let minimum_items = section.count("minimum_items", 1..=50).unwrap_or(5);
        if minimum_items > items {
            section.fault("minimum_items", format!("{minimum_items} is more than items, which is {items}"));
        }
        let list_id = section.parse("list_id", super::delivery::domain);
        let sections = section.list("sections");
        let newsletter = Self {
            id: id.to_owned(),
            name,
            language,
            promise: section.text("promise"),
            list_id: list_id.unwrap_or_else(|| {
                format!("{id}.{}", from.as_ref().map_or("", |from: &Mailbox| from.email.domain()))
            }),
            from: from.clone().or_else(|| "matinale@invalid.example".parse().ok())?,
            reply_to,
            items,
            reserves: section.count("reserves", 0..=50).unwrap_or(10),
            minimum_items,
            lock,
            timezone,
            send_at: send_at.unwrap_or_default(),
            deadline: section
                .parse("deadline", values::time_of_day)
                .unwrap_or_else(|| Time::constant(12, 0, 0, 0)),
            window: section.duration("window").unwrap_or(Duration::from_secs(3 * 3600)),
            for_day: for_day.unwrap_or_default(),
            catch_up: section.duration("catch_up").unwrap_or(Duration::from_secs(3 * 3600)),
            relays,
            check_links: section.flag("check_links").unwrap_or(true),
            pictures: section.count("pictures", 0..=3).unwrap_or(3),
            images: images.unwrap_or_default(),
            publisher: section.text("publisher").unwrap_or_default(),
            alerts: section.parsed_list("alerts", alert),
            approval: approval.unwrap_or_default(),
            remind: section.duration("remind").unwrap_or(Duration::from_secs(1800)),
            sources: section.list("sources"),
            selection: Selection::read(&section.section("selection"), items, &sections),
            sections,
            languages: section.parsed_list("languages", language_code),
            days_off: section.parsed_list("days_off", |text| {
                text.parse::<Date>().map_err(|_| "expected a date such as \"2026-12-25\"".to_owned())
            }),
            translations: section.list("translations"),
            avoid: section.list("avoid"),
            theme: Theme::read(&section.section("theme")),
        };
        (from.is_some() && send_at.is_some()).then_some(newsletter)
    }

    /// The domain that its mail is From, in A-labels.
    pub fn domain(&self) -> &str {
        self.from.email.domain()
    }
}

/// `La Matinale <matinale@example.org>`, its domain in A-labels.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    let mailbox: Mailbox = text.parse().map_err(|_| {
        format!("expected an address such as \"La Matinale <matinale@example.org>\", found {text:?}")
    })?;
    let domain = super::delivery::domain(mailbox.email.domain())?;
    let email = lettre::Address::new(mailbox.email.user(), domain).map_err(|error| error.to_string())?;
    Ok(Mailbox::new(mailbox.name, email))
}

fn language(text: &str) -> Result<String, String> {
    language_code(text)
}

fn language_code(text: &str) -> Result<String, String> {
    let primary = text.split('-').next().unwrap_or_default();
    if (2..=3).contains(&primary.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("expected a language such as \"fr\" or \"pt\", found {text:?}"))
    }
}

fn alert(text: &str) -> Result<Alert, String> {
    if text.contains("://") {
        return Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .map(Alert::Webhook)
            .ok_or_else(|| "expected an http or https URL".to_owned());
    }
    text.parse::<lettre::Address>()
        .map(|address| Alert::Mail(address.to_string()))
        .map_err(|_| "expected a mail address or an https URL".to_owned())
}
