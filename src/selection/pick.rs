//! The pick: the best by points under limits, one per story, editors' wishes first, no two neighbours of a country.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::stories::{self, Piece, Stories};
use super::{Candidate, Proposal, Ran, Settings, Standing, is_eligible, points, story_id};
use crate::articles::Article;

/// Proposes a line-up from these articles at this cut-off.
pub fn propose(
    articles: &[Article],
    ran: &[Ran],
    standing: &Standing,
    settings: &Settings,
    cut_off: Timestamp,
) -> Proposal {
    let pinned = |article: &Article| standing.pinned.contains_key(&article.id);
    let eligible: Vec<&Article> = articles
        .iter()
        .filter(|article| pinned(article) || is_eligible(article, settings, cut_off))
        .filter(|article| !standing.removed.contains(&article.id))
        .collect();
    let pieces: Vec<Piece<'_>> = eligible
        .iter()
        .map(|article| Piece {
            key: &article.url,
            title: &article.title,
            lead: if article.summary.is_empty() { &article.body } else { &article.summary },
            language: article.language.as_deref(),
            at: article.dated().as_millisecond(),
        })
        .collect();
    let stories = stories::find(&pieces);
    let mut sources: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (article, story) in eligible.iter().zip(&stories.of) {
        sources.entry(*story).or_default().insert(&article.source);
    }
    let mut candidates: Vec<(Candidate, usize)> = eligible
        .iter()
        .zip(&stories.of)
        .enumerate()
        .map(|(at, (article, first))| {
            let story = story_id(&eligible[*first].url);
            let reasons =
                points::reasons(article, sources.get(first).map_or(1, BTreeSet::len), ran, &story, cut_off);
            let reasons = settings.weights.weigh(reasons, &super::traits_of(article));
            let points = reasons.iter().map(|reason| reason.points).sum();
            let candidate = Candidate {
                article: article.id,
                url: article.url.clone(),
                title: article.title.clone(),
                story,
                points,
                reasons,
                stopped: None,
            };
            (candidate, at)
        })
        .collect();
    // Ties by date, by which tells its story best, and then by URL: the order of arrival decides nothing.
    candidates.sort_by(|(a, left), (b, right)| {
        let of = |at: usize| (Reverse(eligible[at].dated()), Reverse(stories.central(at)));
        (Reverse(a.points), of(*left), &a.url).cmp(&(Reverse(b.points), of(*right), &b.url))
    });
    let (wanted, free): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|(_, at)| pinned(eligible[*at]));
    let mut picker = Picker {
        settings,
        stories: &stories,
        eligible: &eligible,
        chosen: wanted,
        proposal: Proposal::default(),
    };
    picker.fill(free);
    picker.finish(standing)
}

struct Picker<'a> {
    settings: &'a Settings,
    stories: &'a Stories,
    eligible: &'a [&'a Article],
    /// A candidate, and where it stands among the eligible.
    chosen: Vec<(Candidate, usize)>,
    proposal: Proposal,
}

