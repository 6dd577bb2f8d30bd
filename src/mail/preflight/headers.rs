//! Section 2.2: the headers, read off the bytes as they would go out.

use std::collections::BTreeSet;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::Findings;
use crate::mail::consent::Consent;
use crate::mail::content::{Content, Newsletter};
use crate::mail::language::Language;
use crate::mail::prepared::{Personal, Prepared};
use crate::mail::proposed::PREHEADER;
use crate::mail::render::Rendered;

/// All headers together.
const MOST: usize = 8 * 1024;
/// Where phone lists cut a subject.
const SUBJECT: usize = 60;
/// What no list shows any more.
const LONGEST: usize = 150;
/// What stands before an answer or a forwarded mail, in the languages of our readers.
const ANSWERS: [&str; 9] = ["re:", "re :", "fwd:", "fw:", "tr:", "tr :", "rv:", "enc:", "رد:"];

pub(super) fn check(
    content: &Content,
    rendered: &Rendered,
    prepared: &Prepared,
    last: Option<&Newsletter>,
    findings: &mut Findings,
) {
    subject(content, rendered, findings);
    if let Some(last) = last {
        lasting(&content.newsletter, last, findings);
    }
    let newsletter = &content.newsletter;
    if newsletter.from_name.trim().is_empty() {
        findings.warn("H8", "from", "has no name: readers look for the newsletter's, not for an address");
    }
    if newsletter.from_name.chars().any(is_emoji) {
        findings.error("H8", "from", "an emoji in the sender's name counts as deception: take it out");
    }
    if content.sponsor.as_ref().is_some_and(|sponsor| newsletter.from_name.contains(sponsor.name.trim())) {
        findings.error("sponsor", "from", "the partner's name has no place in the sender's");
    }
    let labels = |id: &str| {
        id.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
    };
    if newsletter.list_id.len() > 255 || !newsletter.list_id.contains('.') || !labels(&newsletter.list_id) {
        findings.error(
            "H5",
            "list_id",
            format!("{:?} is no list identifier: letters, digits, - and dots", newsletter.list_id),
        );
    }
    let host = url::Url::parse(&newsletter.public_url).ok();
    let host = host.as_ref().and_then(|url| url.domain()).unwrap_or_default();
    let domain = newsletter.from_address.rsplit_once('@').map_or("", |(_, domain)| domain);
    if ![host, domain].iter().any(|ours| is_within(&newsletter.list_id, ours)) {
        findings.warn(
            "H5",
            "list_id",
            format!(
                "{:?} is not within {domain}: a list's name belongs to its sender's domain",
                newsletter.list_id
            ),
        );
    }
    bytes(content, prepared, findings);
}

/// Whether a name stands within a domain, or in a domain above it that is no bare suffix.
fn is_within(name: &str, domain: &str) -> bool {
    let parent = domain.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
    [Some(domain), parent]
        .into_iter()
        .flatten()
        .any(|domain| !domain.is_empty() && (name == domain || name.ends_with(&format!(".{domain}"))))
}

/// What readers' filters know a newsletter by: it stays as it is.
fn lasting(newsletter: &Newsletter, last: &Newsletter, findings: &mut Findings) {
    let kept = [
        ("H5", "list_id", &newsletter.list_id, &last.list_id),
        ("H8", "from", &newsletter.from_name, &last.from_name),
        ("H8", "from", &newsletter.from_address, &last.from_address),
    ];
    for (rule, place, now, before) in kept {
        if now != before {
            findings.warn(
                rule,
                place,
                format!("{now:?} was {before:?} in the last edition: readers' filters know it by that"),
            );
        }
    }
}

fn subject(content: &Content, rendered: &Rendered, findings: &mut Findings) {
    let subject = rendered.subject.trim();
    let length = subject.chars().count();
    if subject.is_empty() {
        findings.error("H8", "subject", "is empty: write one, or give the lead a title");
    }
    let low = subject.to_lowercase();
    if ANSWERS.iter().any(|answer| low.starts_with(answer)) {
        findings.error("H8", "subject", format!("{subject:?} pretends to be an answer or a forwarded mail"));
    }
    if length > LONGEST {
        findings.warn("H8", "subject", format!("{length} characters; after {LONGEST} nobody sees it"));
    } else if length > SUBJECT {
        findings.warn("H8", "subject", format!("{length} characters; telephones cut after {SUBJECT}"));
    }
    if subject.chars().any(is_emoji) {
        findings.warn("H8", "subject", "has an emoji; some providers take it for deception");
    }
    let letters = subject.chars().filter(|c| c.is_alphabetic());
    let cased = letters.filter(|c| c.is_uppercase() || c.is_lowercase());
    let (upper, all) = cased.fold((0, 0), |(upper, all), c| (upper + usize::from(c.is_uppercase()), all + 1));
    if all > 12 && upper * 10 > all * 7 {
        findings.warn("H8", "subject", "is all in capitals");
    }
    let newsletter = content.newsletter.name.to_lowercase();
    if low.starts_with("newsletter n") || low == newsletter {
        findings.warn("H8", "subject", "says that it is a newsletter, and not what is new");
    }
    if let Some(sponsor) = &content.sponsor
        && !sponsor.name.trim().is_empty()
        && low.contains(&sponsor.name.trim().to_lowercase())
    {
        findings.error("sponsor", "subject", "the partner's name has no place in the subject");
    }
    let begins = subject.chars().find(|c| c.is_alphabetic());
    // A newsletter of another language keeps its subject in every rendering.
    let own = Language::of(&content.newsletter.language);
    if own.is_some_and(|own| own.phrases().right_to_left) && begins.is_some_and(|c| !is_right_to_left(c)) {
        findings.warn(
            "L6",
            "subject",
            "begins with a left-to-right word; lists will show it the wrong way round",
        );
    }
    let preheader = rendered.preheader.chars().count();
    if !PREHEADER.contains(&preheader) {
        let (least, most) = (PREHEADER.start(), PREHEADER.end());
        findings.warn(
            "preheader",
            "preheader",
            format!("{preheader} characters; between {least} and {most} say enough and are shown whole"),
        );
    }
}

