//! Preflight: nothing to say of a good day, and every rule with its place when it is broken.

use matinale::mail::content::{Content, Sponsor};
use matinale::mail::preflight::{Asked, Finding, Ran, Weight, check, stops};
use matinale::mail::{Language, Rendered, render};

use super::samples;

fn found_with(content: &Content, asked: &Asked<'_>) -> Vec<Finding> {
    let language = Language::of(&content.newsletter.language).unwrap();
    let rendered = render(content, language).unwrap();
    check(content, &[(language, &rendered)], asked)
}

fn found(content: &Content) -> Vec<Finding> {
    found_with(content, &Asked { items: content.items.len(), ..Asked::default() })
}

/// What is found after this change, and was not before.
fn after(change: impl FnOnce(&mut Content)) -> Vec<Finding> {
    let before = found(&samples::full("en"));
    let mut content = samples::full("en");
    change(&mut content);
    found(&content).into_iter().filter(|finding| !before.contains(finding)).collect()
}

fn told(change: impl FnOnce(&mut Content), rule: &str, place: &str, weight: Weight) {
    let findings = after(change);
    assert!(
        findings.iter().any(|f| f.rule == rule && f.place.starts_with(place) && f.weight == weight),
        "{rule} at {place}: {findings:#?}"
    );
}

#[test]
fn a_good_day_has_nothing_to_be_told_in_any_language() {
    for language in samples::LANGUAGES {
        let findings = found(&samples::full(language));
        assert_eq!(findings, [], "{language}");
    }
}

#[test]
fn a_poor_or_ugly_day_goes_out_unless_it_harms_somebody() {
    for language in samples::LANGUAGES {
        assert!(!stops(&found(&samples::poor(language))), "{:#?}", found(&samples::poor(language)));
        let ugly = found(&samples::ugly(language));
        let errors: Vec<String> =
            ugly.iter().filter(|f| f.weight == Weight::Error).map(ToString::to_string).collect();
        assert!(
            errors.iter().any(|error| error.contains("item 10") && error.contains("no page")),
            "{errors:#?}"
        );
        assert!(errors.iter().any(|error| error.contains("item 9: has no title")), "{errors:#?}");
    }
}

