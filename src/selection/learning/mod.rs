//! Learning from the editors: the same terms with other weights, pulled towards the given ones.
//!
//! Pure but for its `store`: lessons in, [`Weights`] out; the same lessons give the same weights. Owns the fit, how near
//! a line-up came to what the editors made of it, the edition in numbers, and the test that says whether the learned
//! weights are worth a promotion; leaves promoting to people. The rule a newcomer would break: a lesson holds every item of the final line-up, untouched
//! ones too, against what was *shown* and not taken. Lessons of changes alone contradict the given weights by
//! construction, and items nobody saw say nothing.

mod agreement;
mod event;
mod figures;
mod fit;
mod reckon;
pub mod store;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use agreement::{Agreed, Morning, Verdict, agreed, agreement, verdict};
pub use event::{Event, What, Wish, steps};
pub use figures::{Drawn, Figures, Lots, lots};
pub use fit::fit;

use super::Reason;

/// The term of what was learned of a country or a section.
pub const LEARNED: &str = "editors";

/// A term's weight as it was given.
pub const GIVEN: i64 = 1000;

/// One item that the editors saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The points of each of its terms, by the given weights.
    pub terms: BTreeMap<String, i64>,
    /// What it is besides, such as `country SN` or `section sport`.
    pub traits: Vec<String>,
    /// Whether the machine had put it among the chosen: editors lean towards what already stands there.
    pub proposed: bool,
    /// Whether it stood in the final line-up.
    pub taken: bool,
    /// Where it stood in reserve because it was drawn by lot: what either way of choosing had made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Drawn>,
}

/// What one edition teaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lesson {
    /// How many days ago that was.
    pub days: i64,
    /// Everything the editors saw.
    pub shown: Vec<Shown>,
}

/// What each term weighs, in thousandths of its points, and what traits add, in points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// By term; one that is not here keeps its points.
    pub terms: BTreeMap<String, i64>,
    /// By trait; one that is not here adds nothing.
    pub traits: BTreeMap<String, i64>,
}

impl Weights {
    /// Whether nothing is weighed otherwise than given.
    pub fn is_given(&self) -> bool {
        self.terms.values().all(|weight| *weight == GIVEN) && self.traits.values().all(|points| *points == 0)
    }

    /// The weights for people: `freshness ×1.25, country SN +40`.
    pub fn in_words(&self) -> String {
        let factor = |weight: i64| {
            let sign = if weight < 0 { "-" } else { "" };
            format!("{sign}{}.{:02}", weight.abs() / GIVEN, weight.abs() % GIVEN / 10)
        };
        let terms = self.terms.iter().map(|(term, weight)| format!("{term} ×{}", factor(*weight)));
        let traits = self
            .traits
            .iter()
            .filter(|(_, points)| **points != 0)
            .map(|(name, points)| format!("{name} {points:+}"));
        terms.chain(traits).collect::<Vec<_>>().join(", ")
    }

    /// The points of a term under these weights.
    pub fn points(&self, term: &str, points: i64) -> i64 {
        let weight = self.terms.get(term).copied().unwrap_or(GIVEN);
        // Half away from zero, so that what takes is rounded like what gives.
        let product = points * weight;
        (product.abs() + GIVEN / 2) / GIVEN * product.signum()
    }

    /// The same reasons under these weights; what traits add is told as a reason of its own.
    pub fn weigh(&self, reasons: Vec<Reason>, traits: &[String]) -> Vec<Reason> {
        let mut out: Vec<Reason> = reasons
            .into_iter()
            .map(|reason| Reason { points: self.points(&reason.term, reason.points), ..reason })
            .collect();
        out.extend(traits.iter().filter_map(|name| {
            let points = *self.traits.get(name).filter(|points| **points != 0)?;
            Some(Reason { term: LEARNED.to_owned(), points, words: name.clone() })
        }));
        out
    }
}

/// What an article is besides its terms: its first country and its section.
pub fn traits_of(country: Option<&str>, section: Option<&str>) -> Vec<String> {
    let country = country.map(|code| format!("country {code}"));
    let section = section.map(|name| format!("section {}", name.to_lowercase()));
    country.into_iter().chain(section).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_told_in_words() {
        let weights = Weights {
            terms: BTreeMap::from([("freshness".to_owned(), 1250), ("seen".to_owned(), 990)]),
            traits: BTreeMap::from([("country ML".to_owned(), 0), ("country SN".to_owned(), -40)]),
        };
        assert_eq!(weights.in_words(), "freshness ×1.25, seen ×0.99, country SN -40");
    }

    #[test]
    fn p7_weighed_reasons_are_whole_points_and_told() {
        let weights = Weights {
            terms: BTreeMap::from([("freshness".to_owned(), 1250), ("seen".to_owned(), 500)]),
            traits: BTreeMap::from([("country SN".to_owned(), 40)]),
        };
        let reason = |term: &str, points| Reason { term: term.to_owned(), points, words: String::new() };
        let reasons = vec![reason("value", 100), reason("freshness", 102), reason("seen", -401)];
        let told: Vec<(String, i64)> = weights
            .weigh(reasons, &traits_of(Some("SN"), Some("Sport")))
            .into_iter()
            .map(|reason| (reason.term, reason.points))
            .collect();
        let expected = [("value", 100), ("freshness", 128), ("seen", -201), ("editors", 40)];
        assert_eq!(told, expected.map(|(term, points)| (term.to_owned(), points)));
    }
}
