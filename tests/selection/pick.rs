//! The promises of the single rules of the pick, each on a pool of its own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use matinale::articles::{Article, ArticleId, Lifetime};
use matinale::config::Limit;
use matinale::config::selection::{Seat, Theme};
use matinale::selection::stories::{self, Piece};
use matinale::selection::{self, Bar, Candidate, Given, Proposal, Ran, Settings, Standing};

pub(super) fn cut_off() -> Timestamp {
    "2026-11-25T05:00:00Z".parse().unwrap()
}

/// An article of so many hours before the lock.
pub(super) fn article(id: i64, title: &str, hours: i64) -> Article {
    let at = cut_off().checked_sub(SignedDuration::from_hours(hours)).unwrap();
    Article {
        id: ArticleId(id),
        summary: format!("{title}."),
        language: Some("fr".to_owned()),
        source: format!("Source {}", id % 97),
        ..Article::new(&format!("https://press.example/{id:04}"), title, at)
    }
}

/// A title of words that no other number has.
pub(super) fn title(number: i64) -> String {
    let mut seed = u64::try_from(number).unwrap().wrapping_mul(7919) ^ 0x5bd1;
    let mut word = || {
        let mut out = String::new();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            out.push(char::from(b'a' + u8::try_from((seed >> 33) % 26).unwrap()));
        }
        out
    };
    format!("{} {} {} {}", word(), word(), word(), word())
}

pub(super) fn propose(articles: &[Article], standing: &Standing, settings: &Settings) -> Proposal {
    selection::propose(articles, &[], standing, settings, cut_off())
}

pub(super) fn all(proposal: &Proposal) -> impl Iterator<Item = &Candidate> {
    proposal.chosen.iter().chain(&proposal.reserves).chain(&proposal.left_out)
}

pub(super) const COUNTRIES: [&str; 6] = ["SN", "ML", "CI", "KE", "MA", "FR"];
pub(super) const SECTIONS: [&str; 4] = ["politique", "économie", "sport", "culture"];

pub(super) fn ran_before(article: &Article, age: usize) -> Ran {
    Ran {
        age,
        story: String::new(),
        article: article.id.0,
        title: article.title.clone(),
        lead: article.summary.clone(),
        language: article.language.clone(),
    }
}

/// A pool of ten of one country and ten of others, the first ones the fresher.
fn mixed() -> Vec<Article> {
    (0..20)
        .map(|id| {
            let mut article = article(id, &title(id), id);
            let country = if id < 10 { "SN" } else { COUNTRIES[1 + usize::try_from(id).unwrap() % 5] };
            article.countries = vec![country.to_owned()];
            article.section = Some(SECTIONS[usize::try_from(id).unwrap() % 4].to_owned());
            article
        })
        .collect()
}

#[test]
fn p7_what_was_left_out_is_told_with_numbers_in_the_editors_language() {
    for (language, expected) in [
        ("en", "not taken: 4th of Senegal; 350 points, "),
        ("fr", "non retenu : 4e sujet Sénégal ; 350 points, il en fallait "),
        ("pt", "não escolhido: 4.ª notícia de Senegal; 350 points"),
        ("ar", "لم يُختر: رقم 4 في السنغال؛ 350 نقطة، والمطلوب "),
    ] {
        let settings = Settings { language: language.to_owned(), ..Settings::default() };
        let proposal = propose(&mixed(), &Standing::default(), &settings);
        let fourth = all(&proposal).find(|candidate| candidate.article.0 == 3).unwrap();
        let stopped = fourth.stopped.as_ref().unwrap();
        assert_eq!(stopped.by, Bar::Country, "{stopped:?}");
        let expected = expected.replace("350", &fourth.points.to_string()).replace(" points\"", " pontos");
        let expected = if language == "pt" { expected.replace("points", "pontos") } else { expected };
        assert!(stopped.words.starts_with(&expected), "{} / {expected}", stopped.words);
        assert!(stopped.words.contains(&stopped.needed.unwrap().to_string()), "{stopped:?}");
    }
}

