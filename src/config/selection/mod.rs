//! `[newsletter.NAME.selection]`: what a candidate's points are made of, the limits of a line-up, and its seats.
//!
//! Plain numbers and tables, checked when they are read; what each does to a candidate is the room `selection`'s
//! matter. Names of sections, sources and authors are compared without regard to case. The defaults here and in
//! `config/default.toml` are the same, and a test holds them to it.

mod limits;
mod tables;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

pub use limits::{Limit, Limits};
pub use tables::{Priorities, Seat, Sources, Theme, Usual};

use super::reader::Section;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How a newsletter chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Articles from so long before the last lock are taken as well: they had no fair chance in it.
    pub overlap: Duration,
    /// Before the first edition, articles of so long are taken.
    pub first_window: Duration,
    /// What each term gives.
    pub points: Points,
    /// How fast freshness fades.
    pub half_life: HalfLives,
    /// What having run costs.
    pub seen: Seen,
    /// What poor copy costs.
    pub copy: Copy,
    /// The news value where nobody gave one, 1 to 5.
    pub value: Usual<i64>,
    /// The lifetime where nobody gave one: `short`, `medium` or `long`.
    pub lifetime: Usual<String>,
    /// What sources are worth, and whose they are.
    pub source: Sources,
    /// What the newsroom wants in front.
    pub priority: Priorities,
    /// The mix.
    pub limits: Limits,
    /// What must be present, by name.
    pub seats: BTreeMap<String, Seat>,
    /// How it learns from the editors.
    pub learning: Learning,
}

/// How a newsletter learns from its editors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Learning {
    /// On so many days of a hundred two of the reserves are drawn by lot.
    pub lot_days: u32,
}

/// What each term gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Points {
    /// For each step of the news value above 1.
    pub value: i64,
    /// For an article of the moment of the lock.
    pub freshness: i64,
    /// For a story that `coverage_full` sources report.
    pub coverage: i64,
    /// So many independent sources earn all of it.
    pub coverage_full: i64,
    /// A source counts whole whose report is so like, in percent; one that is less like, its part of it.
    pub coverage_sure: i64,
    /// For an article of one's own newsroom.
    pub own_newsroom: i64,
}

/// How fast freshness fades, by lifetime, in minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HalfLives {
    /// Of news of the hour.
    pub short: i64,
    /// Of most.
    pub medium: i64,
    /// Of what is worth reading for days.
    pub long: i64,
}

/// What having run costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// For the very same thing in the last edition.
    pub points: i64,
    /// Percent of it, by how many editions ago: the first for the last one.
    pub by_age: Vec<i64>,
    /// With so many percent of new names and numbers in the lead, it is a new turn of the story.
    pub new_turn: i64,
    /// Then, or where an editor gave a value again, so many percent of it are forgiven.
    pub forgiven: i64,
}

/// What poor copy costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// At most so much in all.
    pub most: i64,
    /// Without any text.
    pub no_text: i64,
    /// Without a standfirst.
    pub no_standfirst: i64,
    /// With a title that baits.
    pub clickbait: i64,
    /// Behind a paywall, where that is barred.
    pub paywall: i64,
    /// Tags, or words at a title's end in brackets, that say so.
    pub paywall_marks: Vec<String>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            overlap: 12 * HOUR,
            first_window: 30 * DAY,
            points: Points {
                value: 100,
                freshness: 250,
                coverage: 150,
                coverage_full: 12,
                coverage_sure: 20,
                own_newsroom: 50,
            },
            half_life: HalfLives { short: 6 * 60, medium: 18 * 60, long: 48 * 60 },
            seen: Seen { points: 400, by_age: vec![100, 70, 40], new_turn: 30, forgiven: 50 },
            copy: Copy {
                most: 100,
                no_text: 100,
                no_standfirst: 30,
                clickbait: 60,
                paywall: 0,
                paywall_marks: ["paywall", "premium", "subscribers", "abonnés", "assinantes", "للمشتركين"]
                    .map(str::to_owned)
                    .to_vec(),
            },
            value: Usual::of(2),
            lifetime: Usual::of("medium".to_owned()),
            source: Sources::default(),
            priority: Priorities::default(),
            limits: Limits {
                country: 3,
                section: 4,
                source: 3,
                alike: 35,
                balance: 70,
                relax: Limit::ALL.to_vec(),
            },
            seats: BTreeMap::new(),
            learning: Learning { lot_days: 33 },
        }
    }
}

