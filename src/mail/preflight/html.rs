//! Section 2.7 of what a mail must satisfy, as far as a machine can judge it without a browser.

use std::collections::{BTreeMap, BTreeSet};

use url::{Host, Url};

use super::Findings;
use super::page::{self, Piece, Tag};
use crate::mail::content::Content;
use crate::mail::encode;
use crate::mail::language::Language;
use crate::mail::prepared::SLOT;
use crate::mail::render::Rendered;

/// Where Gmail cuts a mail off.
const CUT: usize = 102 * 1024;
/// The house's budget.
const BUDGET: usize = 60 * 1024;
const IMAGES: usize = 3;
/// What they weigh together.
const PICTURES: u64 = 200_000;
/// Ten sources, a partner, a figure, the house itself.
const DOMAINS: usize = 15;
const SHORTENERS: [&str; 14] = [
    "bit.ly",
    "t.co",
    "goo.gl",
    "tinyurl.com",
    "ow.ly",
    "buff.ly",
    "is.gd",
    "cutt.ly",
    "rebrand.ly",
    "shorturl.at",
    "t.ly",
    "rb.gy",
    "lnkd.in",
    "dlvr.it",
];

pub(super) fn check(content: &Content, rendered: &Rendered, language: Language, findings: &mut Findings) {
    let pieces = page::pieces(&rendered.html);
    structure(&pieces, rendered, findings);
    shape(&rendered.html, &pieces, findings);
    styles(&rendered.html, &pieces, findings);
    images(&pieces, findings);
    weight(content, findings);
    links(content, &pieces, language, findings);
    for (key, message) in content.newsletter.theme.faults() {
        findings.error("M5", format!("theme.{key}"), message);
    }
    let size = encode::quoted_printable(&rendered.html, SLOT).len();
    if size > CUT {
        findings.error(
            "M13",
            "HTML",
            format!("{} KiB once encoded; Gmail cuts at 102: shorten the texts", size / 1024),
        );
    } else if rendered.html.len() > BUDGET {
        findings.warn(
            "M13",
            "HTML",
            format!("{} KiB; the budget is 60: shorten the texts", rendered.html.len() / 1024),
        );
    }
}