#[test]
fn limits_give_way_in_the_written_order_and_only_those_named() {
    let mut articles = mixed();
    articles.truncate(10);
    let mut settings = Settings { items: 6, ..Settings::default() };
    let proposal = propose(&articles, &Standing::default(), &settings);
    assert_eq!(proposal.chosen.len(), 6);
    let told: Vec<&str> = proposal.relaxed.iter().map(|relaxed| relaxed.words.as_str()).collect();
    assert_eq!(told, ["Senegal: 6 instead of 3, there was nothing else"]);
    settings.rules.limits.relax = vec![Limit::Section, Limit::Source];
    let proposal = propose(&articles, &Standing::default(), &settings);
    assert_eq!(
        (proposal.chosen.len(), proposal.relaxed.len()),
        (3, 0),
        "a limit that is not listed never gives way"
    );
}

#[test]
fn a_seat_takes_the_weakest_that_no_other_seat_needs() {
    let mut articles = mixed();
    articles[19].section = Some("Économie".to_owned());
    for article in &mut articles[..19] {
        article.section = None;
    }
    let mut settings = Settings::default();
    let without = propose(&articles, &Standing::default(), &settings);
    let seat = Seat { at_least: 1, sections: vec!["économie".to_owned()], ..Seat::default() };
    settings.rules.seats = BTreeMap::from([("eco".to_owned(), seat)]);
    let with = propose(&articles, &Standing::default(), &settings);
    let ids =
        |proposal: &Proposal| -> BTreeSet<i64> { proposal.chosen.iter().map(|one| one.article.0).collect() };
    let gone: Vec<i64> = ids(&without).difference(&ids(&with)).copied().collect();
    let weakest = without.chosen.iter().min_by_key(|one| one.points).unwrap();
    assert_eq!((gone, ids(&with).contains(&19)), (vec![weakest.article.0], true));
    let told = all(&with).find(|one| one.article == weakest.article).unwrap().stopped.clone().unwrap();
    assert_eq!((told.by, told.words.as_str()), (Bar::Seat, "not taken: made room for the seat “eco”"));
    // Where nobody can take it, that is said.
    articles.truncate(19);
    let empty = propose(&articles, &Standing::default(), &settings);
    assert_eq!(empty.relaxed[0].words, "seat “eco”: 0 of 1, nothing could take it");
}

#[test]
fn what_is_nearly_the_same_comes_in_only_where_nothing_else_is_left() {
    let mut articles = mixed();
    articles.iter_mut().for_each(|article| article.countries.clear());
    // Another report days later of the very same: no longer one story, and as like as can be.
    let first = articles[0].title.clone();
    articles[1].title = format!("{first} encore");
    articles[1].summary = format!("{first}.");
    let settings = Settings { items: 3, ..Settings::default() };
    let proposal = propose(&articles, &Standing::default(), &settings);
    let told = all(&proposal).find(|one| one.article.0 == 1).unwrap().stopped.clone().unwrap();
    assert!(matches!(told.by, Bar::Story | Bar::Alike), "{told:?}");
    assert!(told.words.contains(&first), "{told:?}");
}

/// The points of one term of one candidate.
fn term(proposal: &Proposal, id: i64, term: &str) -> (i64, String) {
    all(proposal)
        .find(|one| one.article.0 == id)
        .and_then(|one| one.reasons.iter().find(|reason| reason.term == term))
        .map(|reason| (reason.points, reason.words.clone()))
        .unwrap_or_default()
}