/// The census of the bytes.
fn bytes(content: &Content, prepared: &Prepared, findings: &mut Findings) {
    let Ok(date) = TimeZone::UTC.to_zoned_datetime(content.date.to_datetime(Time::midnight())) else {
        return;
    };
    let personal = Personal {
        address: "reader@example.org",
        message_id: "<m.preflight@example.org>",
        date: &date,
        subscription_token: "preflightpreflightpreflight",
        consent: &Consent::default(),
    };
    let mut out = Vec::new();
    if let Err(error) = prepared.fill(&personal, None, &mut out) {
        findings.error("H2", "headers", error.to_string());
        return;
    }
    if !out.is_ascii() {
        findings.error("H11", "headers", "a byte beyond ASCII: check the configured addresses");
    }
    let message = String::from_utf8_lossy(&out);
    let Some((headers, body)) = message.split_once("\r\n\r\n") else { return };
    if headers.len() > MOST {
        findings.error(
            "H14",
            "headers",
            format!("{} bytes; {MOST} are the bound: shorten the subject", headers.len()),
        );
    }
    let lines: Vec<&str> = headers.split("\r\n").collect();
    for name in [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "MIME-Version",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "List-Id",
    ] {
        let begins = format!("{name}: ");
        if lines.iter().filter(|line| line.starts_with(&begins)).count() != 1 {
            findings.error("H1", "headers", format!("exactly one {name}"));
        }
    }
    let value = |name: &str| {
        let begins = format!("{name}: ");
        lines.iter().find_map(|line| line.strip_prefix(&begins)).unwrap_or_default()
    };
    if lines.iter().any(|line| line.starts_with("Auto-Submitted:")) {
        findings.error(
            "H7",
            "headers",
            "a newsletter is not answered by machines as a notice is: no Auto-Submitted",
        );
    }
    if value("List-Unsubscribe").matches('<').count() != 1 {
        findings.error("H3", "headers", "List-Unsubscribe has one address, and that is ours");
    }
    if message.matches(personal.subscription_token).count() < 3 {
        findings.error("H16", "body", "the reader's own link is missing from a part");
    }
    // Between the boundaries only: a text may well begin a line with these words.
    let boundary = value("Content-Type").split('"').nth(1).unwrap_or_default();
    let kinds: Vec<&str> = body
        .split(&format!("--{boundary}\r\n"))
        .skip(1)
        .filter_map(|part| part.strip_prefix("Content-Type: text/")?.split(';').next())
        .collect();
    if kinds != ["plain", "html"] {
        findings.error("H13", "body", "the text part comes first and the HTML part last");
    }
    if value("From").matches('@').count() > 1 {
        findings.error("H1", "from", "one address, and no second one in the name");
    }
    let unsubscribe = value("List-Unsubscribe");
    if !unsubscribe.ends_with('>') || unsubscribe.len() > 200 {
        findings.error("H4", "web.public_url", "List-Unsubscribe does not fit on one line: shorten it");
    }
    let feedback: Vec<&str> = value("Feedback-ID").split(':').collect();
    let distinct: BTreeSet<&&str> = feedback.iter().collect();
    let sender = feedback.last().map_or(0, |sender| sender.len());
    if feedback.len() != 4 || distinct.len() != 4 || !(5..=15).contains(&sender) {
        findings.error(
            "H6",
            "headers",
            "Feedback-ID has four different fields, the last of 5 to 15 characters",
        );
    }
    for line in &lines {
        let words = line.matches("=?UTF-8?").count();
        let allowed = line.starts_with([' ', '\t'])
            || ["From: ", "Subject: ", "List-Id: ", "Reply-To: "].iter().any(|name| line.starts_with(name));
        if words > 0 && (!allowed || line.split(' ').any(|word| word.len() > 75)) {
            findings.error("H10", "headers", "an encoded word stands where none may, or is too long");
        }
    }
    if body.split("\r\n").any(|line| line.len() > 76) {
        findings.error("H13", "body", "a line is longer than 76 characters");
    }
}

fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27BF}' | '\u{1F000}'..='\u{1FAFF}' | '\u{2B50}' | '\u{2B55}')
}

fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFF}')
}