#[test]
fn every_broken_rule_is_told_with_its_place() {
    use Weight::{Error, Warning};
    told(|c| c.items.clear(), "items", "line-up", Error);
    told(|c| c.items.iter_mut().for_each(|i| i.source = "One".into()), "mix", "line-up", Warning);
    told(|c| c.items.iter_mut().for_each(|i| i.summary = "word ".repeat(130)), "length", "line-up", Warning);
    told(|c| c.items[3].summary.push_str(" He said “no"), "typography", "item 4", Warning);
    told(|c| c.figure.as_mut().unwrap().text = "as of 23 November".into(), "leftover", "figure", Warning);
    told(|c| c.newsletter.list_id = "matin.elsewhere.example".into(), "H5", "list_id", Warning);
    told(|c| c.items[3].title.clear(), "items", "item 4", Error);
    told(|c| c.items[3].summary.clear(), "items", "item 4", Warning);
    told(|c| c.items[3].source.clear(), "source", "item 4", Warning);
    told(|c| c.items[3].url = c.items[1].url.clone(), "twice", "item 4", Error);
    told(|c| c.items[3].title = format!("{}!", c.items[1].title), "twice", "item 4", Warning);
    told(|c| c.items[3].countries = c.items[2].countries.clone(), "mix", "item 4", Warning);
    told(|c| c.items[3].title = "long ".repeat(40), "length", "item 4", Warning);
    told(|c| c.items[3].summary = "long ".repeat(90), "length", "item 4", Warning);
    told(|c| c.items[3].summary = "TODO: ask the ministry".into(), "leftover", "item 4", Error);
    told(|c| c.items[3].summary = "Lorem ipsum dolor".into(), "leftover", "item 4", Error);
    told(|c| c.items[3].url = "http://203.0.113.7/x".into(), "M19", "item 4", Error);
    told(|c| c.items[3].source = "www.kivu.example".into(), "M19", "item 4", Warning);
    told(
        |c| {
            c.items[3].url = format!("{}/e/{}/{}#4", c.newsletter.public_url, c.newsletter.id, c.date);
            c.items[3].title = "What www.bank.example knew".into();
        },
        "M19",
        "link",
        Warning,
    );
    told(|c| c.items[3].url = "https://bit.ly/x".into(), "M19", "item 4", Warning);
    told(|c| c.items[3].url = "https://a.example:8443/x".into(), "M19", "item 4", Warning);
    told(|c| c.agenda[0].text = "Cabinet meets on 23 November".into(), "leftover", "agenda", Warning);
    told(|c| c.agenda[0].text.clear(), "leftover", "agenda", Warning);
    told(|c| c.opening.as_mut().unwrap().signature.clear(), "opening", "opening", Warning);
    told(|c| c.opening.as_mut().unwrap().text = "word ".repeat(60), "length", "opening", Warning);
    told(|c| c.subject = "Re: your cocoa".into(), "H8", "subject", Error);
    told(|c| c.subject = "THE PRICE OF COCOA IS UP".into(), "H8", "subject", Warning);
    told(|c| c.subject = "Cocoa 🚀".into(), "H8", "subject", Warning);
    told(|c| c.subject = "Cocoa and what it costs ".repeat(4), "H8", "subject", Warning);
    told(|c| c.subject = "Hillside Coffee and cocoa".into(), "sponsor", "subject", Error);
    told(|c| c.preheader = "Short.".into(), "preheader", "preheader", Warning);
    told(|c| c.newsletter.from_name = "🌅 Morning".into(), "H8", "from", Error);
    told(|c| c.newsletter.list_id = "no list".into(), "H5", "list_id", Error);
    told(|c| c.newsletter.publisher.clear(), "footer", "publisher", Warning);
    told(|c| c.newsletter.theme.light.accent = "#FFB27A".parse().unwrap(), "M5", "theme.light.accent", Error);
    told(|c| c.newsletter.theme.dark.muted = "#202020".parse().unwrap(), "M5", "theme.dark.muted", Error);
    told(|c| c.newsletter.public_url = "http://news.example".into(), "M19", "web.public_url", Warning);
    told(
        |c| c.items[0].image.as_mut().unwrap().url = "https://a.example/x.webp".into(),
        "M14",
        "pictures",
        Error,
    );
    told(|c| c.items[3].image.as_mut().unwrap().bytes = Some(130_000), "M14", "pictures", Warning);
    told(|c| c.items[0].image.as_mut().unwrap().alt.clear(), "M7", "pictures", Warning);
    told(|c| c.items[3].summary = "word ".repeat(40_000), "M13", "HTML", Error);
    told(|c| c.items[3].summary = "word ".repeat(10_000), "M13", "HTML", Warning);
    told(
        |c| {
            let url = "https://coffee.example/".to_owned();
            let link_text = "click here".to_owned();
            c.sponsor = Some(Sponsor { name: "Bank".into(), text: "Saves.".into(), url, link_text });
        },
        "M4",
        "link",
        Error,
    );
    told(
        |c| c.sponsor.as_mut().unwrap().link_text = "Log in at www.bank.example".into(),
        "M19",
        "link",
        Error,
    );
}

#[test]
fn what_ran_before_and_the_newsroom_s_own_words_are_found() {
    let content = samples::full("fr");
    let before = [Ran {
        date: "2026-11-23".parse().unwrap(),
        url: "https://elsewhere.example/".to_owned(),
        title: "Le Maroc stocke la chaleur du soleil".to_owned(),
    }];
    let avoid = ["fonctionnaires".to_owned(), "porte à porte".to_owned(), "cacaotier".to_owned()];
    let asked = Asked { items: 12, avoid: &avoid, before: &before, last: None };
    let told: Vec<String> = found_with(&content, &asked).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "warning: line-up: 10 items instead of 12 [items]",
            "warning: item 3: was in the edition of 2026-11-23: \"Le Maroc stocke la chaleur du soleil\" [twice]",
            "warning: item 5: \"fonctionnaires\" is on the newsroom's list: say it otherwise [avoid]",
            "warning: item 4: \"porte à porte\" is on the newsroom's list: say it otherwise [avoid]",
        ]
    );
}