#[test]
fn values_and_lifetimes_come_from_editors_then_articles_then_tables() {
    let mut settings = Settings::default();
    let rules = &mut settings.rules;
    rules.value.sections.insert("Sport".to_owned(), 1);
    rules.value.authors.insert("Awa Diop".to_owned(), 4);
    rules.lifetime.sources.insert("Revue".to_owned(), "long".to_owned());
    let mut articles: Vec<Article> = (0..5).map(|id| article(id, &title(id), 18)).collect();
    articles[1].section = Some("sport".to_owned());
    articles[2].section = Some("sport".to_owned());
    articles[2].author = Some("AWA DIOP".to_owned());
    articles[3].author = Some("Awa Diop".to_owned());
    articles[3].value = Some(2);
    articles[4].source = "revue".to_owned();
    let mut standing = Standing::default();
    let proposal = propose(&articles, &standing, &settings);
    let values: Vec<i64> = (0..5).map(|id| term(&proposal, id, "value").0).collect();
    assert_eq!(values, [100, 0, 300, 100, 100]);
    assert_eq!(term(&proposal, 2, "value").1, "news value 4 of 5, as AWA DIOP has it");
    assert_eq!((term(&proposal, 0, "freshness").0, term(&proposal, 4, "freshness").0), (125, 192));
    standing.given.insert(ArticleId(1), Given { value: Some(5), lifetime: Some(Lifetime::Short) });
    let proposal = propose(&articles, &standing, &settings);
    assert_eq!(term(&proposal, 1, "value"), (400, "news value 5 of 5".to_owned()));
    assert_eq!(term(&proposal, 1, "freshness"), (31, "18 h before the lock, short-lived".to_owned()));
}

#[test]
fn sources_of_one_owner_count_once_and_ones_own_newsroom_counts_more() {
    let words = title(1);
    let mut articles: Vec<Article> = (0..4).map(|id| article(id, &words, 2)).collect();
    for (article, source) in articles.iter_mut().zip(["Gazette", "Radio", "Agence", "gazette"]) {
        source.clone_into(&mut article.source);
    }
    // Others beside, for what stands in every article says nothing.
    articles.extend((10..20).map(|id| article(id, &title(id), 2)));
    let mut settings = Settings::default();
    let alone = propose(&articles, &Standing::default(), &settings);
    assert_eq!(term(&alone, 0, "coverage"), (81, "independent sources: 3".to_owned()));
    settings.rules.source.owners.insert("Radio".to_owned(), "Groupe".to_owned());
    settings.rules.source.owners.insert("Gazette".to_owned(), "Groupe".to_owned());
    settings.rules.source.own = vec!["Gazette".to_owned()];
    settings.rules.source.points.insert("GAZETTE".to_owned(), 30);
    let owned = propose(&articles, &Standing::default(), &settings);
    assert_eq!(term(&owned, 0, "coverage"), (64, "independent sources: 2".to_owned()));
    assert_eq!(term(&owned, 0, "source"), (80, "Gazette, our own newsroom".to_owned()));
    let story = all(&owned).find(|one| one.article.0 == 0).unwrap().story.clone();
    let first = owned.chosen.iter().find(|one| one.story == story).unwrap();
    assert_eq!(first.source, "Gazette", "one's own report stands for the story");
}

#[test]
fn the_newsrooms_priorities_are_countries_and_themes() {
    let mut settings = Settings::default();
    settings.rules.priority.countries.insert("ML".to_owned(), 60);
    let theme = Theme { points: 80, words: vec!["élection*".to_owned(), "bureau de vote".to_owned()] };
    settings.rules.priority.themes.insert("scrutins".to_owned(), theme);
    let mut articles: Vec<Article> = (0..4).map(|id| article(id, &title(id), 2)).collect();
    articles[0].countries = vec!["FR".to_owned(), "ML".to_owned()];
    articles[1].title = "Les ÉLECTIONS communales reportées".to_owned();
    articles[2].title = "Un bureau du vote".to_owned();
    articles[2].tags = vec!["Bureau de vote".to_owned()];
    let proposal = propose(&articles, &Standing::default(), &settings);
    assert_eq!(term(&proposal, 0, "priority"), (60, "priority: Mali".to_owned()));
    assert_eq!(term(&proposal, 1, "priority"), (80, "priority: scrutins".to_owned()));
    assert_eq!((term(&proposal, 2, "priority").0, term(&proposal, 3, "priority").0), (80, 0));
}