impl Selection {
    /// Reads the table; `items` is how many an edition has.
    pub(super) fn read(section: &Section, items: u32, admitted: &[String]) -> Self {
        let usual = Self::default();
        let length = |key: &str, otherwise: Duration| {
            let read = section.duration(key).unwrap_or(otherwise);
            if read > 365 * DAY {
                section.fault(key, "is more than a year");
            }
            read
        };
        let seats = section.section("seats");
        Self {
            overlap: length("overlap", usual.overlap),
            first_window: length("first_window", usual.first_window),
            points: Points::read(&section.section("points"), &usual.points),
            half_life: HalfLives::read(&section.section("half_life"), &usual.half_life),
            seen: Seen::read(&section.section("seen"), &usual.seen),
            copy: Copy::read(&section.section("copy"), usual.copy),
            value: Usual::read(&section.section("value"), &usual.value, |section, key| {
                section.number(key, 1..=5)
            }),
            lifetime: Usual::read(&section.section("lifetime"), &usual.lifetime, |section, key| {
                section.parse(key, lifetime)
            }),
            source: Sources::read(&section.section("source")),
            priority: Priorities::read(&section.section("priority")),
            limits: Limits::read(&section.section("limits"), usual.limits),
            seats: seats
                .keys()
                .into_iter()
                .filter_map(|name| Some((name.clone(), Seat::read(&seats.section(&name), items, admitted)?)))
                .collect(),
            learning: Learning::read(&section.section("learning"), &usual.learning),
        }
    }
}

/// The most that any one term can be set to.
const MOST_POINTS: i64 = 1000;

fn points(section: &Section, key: &str, otherwise: i64) -> i64 {
    section.number(key, 0..=MOST_POINTS).unwrap_or(otherwise)
}

fn percent(section: &Section, key: &str, otherwise: i64) -> i64 {
    section.number(key, 0..=100).unwrap_or(otherwise)
}

impl Points {
    fn read(section: &Section, usual: &Self) -> Self {
        Self {
            value: points(section, "value", usual.value),
            freshness: points(section, "freshness", usual.freshness),
            coverage: points(section, "coverage", usual.coverage),
            coverage_full: section.number("coverage_full", 2..=1000).unwrap_or(usual.coverage_full),
            coverage_sure: section.number("coverage_sure", 1..=100).unwrap_or(usual.coverage_sure),
            own_newsroom: points(section, "own_newsroom", usual.own_newsroom),
        }
    }
}

impl HalfLives {
    fn read(section: &Section, usual: &Self) -> Self {
        let minutes = |key: &str, otherwise: i64| {
            let Some(length) = section.duration(key) else { return otherwise };
            let minutes = i64::try_from(length.as_secs() / 60).unwrap_or(i64::MAX);
            if (10..=365 * 24 * 60).contains(&minutes) {
                return minutes;
            }
            section.fault(key, "is not between ten minutes and a year");
            otherwise
        };
        Self {
            short: minutes("short", usual.short),
            medium: minutes("medium", usual.medium),
            long: minutes("long", usual.long),
        }
    }
}

impl Seen {
    fn read(section: &Section, usual: &Self) -> Self {
        let by_age =
            if section.has("by_age") { section.numbers("by_age", 0..=100) } else { usual.by_age.clone() };
        if by_age.len() > 10 {
            section.fault(
                "by_age",
                format!("{} editions are more than the ten that are looked back at", by_age.len()),
            );
        }
        Self {
            points: points(section, "points", usual.points),
            by_age,
            new_turn: section.number("new_turn", 1..=100).unwrap_or(usual.new_turn),
            forgiven: percent(section, "forgiven", usual.forgiven),
        }
    }
}

impl Copy {
    fn read(section: &Section, usual: Self) -> Self {
        let marks =
            if section.has("paywall_marks") { section.list("paywall_marks") } else { usual.paywall_marks };
        Self {
            most: points(section, "most", usual.most),
            no_text: points(section, "no_text", usual.no_text),
            no_standfirst: points(section, "no_standfirst", usual.no_standfirst),
            clickbait: points(section, "clickbait", usual.clickbait),
            paywall: points(section, "paywall", usual.paywall),
            paywall_marks: marks,
        }
    }
}

impl Learning {
    fn read(section: &Section, usual: &Self) -> Self {
        Self { lot_days: section.count("lot_days", 0..=100).unwrap_or(usual.lot_days) }
    }
}