#[test]
fn h5_h8_what_filters_know_a_newsletter_by_does_not_change_unseen() {
    let content = samples::full("en");
    let mut last = content.newsletter.clone();
    assert_eq!(found_with(&content, &Asked { items: 10, last: Some(&last), ..Asked::default() }), []);
    last.list_id = "morning.news.example".to_owned();
    last.from_name = "Kofi of The Morning".to_owned();
    let found = found_with(&content, &Asked { items: 10, last: Some(&last), ..Asked::default() });
    let rules: Vec<_> = found.iter().map(|finding| (finding.rule, finding.place.as_str())).collect();
    assert_eq!(rules, [("H5", "list_id"), ("H8", "from")]);
}

#[test]
fn a_template_that_breaks_a_rule_is_found_too() {
    let content = samples::full("en");
    let language = Language::of("en").unwrap();
    let good = render(&content, language).unwrap();
    let broken = |from: &str, to: &str| {
        assert!(good.html.contains(from), "{from}");
        let rendered = Rendered { html: good.html.replacen(from, to, 1), ..good.clone() };
        let findings = check(&content, &[(language, &rendered)], &Asked { items: 10, ..Asked::default() });
        findings.first().map_or("", |finding| finding.rule)
    };
    assert_eq!(broken("<html lang=\"en\"", "<html"), "M1");
    assert_eq!(broken("<div role=\"main\" lang=\"en\" dir=\"ltr\"", "<div role=\"main\" lang=\"en\""), "M1");
    assert_eq!(broken("<table role=\"presentation\" style", "<table style"), "M2");
    assert_eq!(broken("<h2 ", "<h3 "), "M3");
    assert_eq!(broken("text-decoration:underline", "text-decoration:none"), "M6");
    assert_eq!(broken("<title>", "<title>Not "), "M8");
    assert_eq!(broken("initial-scale=1", "initial-scale=1,user-scalable=no"), "M9");
    assert_eq!(broken("display:block;", "display:flex;"), "M11");
    assert_eq!(broken("prefers-color-scheme: dark", "prefers-color-scheme: light"), "M12");
    assert_eq!(broken("max-width:600px", "max-width:900px"), "M11");
    assert_eq!(broken("<!--[if mso]>", "<!--[if true]>"), "M16");
    assert_eq!(broken("<h1 ", "<h1 onclick=\"x()\" "), "M17");
    assert_eq!(broken("<h1 ", "<h1 hidden=\"\" "), "M18");
    assert_eq!(broken("initial-scale=1", "initial-scale=1,maximum-scale=1"), "M9");
    assert_eq!(broken("width=\"536\"", "width=\"536\" height=\"300\""), "M15");
    assert_eq!(broken("<h1 ", "<form></form><h1 "), "M17");
    assert_eq!(
        broken("<p class=\"muted line\" style=\"", "<p class=\"muted line\" style=\"display:none;"),
        "M18"
    );
    let text = Rendered { text: good.text.replacen("2. ", "2. Not ", 2), ..good.clone() };
    assert!(!stops(&check(&content, &[(language, &text)], &Asked::default())), "a word more is no harm");
    let text = Rendered { text: good.text.replace("Goma opens", "Goma shuts"), ..good.clone() };
    assert_eq!(check(&content, &[(language, &text)], &Asked { items: 10, ..Asked::default() })[0].rule, "X1");
    for gone in ["https://source5.example/", "Example Press, 1 Harbour Street, Accra"] {
        let text = Rendered { text: good.text.replace(gone, "gone"), ..good.clone() };
        let found = check(&content, &[(language, &text)], &Asked { items: 10, ..Asked::default() });
        assert_eq!(found[0].rule, "X1", "{gone}");
    }
    let text = Rendered { text: good.text.replace("/u/", "/x/"), ..good.clone() };
    assert_eq!(check(&content, &[(language, &text)], &Asked { items: 10, ..Asked::default() })[0].rule, "X1");
}
