//! A thousand editions of whatever sources and editors may write, and what none of them may do.

use std::sync::Arc;

use matinale::mail::content::{Appointment, Content, Correction, Item, Sponsor};
use matinale::mail::dkim::Signer;
use matinale::mail::{Consent, Error, Language, Personal, Prepared, render};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use unicode_width::UnicodeWidthChar;

use super::samples;

/// The bound of an HTML part (M13).
const HTML: usize = 60 * 1024;
/// The bound of all headers (H14).
const HEADERS: usize = 8 * 1024;
const TOKEN: &str = "abcdefghij234567abcdefghij2345";

/// What hurts mails: markup, quotes, line breaks, what ends a place, what turns or hides text, our own marks.
const HOSTILE: [&str; 30] = [
    "<script>alert(1)</script>",
    "\" onmouseover=\"alert(1)",
    "' style='x",
    "</td></tr></table></div></body></html>",
    "--> <!--",
    "<![endif]-->",
    "]]>",
    "&lt;b&gt; &amp; &#60;",
    "\r\nBcc: everybody@example.org",
    "\r\n\r\n.\r\nQUIT\r\n",
    "\n.\n",
    "\nFrom the beginning",
    "\u{202E}desrever",
    "\u{2066}\u{2067}\u{2068}",
    "subscriptiontokengoesherexxxxx",
    "subscriptiontokensubscriptiontokengoesherexxxxxgoesherexxxxx",
    "=?UTF-8?B?QQ==?=",
    "=0D=0A=",
    "{{ view.links.unsubscribe }}",
    "</style><style>*{display:none}",
    "</title>",
    "javascript:alert(1)",
    "\u{0}\u{1}\u{7F}",
    "مرحبا (Tripoli) 3",
    "👩\u{200D}🌾🇨🇮",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈",
    "Türkçe İstanbul ıI",
    "e\u{301}\u{301}\u{301}\u{301}",
    "« oui » ; non ! 12 000 km : 3:1 ?",
    "   \t  ",
];

const WORDS: [&str; 8] =
    ["le", "cacao", "augmente", "aujourd’hui", "a", "port", "internationalement", "d'Abidjan"];

fn text(words: usize) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        5 => proptest::sample::select(&WORDS[..]).prop_map(ToOwned::to_owned),
        1 => proptest::sample::select(&HOSTILE[..]).prop_map(ToOwned::to_owned),
        2 => any::<[char; 3]>().prop_map(String::from_iter),
    ];
    proptest::collection::vec(word, 0..words).prop_map(|words| words.join(" "))
}

fn item() -> impl Strategy<Value = Item> {
    let url = prop_oneof![
        3 => "https://[a-z]{3,9}\\.example/[a-z0-9/]{0,60}",
        1 => text(4),
        1 => text(3).prop_map(|text| format!("https://a.example/?q={text}")),
    ];
    (text(16), text(60), url, text(3), proptest::option::of(text(3)), proptest::option::of(0_u32..90))
        .prop_map(|(title, summary, url, source, section, reading_minutes)| Item {
            title,
            summary,
            url,
            label: section.clone(),
            countries: vec![source.chars().take(2).collect()],
            language: ["fr", "ar", "en", "", "x\"y"][source.len() % 5].to_owned(),
            source,
            section,
            reading_minutes,
            ..Item::default()
        })
}

fn edition() -> impl Strategy<Value = Content> {
    let language = proptest::sample::select(&samples::LANGUAGES[..]);
    let items = proptest::collection::vec(item(), 0..=10);
    (language, items, text(12), text(40), text(20), text(6)).prop_map(
        |(language, items, subject, opening, message, name)| {
            let mut content = samples::full(language);
            content.items = items;
            for (item, position) in content.items.iter_mut().zip(1..) {
                item.position = position;
            }
            content.preheader.clone_from(&message);
            if let Some(words) = &mut content.opening {
                words.text = opening;
                words.signature.clone_from(&name);
            }
            content.agenda.push(Appointment { when: Some(name.clone()), text: message.clone() });
            content.corrections.push(Correction { date: None, text: message.clone() });
            content.sponsor = Some(Sponsor {
                url: format!("https://b.example/{name}"),
                link_text: name.clone(),
                name,
                text: message.clone(),
            });
            content.newsletter.publisher = message;
            content.subject = subject;
            content
        },
    )
}