fn structure(pieces: &[Piece<'_>], rendered: &Rendered, findings: &mut Findings) {
    let mut depth = 0_i32;
    let mut level = 0_u32;
    for piece in pieces {
        match piece {
            Piece::Open(tag) => {
                let below_body = tag.name != "body" && depth == 1;
                if tag.name == "html" || below_body {
                    for name in ["lang", "dir"] {
                        if tag.get(name).is_none_or(str::is_empty) {
                            findings.error("M1", "HTML", format!("<{}> has no {name}", tag.name));
                        }
                    }
                }
                if tag.name == "body" || depth > 0 && !matches!(tag.name, "img" | "br" | "meta" | "hr") {
                    depth += 1;
                }
                match tag.name {
                    "table" if tag.get("role") != Some("presentation") => {
                        findings.error("M2", "HTML", "a layout table says role=\"presentation\"");
                    }
                    "th" | "thead" => {
                        findings.error("M2", "HTML", format!("<{}> in a layout table", tag.name));
                    }
                    "script" | "form" | "input" | "video" | "audio" | "iframe" | "object" | "embed"
                    | "link" => {
                        findings.error("M17", "HTML", format!("<{}> does not work in mails", tag.name));
                    }
                    "meta"
                        if tag.get("content").is_some_and(|value| {
                            value.contains("user-scalable=no") || value.contains("maximum-scale")
                        }) =>
                    {
                        findings.error("M9", "HTML", "the page forbids zooming");
                    }
                    _ => {}
                }
                if let Some(next) = tag.name.strip_prefix('h').and_then(|level| level.parse::<u32>().ok()) {
                    if next > level + 1 {
                        findings.error("M3", "HTML", format!("h{next} follows h{level}"));
                    }
                    level = next;
                }
            }
            Piece::Close(_) => depth = (depth - 1).max(0),
            Piece::Text(_) => {}
        }
    }
    if page::elements(pieces, "h1").len() != 1 {
        findings.error("M3", "HTML", "one h1: the newsletter's name");
    }
    for name in ["h1", "h2"] {
        for (at, _) in
            page::elements(pieces, name).iter().enumerate().filter(|(_, (_, text))| text.is_empty())
        {
            findings.error("M3", "HTML", format!("the {name} number {} is empty: give it a title", at + 1));
        }
    }
    let title = page::elements(pieces, "title").into_iter().next().map(|(_, text)| text);
    if title.as_deref() != Some(&page::plain(&rendered.subject)) {
        findings.error("M8", "HTML", "the title is not the subject");
    }
}

/// M11, M16, M17, M18: one column that every client lays out, and nothing that runs or hides.
fn shape(html: &str, pieces: &[Piece<'_>], findings: &mut Findings) {
    let tags = pieces.iter().filter_map(|piece| match piece {
        Piece::Open(tag) => Some(tag),
        _ => None,
    });
    let (mut tables, mut cells) = (0, 0);
    for tag in tags {
        tables += usize::from(tag.name == "table");
        cells += usize::from(tag.name == "td");
        for (name, _) in &tag.attributes {
            if name.starts_with("on") || matches!(*name, "amp4email" | "⚡4email") {
                findings.error("M17", "HTML", format!("<{} {name}> runs nowhere", tag.name));
            }
            if *name == "hidden" {
                findings.error("M18", "HTML", format!("<{}> is hidden", tag.name));
            }
        }
    }
    if tables != 1 || cells != 1 || !html.contains("max-width:600px") {
        findings.error("M11", "HTML", "one table of one cell holds the column, 600 pixels wide at most");
    }
    let ghosts = html.matches("<!--[if mso]>").count();
    if ghosts != 2 || html.contains("xmlns:v") || html.contains("<v:") {
        findings.error("M16", "HTML", "Outlook's own table stands around the column, without VML");
    }
}

fn styles(html: &str, pieces: &[Piece<'_>], findings: &mut Findings) {
    let attributes: Vec<String> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Open(tag) => tag.get("style").map(|style| style.replace(' ', "")),
            _ => None,
        })
        .collect();
    for style in &attributes {
        for (rule, part) in [
            ("M11", "display:flex"),
            ("M11", "display:grid"),
            ("M11", "position:"),
            ("M11", "var("),
            ("M18", "display:none"),
            ("M18", "visibility:hidden"),
            ("M18", "font-size:0"),
            ("M18", "opacity:0"),
            ("M18", "mso-hide"),
        ] {
            let found = style.split(';').any(|declaration| declaration.starts_with(part))
                || part == "var(" && style.contains(part);
            if found {
                findings.error(rule, "HTML", format!("a style has {part}"));
            }
        }
        let value = |key: &str| {
            style.split(';').find_map(|declaration| declaration.strip_prefix(key)?.strip_prefix(':'))
        };
        if let (Some(ink), Some(ground)) = (value("color"), value("background-color"))
            && ink.eq_ignore_ascii_case(ground)
        {
            findings.error("M18", "HTML", format!("text in the colour of its ground, {ink}"));
        }
    }
    if !html.contains("prefers-color-scheme: dark") {
        findings.error("M12", "HTML", "no colours for dark readers");
    }
}

fn images(pieces: &[Piece<'_>], findings: &mut Findings) {
    let images: Vec<&Tag<'_>> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Open(tag) if tag.name == "img" => Some(tag),
            _ => None,
        })
        .collect();
    if images.len() > IMAGES {
        findings.warn("M14", "pictures", format!("{} pictures; {IMAGES} are enough", images.len()));
    }
    for image in images {
        let src = image.get("src").unwrap_or_default();
        if image.get("alt").is_none_or(|alt| alt.trim().is_empty()) {
            findings.warn("M7", "pictures", format!("{src}: say in words what it shows"));
        }
        if !src.starts_with("https://") && !is_local(src) {
            findings.warn("M14", "pictures", format!("{src}: not over https, some readers will not see it"));
        }
        let path = src.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
        if [".webp", ".svg", ".avif", ".heic"].iter().any(|ending| path.ends_with(ending)) {
            findings.error("M14", "pictures", format!("{src}: mails show JPEG, PNG and GIF, no other kind"));
        }
        if image.get("width").is_none() || !image.get("style").is_some_and(|s| s.contains("max-width")) {
            findings.error("M14", "HTML", "a picture without width and max-width");
        }
        if image.get("height").is_some() {
            findings.error("M15", "HTML", "a height leaves a big empty box where pictures are blocked");
        }
    }
}