impl Picker<'_> {
    fn fill(&mut self, mut free: Vec<(Candidate, usize)>) {
        let mut stopped: Vec<(Candidate, usize)> = Vec::new();
        // One by one, each time the best that is left: its points, less for being like what is chosen (MMR, 0.7).
        while self.chosen.len() < self.settings.items && !free.is_empty() {
            let best = (0..free.len())
                .max_by_key(|at| {
                    let (candidate, place) = &free[*at];
                    let alike = self
                        .chosen
                        .iter()
                        .map(|(_, other)| self.stories.alike(*place, *other))
                        .max()
                        .unwrap_or(0);
                    (7 * candidate.points - 3 * alike, Reverse(*at))
                })
                .unwrap_or(0);
            let (mut candidate, place) = free.remove(best);
            if let Some(why) = self.same_story(&candidate) {
                candidate.stopped = Some(why);
                self.proposal.left_out.push(candidate);
            } else if let Some(why) = self.limit(self.eligible[place]) {
                candidate.stopped = Some(why);
                stopped.push((candidate, place));
            } else {
                self.chosen.push((candidate, place));
            }
        }
        // Too few under the limits: they give way in the order of points, and it is said.
        let mut waiting = stopped.into_iter();
        while self.chosen.len() < self.settings.items {
            let Some((mut candidate, place)) = waiting.next() else { break };
            if self.same_story(&candidate).is_some() {
                self.proposal.left_out.push(candidate);
                continue;
            }
            if let Some(why) = candidate.stopped.take() {
                self.proposal.relaxed.push(format!("{why}: taken all the same, there was nothing else"));
            }
            self.chosen.push((candidate, place));
        }
        let mut seen: BTreeSet<String> =
            self.chosen.iter().map(|(candidate, _)| candidate.story.clone()).collect();
        let mut rest: Vec<Candidate> = waiting.chain(free).map(|(candidate, _)| candidate).collect();
        rest.sort_by(|a, b| (Reverse(a.points), &a.url).cmp(&(Reverse(b.points), &b.url)));
        for mut candidate in rest {
            if let Some(why) = self.same_story(&candidate) {
                candidate.stopped = Some(why);
                self.proposal.left_out.push(candidate);
            } else if self.proposal.reserves.len() < self.settings.reserves
                && seen.insert(candidate.story.clone())
            {
                self.proposal.reserves.push(candidate);
            } else {
                let last = self.chosen.iter().map(|(candidate, _)| candidate.points).min().unwrap_or(0);
                candidate.stopped.get_or_insert(format!("{} points, needed {last}", candidate.points));
                self.proposal.left_out.push(candidate);
            }
        }
    }

    fn same_story(&self, candidate: &Candidate) -> Option<String> {
        let same = self.chosen.iter().find(|(chosen, _)| chosen.story == candidate.story)?;
        Some(format!("the same story as {:?}", same.0.title))
    }

    fn limit(&self, article: &Article) -> Option<String> {
        let count = |same: &dyn Fn(&Article) -> bool| {
            self.chosen.iter().filter(|(_, place)| same(self.eligible[*place])).count()
        };
        if let Some(country) = article.countries.first()
            && count(&|chosen| chosen.countries.first() == Some(country)) >= self.settings.per_country
        {
            return Some(format!("more than {} of {country}", self.settings.per_country));
        }
        if let Some(section) = &article.section
            && count(&|chosen| chosen.section.as_ref() == Some(section)) >= self.settings.per_section
        {
            return Some(format!("more than {} of {section}", self.settings.per_section));
        }
        // With a single source there is nothing to balance.
        if count(&|chosen| chosen.source == article.source) >= self.settings.per_source {
            return Some(format!("more than {} from {}", self.settings.per_source, article.source));
        }
        None
    }

    fn finish(mut self, standing: &Standing) -> Proposal {
        let eligible = self.eligible;
        let mut places: BTreeMap<i64, (Candidate, usize)> = BTreeMap::new();
        let mut free = Vec::new();
        self.chosen.sort_by(|(a, _), (b, _)| (Reverse(a.points), &a.url).cmp(&(Reverse(b.points), &b.url)));
        for (candidate, at) in self.chosen {
            match standing.pinned.get(&candidate.article) {
                Some(place) if *place > 0 && !places.contains_key(place) => {
                    places.insert(*place, (candidate, at));
                }
                _ => free.push((candidate, at)),
            }
        }
        let total = places.len() + free.len();
        let mut out: Vec<(Candidate, usize)> = Vec::new();
        for place in 1..=i64::try_from(total).unwrap_or(i64::MAX) {
            if let Some(pinned) = places.remove(&place) {
                out.push(pinned);
                continue;
            }
            let before = out.last().and_then(|(_, at)| eligible[*at].countries.first());
            // The best whose country does not stand right above.
            let at = free
                .iter()
                .position(|(_, at)| before.is_none() || eligible[*at].countries.first() != before)
                .unwrap_or(0);
            if at < free.len() {
                out.push(free.remove(at));
            }
        }
        // A pin beyond the end of a short line-up stands at its end.
        out.extend(std::mem::take(&mut places).into_values());
        self.proposal.chosen = out.into_iter().map(|(candidate, _)| candidate).collect();
        self.proposal
    }
}