#[test]
fn what_ran_costs_less_the_longer_ago_and_half_where_it_has_a_way_back() {
    let mut articles: Vec<Article> = (0..3).map(|id| article(id, &title(id), 2)).collect();
    articles[0].value = Some(3);
    let ran = [ran_before(&articles[0], 1), ran_before(&articles[1], 3)];
    let settings = Settings::default();
    let mut standing = Standing::default();
    let proposal = selection::propose(&articles, &ran, &standing, &settings, cut_off());
    assert_eq!(term(&proposal, 0, "seen"), (-400, "ran 1 ed. ago, 100 % alike".to_owned()));
    assert_eq!((term(&proposal, 1, "seen").0, term(&proposal, 2, "seen").0), (-160, 0));
    standing.given.insert(ArticleId(0), Given { value: Some(3), lifetime: None });
    let again = selection::propose(&articles, &ran, &standing, &settings, cut_off());
    assert_eq!(term(&again, 0, "seen"), (-200, "ran 1 ed. ago, 100 % alike; value given again".to_owned()));
}

#[test]
fn poor_copy_costs_no_more_than_the_newsletter_says() {
    let mut settings = Settings::default();
    settings.rules.copy.paywall = 70;
    let mut articles: Vec<Article> = (0..3).map(|id| article(id, &title(id), 2)).collect();
    articles[0].summary.clear();
    articles[0].body = "Un texte.".to_owned();
    articles[1].title = format!("Vous ne devinerez jamais : {}", articles[1].title);
    articles[1].tags = vec!["Premium".to_owned()];
    articles[2].title = format!("{} [Abonnés]", articles[2].title);
    let proposal = propose(&articles, &Standing::default(), &settings);
    assert_eq!(term(&proposal, 0, "copy"), (-30, "no standfirst".to_owned()));
    assert_eq!(term(&proposal, 1, "copy"), (-100, "title that baits, behind a paywall".to_owned()));
    assert_eq!(term(&proposal, 2, "copy"), (-70, "behind a paywall".to_owned()));
}

#[test]
fn p7_after_a_swap_for_a_seat_no_reason_speaks_of_who_is_gone() {
    // Four of the first story stand behind the weakest of the line-up, which makes room for the economy.
    let mut articles = mixed();
    articles.iter_mut().for_each(|article| article.countries.clear());
    for article in &mut articles {
        article.section = None;
    }
    articles[19].section = Some("économie".to_owned());
    let weakest = articles[9].title.clone();
    for id in 20..23 {
        let mut mate = article(id, &weakest, 30);
        mate.source = format!("Source {}", id + 50);
        articles.push(mate);
    }
    let mut settings = Settings { items: 10, ..Settings::default() };
    let seat = Seat { at_least: 1, sections: vec!["économie".to_owned()], ..Seat::default() };
    settings.rules.seats = BTreeMap::from([("eco".to_owned(), seat)]);
    let proposal = propose(&articles, &Standing::default(), &settings);
    let titles: Vec<&str> = proposal.chosen.iter().map(|one| one.title.as_str()).collect();
    let left: Vec<&Candidate> = proposal.reserves.iter().chain(&proposal.left_out).collect();
    assert!(left.iter().any(|one| one.stopped.as_ref().unwrap().by == Bar::Seat), "{left:?}");
    for candidate in left {
        let stopped = candidate.stopped.as_ref().unwrap();
        assert!(!stopped.words.contains("“”"), "{stopped:?}");
        if stopped.by == Bar::Story {
            assert!(titles.iter().any(|title| stopped.words.contains(title)), "{stopped:?}");
        }
    }
}