fn lifetime(text: &str) -> Result<String, String> {
    match text {
        "short" | "medium" | "long" => Ok(text.to_owned()),
        other => Err(format!("expected \"short\", \"medium\" or \"long\", found {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{GOOD, load};

    fn good() -> String {
        GOOD.replace("[dkim.\"news.example.org\"]\nselector = \"m1\"\nkey_file = \"missing.pem\"\n", "")
    }

    #[test]
    fn the_defaults_that_are_explained_are_those_that_apply() {
        let config = load(&good(), &[]).unwrap();
        assert_eq!(config.newsletters["la-matinale"].selection, Selection::default());
    }

    #[test]
    fn a_newsletter_has_its_own_tables_and_the_rest_by_default() {
        let text = r#"
[newsletter.la-matinale.selection.points]
freshness = 300
[newsletter.la-matinale.selection.half_life]
short = "3h"
[newsletter.la-matinale.selection.value.sections]
"Économie" = 4
[newsletter.la-matinale.selection.lifetime.authors]
"Awa Diop" = "long"
[newsletter.la-matinale.selection.source]
own = ["La Gazette"]
[newsletter.la-matinale.selection.source.owners]
"Radio du Fleuve" = "Groupe du Fleuve"
[newsletter.la-matinale.selection.priority.countries]
sn = 60
[newsletter.la-matinale.selection.priority.themes.scrutins]
points = 40
words = ["élection*"]
[newsletter.la-matinale.selection.limits]
relax = ["section"]
[newsletter.la-matinale.selection.seats.afrique]
at_least = 2
regions = ["west-africa", "north-africa"]
"#;
        let environment = [("MATINALE__NEWSLETTER__LA_MATINALE__SELECTION__SEEN__BY_AGE", "90, 10")];
        let config = load(&format!("{}{text}", good()), &environment).unwrap();
        let selection = &config.newsletters["la-matinale"].selection;
        assert_eq!((selection.points.freshness, selection.points.value), (300, 100));
        assert_eq!((selection.half_life.short, selection.half_life.medium), (180, 1080));
        assert_eq!((selection.value.sections["Économie"], selection.value.usual), (4, 2));
        assert_eq!(selection.lifetime.authors["Awa Diop"], "long");
        assert_eq!((selection.source.own[0].as_str(), selection.source.owners.len()), ("La Gazette", 1));
        assert_eq!(
            (selection.priority.countries["SN"], selection.priority.themes["scrutins"].points),
            (60, 40)
        );
        assert_eq!((selection.limits.relax.as_slice(), selection.limits.country), (&[Limit::Section][..], 3));
        assert_eq!((selection.seats["afrique"].at_least, selection.seats["afrique"].regions.len()), (2, 2));
        assert_eq!(selection.seen.by_age, [90, 10]);
    }

    #[test]
    fn p10_what_cannot_be_is_told_with_file_and_key() {
        let text = r#"
sections = ["politique"]
[newsletter.la-matinale.selection]
weights = 3
[newsletter.la-matinale.selection.points]
freshness = -1
glamour = 10
[newsletter.la-matinale.selection.half_life]
short = "1s"
[newsletter.la-matinale.selection.seen]
by_age = [100, 170]
[newsletter.la-matinale.selection.value.sections]
sport = 6
Sport = 1
[newsletter.la-matinale.selection.lifetime]
usual = "eternal"
[newsletter.la-matinale.selection.priority.countries]
XQ = 10
[newsletter.la-matinale.selection.priority.themes.scrutins]
points = 40
[newsletter.la-matinale.selection.limits]
country = 0
relax = ["story", "source", "source"]
[newsletter.la-matinale.selection.seats.afrique]
at_least = 3
regions = ["west-africa", "wakanda"]
[newsletter.la-matinale.selection.seats.vide]
[newsletter.la-matinale.selection.seats.eco]
sections = ["économie"]
"#;
        let faults = load(&format!("{}{text}", good()), &[]).unwrap_err();
        let told = faults.join("\n");
        for expected in [
            "selection.weights: unknown key; known here:",
            "selection.points.freshness: -1 is not between 0 and 1000",
            "selection.points.glamour: unknown key; known here:",
            "selection.half_life.short: is not between ten minutes and a year",
            "selection.seen.by_age: 170 is not between 0 and 100",
            "selection.value.sections.sport: 6 is not between 1 and 5",
            "selection.value.sections.sport: is the same name as \"Sport\"",
            "selection.lifetime.usual: expected \"short\", \"medium\" or \"long\", found \"eternal\"",
            "selection.priority.countries.XQ: \"XQ\" is no country",
            "selection.priority.themes.scrutins.words: must name the words",
            "selection.limits.country: 0 is not between 1 and 50",
            "selection.limits.relax: \"story\": expected \"source\", \"section\", \"country\", \"alike\"",
            "selection.limits.relax: \"source\" is named twice",
            "selection.seats.afrique.regions: \"wakanda\": expected a region: north-africa,",
            "selection.seats.afrique.at_least: 3 of 1 cannot be",
            "selection.seats.vide.at_least: of what?",
            "selection.seats.eco.sections: \"économie\" is not among the newsletter's own sections",
        ] {
            let expected = format!("matinale.toml: newsletter.la-matinale.{expected}");
            assert!(told.contains(&expected), "{expected}\n-- not in --\n{told}");
        }
        assert_eq!(faults.len(), 17, "{told}");
    }
}
