//! What sources and editors get wrong on purpose or by accident, one thing at a time: it stays in its place, and the
//! preflight says of it what a person has to know.

use matinale::mail::content::Content;
use matinale::mail::preflight::{Asked, Finding, Weight, check, stops};
use matinale::mail::{Consent, Language, Personal, Prepared, Rendered, render};
use unicode_width::UnicodeWidthStr as _;

use super::samples;

fn made(change: impl FnOnce(&mut Content)) -> (Content, Rendered, Vec<Finding>) {
    let mut content = samples::full("en");
    change(&mut content);
    let language = Language::of("en").unwrap();
    let rendered = render(&content, language).unwrap();
    let findings =
        check(&content, &[(language, &rendered)], &Asked { items: content.items.len(), ..Asked::default() });
    (content, rendered, findings)
}

fn rules(findings: &[Finding]) -> Vec<(&'static str, &str)> {
    findings.iter().map(|finding| (finding.rule, finding.place.as_str())).collect()
}

/// The headers of a mail, each on one line.
fn headers(content: &Content, rendered: &Rendered) -> Vec<String> {
    let date = "2026-11-24T06:30:00+00:00[Africa/Abidjan]".parse().unwrap();
    let personal = Personal {
        address: "reader@example.org",
        message_id: "<m.abc@news.example>",
        date: &date,
        subscription_token: "abcdefghij",
        consent: &Consent::default(),
    };
    let mut out = Vec::new();
    Prepared::new(rendered, content).fill(&personal, None, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let (headers, _) = text.split_once("\r\n\r\n").unwrap();
    headers.replace("\r\n ", " ").split("\r\n").map(ToOwned::to_owned).collect()
}

#[test]
fn x2_a_title_without_a_single_blank_stays_within_its_lines() {
    for title in ["x".repeat(500), "可可豆价格上涨".repeat(70), "مدينة".repeat(100)] {
        let (_, rendered, findings) = made(|content| content.items[1].title.clone_from(&title));
        assert!(!stops(&findings), "{findings:#?}");
        assert_eq!(rules(&findings), [("length", "item 2")]);
        for line in rendered.text.lines().filter(|line| !line.contains("://")) {
            assert!(line.width() <= 72, "{line}");
        }
        assert!(rendered.subject.chars().count() <= 60 && rendered.preheader.chars().count() <= 90);
        // Every program that knows one of the two breaks the word rather than the column.
        assert!(rendered.html.contains("word-break:break-word;"));
        let (_, rendered, findings) = made(|content| content.items[0].title.clone_from(&title));
        assert!(!stops(&findings), "{findings:#?}");
        assert!(rendered.subject.ends_with('…') && rendered.subject.chars().count() <= 60);
    }
}

#[test]
fn h8_a_title_of_emoji_is_told_and_breaks_nothing() {
    let (_, rendered, findings) = made(|content| content.items[0].title = "🌅🌅🌅".into());
    assert_eq!(rules(&findings), [("items", "item 1"), ("H8", "subject")], "{findings:#?}");
    assert_eq!(rendered.subject, "🌅🌅🌅");
    assert!(rendered.text.contains("\n   1. Côte d’Ivoire · economy\n"));
    // Where nothing else names it, the menu does with what there is.
    let (_, rendered, _) = made(|content| {
        content.items[0].title = "🌅🌅🌅".into();
        content.items[0].countries.clear();
        content.items[0].section = None;
    });
    assert!(rendered.text.contains("\n   1. 🌅🌅🌅\n"));
}

#[test]
fn m19_what_has_no_page_of_its_own_is_read_on_ours_and_says_so() {
    let page = "https://news.example/e/matin-en/2026-11-24";
    let (_, rendered, findings) = made(|content| {
        content.items[3].url = page.into();
        content.items[5].url = page.into();
    });
    assert_eq!(findings, []);
    for position in [4, 6] {
        let (_, at) = rendered.text.rsplit_once(&format!("\n{position}. ")).unwrap();
        let link = at.lines().find(|line| line.starts_with("Read")).unwrap();
        assert!(link.starts_with("Read online: "), "{link}");
    }
    // Two items that lead to one page elsewhere are still a mistake.
    let (_, _, findings) = made(|content| content.items[5].url = content.items[3].url.clone());
    assert!(findings.iter().any(|finding| finding.rule == "twice" && finding.weight == Weight::Error));
}

#[test]
fn h1_a_name_with_every_mark_of_a_header_stays_a_name() {
    let name = "\"La\" <Matinale>, (x); a@b.example\r\nBcc: all@example.org";
    let (content, rendered, findings) = made(|content| {
        content.newsletter.name = name.into();
        content.newsletter.from_name = "\"La\" <Matinale>, (x);".into();
    });
    assert!(!stops(&findings), "{findings:#?}");
    let headers = headers(&content, &rendered);
    let of = |begins: &str| {
        let found: Vec<&String> = headers.iter().filter(|line| line.starts_with(begins)).collect();
        assert_eq!(found.len(), 1, "{begins}: {headers:#?}");
        found[0].clone()
    };
    assert_eq!(of("From: "), "From: \"\\\"La\\\" <Matinale>, (x);\" <matin@news.example>");
    assert!(of("List-Id: ").ends_with(" <matin-en.news.example>"));
    assert!(!headers.iter().any(|line| line.starts_with("Bcc")));
    assert!(rendered.html.contains("&#60;Matinale&#62;"));
    assert!(!rendered.html.contains("<Matinale>"));
}

#[test]
fn m18_pictures_links_and_a_partner_that_are_none_leave_nothing_behind() {
    let (_, rendered, _) = made(|content| {
        content.items[0].image.as_mut().unwrap().url = "javascript:alert(1)".into();
        content.items[3].image.as_mut().unwrap().url = "//x".into();
        content.sponsor.as_mut().unwrap().url = "javascript:alert(1)".into();
    });
    assert!(!rendered.html.contains("<img") && !rendered.html.contains("javascript:"));
    assert!(!rendered.html.contains("href=\"\"") && !rendered.html.contains("rel=\"sponsored\""));
    assert!(rendered.html.contains("Hillside Coffee"), "the message itself is there");
}

#[test]
fn l3_two_titles_that_run_different_ways_keep_their_own_order_in_the_first_line() {
    let (_, rendered, _) = made(|content| {
        content.items[1].title = "مدينة طرابلس (Tripoli) تستقبل 3 وفود".into();
        content.items[2].title = "Line two".into();
    });
    assert!(
        rendered.html.contains("<bdi>مدينة طرابلس (Tripoli) تستقبل 3 وفود</bdi>&nbsp;· <bdi>Line two</bdi>"),
        "{}",
        rendered.html
    );
}