/// The names of attributes that our tags have.
const ATTRIBUTES: [&str; 21] = [
    "hreflang",
    "lang",
    "dir",
    "charset",
    "name",
    "content",
    "class",
    "style",
    "role",
    "aria-roledescription",
    "aria-label",
    "width",
    "align",
    "cellpadding",
    "cellspacing",
    "border",
    "href",
    "src",
    "alt",
    "rel",
    "html",
];

/// Every tag of a page, in order; fails on an attribute that is none of ours.
fn skeleton(html: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        let close = rest[open..].find('>').map(|at| open + at).expect("every tag ends");
        let tag = &rest[open + 1..close];
        let name = tag.split([' ', '>']).next().unwrap_or_default().to_owned();
        for outside in tag.split('"').step_by(2).filter(|_| !name.starts_with('!')) {
            for attribute in outside.split([' ', '=']).skip(1).filter(|attribute| !attribute.is_empty()) {
                assert!(ATTRIBUTES.contains(&attribute), "{attribute} in <{tag}>");
            }
        }
        rest = &rest[close + 1..];
        tags.push(name);
    }
    tags
}

/// The columns of a line where nothing is joined.
fn columns(line: &str) -> usize {
    line.chars().filter_map(UnicodeWidthChar::width).sum()
}

fn runner(cases: u32) -> TestRunner {
    // The same thousand every time: a failure is everybody's failure.
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// A reader who came by a form with a hostile name.
fn consent() -> Consent {
    Consent::of(Some("2025-02-01T09:00:00Z"), None, Some("https://form.example/<b>\"x\"&y\r\n.\r\n/"))
}

fn fill(prepared: &Prepared, signer: Option<&Signer>) -> Vec<u8> {
    let date = "2026-11-24T06:30:00+00:00[Africa/Abidjan]".parse().expect("a moment");
    let personal = Personal {
        address: "reader@example.org",
        message_id: "<m.abc@news.example>",
        date: &date,
        subscription_token: TOKEN,
        consent: &consent(),
    };
    let mut out = Vec::new();
    prepared.fill(&personal, signer, &mut out).expect("fit values");
    let sent = Arc::new(prepared.clone()).message(&personal, signer, Vec::new()).expect("fit values");
    assert!(sent.pieces().concat() == out, "what is sent in pieces is what is read");
    assert_eq!(sent.len(), out.len());
    out
}

#[test]
fn m13_h14_t3_t4_t5_a_thousand_editions_keep_their_size_their_bytes_and_their_places() {
    const TAGS: [&str; 32] = [
        "!DOCTYPE",
        "html",
        "/html",
        "head",
        "/head",
        "meta",
        "title",
        "/title",
        "style",
        "/style",
        "body",
        "/body",
        "div",
        "/div",
        "!--[if",
        "![endif]--",
        "table",
        "/table",
        "tr",
        "/tr",
        "td",
        "/td",
        "h1",
        "/h1",
        "h2",
        "/h2",
        "p",
        "/p",
        "img",
        "a",
        "/a",
        "strong",
    ];
    const MORE: [&str; 6] = ["/strong", "span", "/span", "bdi", "/bdi", "br"];
    let signer = samples::signer();
    let seen = std::cell::Cell::new(0_u32);
    runner(1000)
        .run(&edition(), |content| {
            let language = Language::of(&content.newsletter.language).unwrap();
            let rendered = render(&content, language).unwrap();
            prop_assert!(rendered.html.len() < HTML, "{} bytes of HTML", rendered.html.len());
            let tags = skeleton(&rendered.html);
            for tag in &tags {
                prop_assert!(TAGS.contains(&tag.as_str()) || MORE.contains(&tag.as_str()), "<{tag}>");
            }
            let many = |name: &str| tags.iter().filter(|tag| *tag == name).count();
            for name in ["div", "p", "a", "td", "tr", "h2", "bdi", "span", "strong", "title", "style"] {
                prop_assert_eq!(many(name), many(&format!("/{name}")), "{}", name);
            }
            prop_assert_eq!(many("h1"), 1);
            for (at, _) in rendered.html.match_indices("href=\"") {
                let link = &rendered.html[at + 6..];
                prop_assert!(link.starts_with("https://") || link.starts_with("http://"), "{:.80}", link);
            }
            // Only our own links know whose mail it is.
            for part in [&rendered.html, &rendered.text] {
                for (at, _) in part.match_indices("subscriptiontokengoesherexxxxx") {
                    let before = &part[..at];
                    prop_assert!(
                        before.ends_with("https://news.example/u/")
                            || before.ends_with("https://news.example/p/")
                    );
                }
            }
            // X2: what is longer than a line of text is one link.
            for line in rendered.text.lines().filter(|line| columns(line) > 72) {
                prop_assert!(!line.trim().contains(' ') && line.contains("://"), "{}", line);
            }
            let bytes = fill(&Prepared::new(&rendered, &content), Some(&signer));
            prop_assert!(bytes.is_ascii());
            let message = std::str::from_utf8(&bytes).unwrap();
            prop_assert!(message.ends_with("--\r\n"));
            prop_assert!(!message.replace("\r\n", "").contains(['\r', '\n']), "a bare CR or LF");
            let (headers, body) = message.split_once("\r\n\r\n").unwrap();
            prop_assert!(headers.len() < HEADERS, "{} bytes of headers", headers.len());
            for line in headers.split("\r\n") {
                prop_assert!(line.len() <= 998);
                let folded = line.starts_with([' ', '\t']);
                let name = line.split(':').next().unwrap();
                prop_assert!(
                    folded || name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
                    "{}",
                    line
                );
            }
            for name in ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "List-Unsubscribe"] {
                let begins = format!("{name}: ");
                prop_assert_eq!(headers.split("\r\n").filter(|line| line.starts_with(&begins)).count(), 1);
            }
            prop_assert!(!headers.split("\r\n").any(|line| line.starts_with("Bcc")));
            for line in body.split("\r\n") {
                prop_assert!(line.len() <= 76, "{}", line);
                prop_assert!(!line.starts_with('.') && !line.starts_with("From "), "{}", line);
                prop_assert!(!line.ends_with([' ', '\t']) && !line.contains("  "), "{}", line);
            }
            seen.set(seen.get() + 1);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen.get(), 1000);
}

#[test]
fn h3_every_sample_day_is_read_back_as_it_was_written() {
    for language in samples::LANGUAGES {
        for content in [samples::full(language), samples::poor(language), samples::ugly(language)] {
            let rendered = render(&content, Language::of(language).unwrap()).unwrap();
            let bytes = fill(&Prepared::new(&rendered, &content), None);
            let message = mail_parser::MessageParser::default().parse(&bytes).unwrap();
            // The parser makes every blank a plain one.
            let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(message.subject().map(plain), Some(plain(&rendered.subject)));
            let filled = rendered.filled(TOKEN, &consent());
            assert_eq!(
                message.body_text(0).unwrap().replace("\r\n", "\n").trim_end(),
                filled.text.trim_end()
            );
            assert_eq!(
                message.body_html(0).unwrap().replace("\r\n", "\n").trim_end(),
                filled.html.trim_end()
            );
        }
    }
}

#[test]
fn p10_what_is_known_of_a_reader_s_consent_stays_in_its_place() {
    let content = samples::poor("fr");
    let rendered = render(&content, Language::of("fr").unwrap()).unwrap();
    let prepared = Prepared::new(&rendered, &content);
    let bare = skeleton(&rendered.html);
    let lines = |part: &str| part.lines().count();
    runner(500)
        .run(&(text(12), text(3)), |(place, on)| {
            let consent = Consent::of(Some(&on), None, Some(&place));
            let filled = rendered.filled(TOKEN, &consent);
            let tags = skeleton(&filled.html);
            // The place stands in one pair of tags of ours, and is told or not.
            prop_assert!([bare.len(), bare.len() + 2].contains(&tags.len()), "{:?}", tags);
            // One sentence, wrapped; in the mail's own bytes as in what is shown.
            prop_assert!(lines(&filled.text) <= lines(&rendered.text) + 2);
            let date = "2026-11-24T06:30:00+00:00[Africa/Abidjan]".parse().unwrap();
            let personal = Personal {
                address: "reader@example.org",
                message_id: "<m.abc@news.example>",
                date: &date,
                subscription_token: TOKEN,
                consent: &consent,
            };
            let mut bytes = Vec::new();
            prepared.fill(&personal, None, &mut bytes).unwrap();
            prop_assert!(bytes.is_ascii());
            prop_assert!(
                bytes.split(|b| *b == b'\n').all(|line| line.len() <= 77 && !line.starts_with(b"."))
            );
            let message = mail_parser::MessageParser::default().parse(&bytes).unwrap();
            let read = |body: Option<std::borrow::Cow<'_, str>>| {
                body.unwrap().replace("\r\n", "\n").trim_end().to_owned()
            };
            prop_assert_eq!(read(message.body_text(0)), filled.text.trim_end());
            prop_assert_eq!(read(message.body_html(0)), filled.html.trim_end());
            Ok(())
        })
        .unwrap();
}