#[test]
fn the_lead_of_a_story_runs_where_its_reports_are_worth_the_same() {
    let titles = [
        "Kampala : le marché d’Owino ravagé par un incendie, les pompiers mis en cause",
        "Incendie au marché d’Owino à Kampala",
        "Un incendie ravage le marché d’Owino à Kampala",
    ];
    let mut articles: Vec<Article> = (0..20).map(|id| article(id, &title(id + 100), 3)).collect();
    for (id, title) in (50..).zip(titles) {
        let mut report = article(id, title, 2);
        report.summary = "Un texte.".to_owned();
        // The last ones come a few minutes later, which is worth no point.
        let at = report.published_at.unwrap();
        report.published_at = at.checked_add(SignedDuration::from_mins((52 - id) * 3)).ok();
        articles.push(report);
    }
    let settings = Settings::default();
    let proposal = propose(&articles, &Standing::default(), &settings);
    let runs: Vec<i64> = proposal.chosen.iter().map(|one| one.article.0).filter(|id| *id >= 50).collect();
    let pieces: Vec<Piece<'_>> = articles
        .iter()
        .map(|article| Piece {
            key: &article.url,
            title: &article.title,
            lead: selection::lead(article),
            language: article.language.as_deref(),
            at: article.dated().as_millisecond(),
        })
        .collect();
    let lead = stories::find(&pieces).lead[20];
    assert_eq!(runs, [articles[lead].id.0], "{:?}", proposal.chosen);
}

#[test]
fn a_line_up_that_is_too_short_says_so_in_the_editors_language() {
    for (language, expected) in [
        ("fr", "places pourvues : 3 sur 10, rien d’autre ne peut entrer"),
        ("en", "places filled: 3 of 10, nothing else may come in"),
    ] {
        let settings = Settings { language: language.to_owned(), ..Settings::default() };
        let proposal = propose(&mixed()[..3], &Standing::default(), &settings);
        assert_eq!(proposal.short.as_deref(), Some(expected));
    }
    assert_eq!(propose(&mixed(), &Standing::default(), &Settings::default()).short, None);
}

#[test]
fn reserves_drawn_by_lot_are_marked_and_points_add_up_all_the_same() {
    let articles: Vec<Article> = (0..40).map(|id| article(id, &title(id), id)).collect();
    let drawn = |lots| {
        let settings = Settings { lots, language: "fr".to_owned(), ..Settings::default() };
        propose(&articles, &Standing::default(), &settings)
    };
    let (without, with) = (drawn(None), drawn(Some(11)));
    assert_eq!(without.chosen, with.chosen, "a draw is for the reserves alone");
    let marked: Vec<&Candidate> =
        with.reserves.iter().filter(|one| selection::is_drawn(&one.reasons)).collect();
    assert_eq!((with.reserves.len(), marked.len()), (10, 2));
    for one in marked {
        assert_eq!(one.points, one.reasons.iter().map(|reason| reason.points).sum::<i64>());
        assert_eq!(one.reasons.last().unwrap().words, "tiré au sort");
    }
    assert!(all(&without).all(|one| !selection::is_drawn(&one.reasons)));
    assert_eq!(all(&with).count(), 40);
}

#[test]
fn what_is_in_by_another_report_stands_ready_for_nothing() {
    // One newspaper has every story first; others have them too, and its limit lets those in.
    let mut articles = Vec::new();
    for id in 0..14 {
        let mut first = article(id, &title(id), 2);
        first.source = "Gazette".to_owned();
        let mut second = article(id + 100, &title(id), 3);
        second.source = format!("Source {id}");
        articles.extend([first, second]);
    }
    let proposal = propose(&articles, &Standing::default(), &Settings::default());
    let stories: Vec<&str> = proposal.chosen.iter().map(|one| one.story.as_str()).collect();
    assert!(proposal.chosen.iter().any(|one| one.source != "Gazette"), "{stories:?}");
    for candidate in proposal.reserves.iter().chain(&proposal.left_out) {
        let in_already = stories.contains(&candidate.story.as_str());
        let stopped = candidate.stopped.as_ref().unwrap();
        assert_eq!(in_already, stopped.by == Bar::Story, "{stopped:?}");
    }
    assert_eq!(proposal.reserves.len(), 4, "one report of each story that is not in");
    assert!(proposal.reserves.iter().all(|one| !stories.contains(&one.story.as_str())));
}