/// M14: what all pictures weigh, as far as it is known.
fn weight(content: &Content, findings: &mut Findings) {
    let images = content.items.iter().filter_map(|item| item.image.as_ref());
    let bytes: u64 = images.filter_map(|image| image.bytes).sum();
    if bytes > PICTURES {
        findings.warn(
            "M14",
            "pictures",
            format!("{} KB together; {} are the budget: take fewer", bytes / 1000, PICTURES / 1000),
        );
    }
}

fn links(content: &Content, pieces: &[Piece<'_>], language: Language, findings: &mut Findings) {
    let own = Url::parse(&content.newsletter.public_url).ok();
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    let mut domains = BTreeSet::new();
    for (tag, text) in page::elements(pieces, "a") {
        let href = tag.get("href").unwrap_or_default().replace("&#38;", "&");
        let place = content
            .items
            .iter()
            .find(|item| item.url == href)
            .map_or_else(|| format!("link {text:?}"), |item| format!("item {}", item.position));
        if text.is_empty() {
            findings.error("M4", place.as_str(), "a link says nothing: name its source");
        } else if language.phrases().empty_links.contains(&text.to_lowercase().as_str()) {
            findings.error("M4", place.as_str(), format!("{text:?} does not say where it goes"));
        }
        let ours =
            own.as_ref().is_some_and(|own| Url::parse(&href).is_ok_and(|url| own.origin() == url.origin()));
        if let Some(named) = host_in(&text)
            && !href.contains(&named)
        {
            let message = format!("{text:?} leads to {href}: say where it goes");
            // A source may be called by an address that is not quite its own, and a title that leads to our own page may
            // name one; a partner's words are somebody's.
            if place.starts_with("item") || ours {
                findings.warn("M19", place.as_str(), message);
            } else {
                findings.error("M19", place.as_str(), message);
            }
        }
        let other = said.entry(text.to_lowercase()).or_insert_with(|| href.clone());
        if *other != href {
            findings.error(
                "M4",
                place.as_str(),
                format!("{text:?} is said by two links: give one other words"),
            );
        }
        if !tag.get("style").is_some_and(|style| style.contains("text-decoration:underline")) {
            findings.error("M6", place.as_str(), "a link is not underlined");
        }
        let Ok(url) = Url::parse(&href) else {
            findings.error("M19", place.as_str(), format!("{href:?} is no address"));
            continue;
        };
        match url.host() {
            Some(Host::Domain(domain)) => {
                if SHORTENERS.contains(&domain) {
                    findings.warn(
                        "M19",
                        place.as_str(),
                        format!("{domain} hides where it goes: take the page's own address"),
                    );
                }
                domains.insert(domain.strip_prefix("www.").unwrap_or(domain).to_owned());
            }
            Some(_) if ours => {}
            // A house that is being tried out; nobody takes that for fraud.
            Some(Host::Ipv4(address)) if address.is_loopback() => {
                findings.warn("M19", place.as_str(), format!("{href}: only this machine can open it"));
            }
            Some(_) => findings.error(
                "M19",
                place.as_str(),
                format!("{href}: a number in place of a name; filters take it for fraud"),
            ),
            None => findings.error("M19", place.as_str(), format!("{href:?} is no page")),
        }
        if url.port().is_some() && !ours {
            findings.warn("M19", place.as_str(), format!("{href}: has a port; filters distrust it"));
        }
    }
    if domains.len() > DOMAINS {
        findings.warn("M19", "links", format!("{} domains; mails with many are slowed down", domains.len()));
    }
    if let Some(own) = own.filter(|own| own.scheme() != "https") {
        findings.warn(
            "M19",
            "web.public_url",
            format!("{own} is not https; one-click unsubscribing needs it (H3)"),
        );
    }
}

/// A host that a link's words name: `www.bank.example`, or a whole address.
fn host_in(text: &str) -> Option<String> {
    let words = text.split_whitespace();
    let named = words.filter_map(|word| {
        if let Some((_, rest)) = word.split_once("://") {
            return rest.split(['/', '?', '#']).next();
        }
        word.starts_with("www.").then(|| word.split('/').next()).flatten()
    });
    named
        .map(|host| host.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
        .map(|host| host.strip_prefix("www.").unwrap_or(&host).to_owned())
        .find(|host| host.contains('.'))
}

fn is_local(url: &str) -> bool {
    url.starts_with("http://127.0.0.1") || url.starts_with("http://localhost")
}