#[test]
fn p10_what_is_personal_stands_in_its_place_or_nowhere() {
    let content = samples::poor("fr");
    let prepared = Prepared::new(&render(&content, Language::of("fr").unwrap()).unwrap(), &content);
    let date = "2026-11-24T06:30:00+00:00[Africa/Abidjan]".parse().unwrap();
    let good = Personal {
        address: "reader@example.org",
        message_id: "<m.abc@news.example>",
        date: &date,
        subscription_token: TOKEN,
        consent: &consent(),
    };
    let refused = |personal: Personal<'_>| {
        let mut out = Vec::new();
        let answer = prepared.fill(&personal, None, &mut out);
        assert!(answer.is_ok() || out.is_empty(), "half a mail");
        answer.err()
    };
    assert_eq!(refused(good), None);
    for address in ["amélie@exämple.org", "ame\u{301}lie@example.org", "हिन्दी@example.org"] {
        assert_eq!(refused(Personal { address, ..good }), None, "{address}");
    }
    for address in [
        "",
        "reader",
        "@example.org",
        "reader@",
        "a@example.org, b@example.org",
        "a@example.org\r\nBcc: b@example.org",
        "a b@example.org",
        "<a@example.org>",
        "\"a\"@example.org",
        "a@exam ple.org",
        "a@example.org\n",
        "a\u{202E}@example.org",
        "a@example.org>",
    ] {
        assert_eq!(refused(Personal { address, ..good }), Some(Error::Unfit("address")), "{address:?}");
    }
    for subscription_token in ["", "a b", "a\"><b", "a\r\nb", "../..", &"a".repeat(61), "é"] {
        assert_eq!(refused(Personal { subscription_token, ..good }), Some(Error::Unfit("token")));
    }
    for message_id in ["", "m@x", "<m>", "<m@x", "<m@x>\r\nX: y", "<m @x>", "<@x>"] {
        assert_eq!(refused(Personal { message_id, ..good }), Some(Error::Unfit("Message-ID")));
    }
}

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn p10_no_address_or_token_ever_ends_its_header(address in "\\PC{0,12}@?\\PC{0,12}|[ -~\r\n]{0,30}", token in "[ -~\r\n]{0,20}") {
        let content = samples::poor("en");
        let prepared = Prepared::new(
            &matinale::mail::Rendered { language: Language::of("en").unwrap(), subject: String::new(), preheader: String::new(), html: String::new(), text: String::new() },
            &content,
        );
        let date = "2026-11-24T06:30:00+00:00[Africa/Abidjan]".parse().unwrap();
        let personal =
            Personal { address: &address, message_id: "<m.a@x.example>", date: &date, subscription_token: &token, consent: &Consent::default() };
        let mut out = Vec::new();
        if prepared.fill(&personal, None, &mut out).is_ok() {
            let text = String::from_utf8(out).unwrap();
            let (headers, _) = text.split_once("\r\n\r\n").unwrap();
            let to: Vec<&str> = headers.split("\r\n").filter(|line| line.starts_with("To: ")).collect();
            prop_assert_eq!(to.len(), 1);
            prop_assert_eq!(to[0].matches('@').count(), 1);
            prop_assert!(!to[0].contains([',', '<', '>', ';', '"']));
        } else {
            prop_assert!(out.is_empty());
        }
    }
}
