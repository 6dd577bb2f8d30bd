//! The pick: the best by points under limits, one per story, editors' wishes first, no two neighbours of a country.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Candidate, Proposal, Ran, Settings, Standing, is_eligible, points};
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
    let mut sources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for article in &eligible {
        sources.entry(story(article)).or_default().insert(&article.source);
    }
    let mut candidates: Vec<(Candidate, &Article)> = eligible
        .iter()
        .map(|article| {
            let story = story(article);
            let reasons =
                points::reasons(article, sources.get(story).map_or(1, BTreeSet::len), ran, story, cut_off);
            let points = reasons.iter().map(|reason| reason.points).sum();
            let candidate = Candidate {
                article: article.id,
                url: article.url.clone(),
                title: article.title.clone(),
                story: story.to_owned(),
                points,
                reasons,
                stopped: None,
            };
            (candidate, *article)
        })
        .collect();
    // Ties by date and then by URL: the order of arrival decides nothing.
    candidates.sort_by(|(a, left), (b, right)| {
        (Reverse(a.points), Reverse(left.dated()), &a.url).cmp(&(
            Reverse(b.points),
            Reverse(right.dated()),
            &b.url,
        ))
    });
    let mut picker = Picker { settings, chosen: Vec::new(), proposal: Proposal::default() };
    let (wanted, free): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|(_, article)| pinned(article));
    for (candidate, article) in wanted {
        picker.chosen.push((candidate, article));
    }
    picker.fill(free);
    picker.finish(standing)
}

/// What makes two articles the same story here: the normalised title.
fn story(article: &Article) -> &str {
    if article.title_key.is_empty() { &article.url_key } else { &article.title_key }
}

struct Picker<'a> {
    settings: &'a Settings,
    chosen: Vec<(Candidate, &'a Article)>,
    proposal: Proposal,
}

impl<'a> Picker<'a> {
    fn fill(&mut self, free: Vec<(Candidate, &'a Article)>) {
        let mut stopped = Vec::new();
        let mut reserves = Vec::new();
        for (mut candidate, article) in free {
            if let Some(why) = self.same_story(&candidate) {
                candidate.stopped = Some(why);
                self.proposal.left_out.push(candidate);
                continue;
            }
            if self.chosen.len() < self.settings.items {
                match self.limit(article) {
                    None => self.chosen.push((candidate, article)),
                    Some(why) => {
                        candidate.stopped = Some(why);
                        stopped.push((candidate, article));
                    }
                }
            } else {
                reserves.push((candidate, article));
            }
        }
        // Too few under the limits: they give way in the order of points, and it is said.
        let mut waiting = stopped.into_iter();
        while self.chosen.len() < self.settings.items {
            let Some((mut candidate, article)) = waiting.next() else { break };
            if self.same_story(&candidate).is_some() {
                self.proposal.left_out.push(candidate);
                continue;
            }
            if let Some(why) = candidate.stopped.take() {
                self.proposal.relaxed.push(format!("{why}: taken all the same, there was nothing else"));
            }
            self.chosen.push((candidate, article));
        }
        let mut seen: BTreeSet<String> =
            self.chosen.iter().map(|(candidate, _)| candidate.story.clone()).collect();
        let mut rest: Vec<Candidate> = waiting.chain(reserves).map(|(candidate, _)| candidate).collect();
        rest.sort_by(|a, b| (Reverse(a.points), &a.url).cmp(&(Reverse(b.points), &b.url)));
        for mut candidate in rest {
            if self.proposal.reserves.len() < self.settings.reserves && seen.insert(candidate.story.clone()) {
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
        let count =
            |same: &dyn Fn(&Article) -> bool| self.chosen.iter().filter(|(_, chosen)| same(chosen)).count();
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
        let mut places: BTreeMap<i64, (Candidate, &Article)> = BTreeMap::new();
        let mut free = Vec::new();
        self.chosen.sort_by(|(a, _), (b, _)| (Reverse(a.points), &a.url).cmp(&(Reverse(b.points), &b.url)));
        for (candidate, article) in self.chosen {
            match standing.pinned.get(&candidate.article) {
                Some(place) if *place > 0 && !places.contains_key(place) => {
                    places.insert(*place, (candidate, article));
                }
                _ => free.push((candidate, article)),
            }
        }
        let total = places.len() + free.len();
        let mut out: Vec<(Candidate, &Article)> = Vec::new();
        for place in 1..=i64::try_from(total).unwrap_or(i64::MAX) {
            if let Some(pinned) = places.remove(&place) {
                out.push(pinned);
                continue;
            }
            let before = out.last().and_then(|(_, article)| article.countries.first());
            // The best whose country does not stand right above.
            let at = free
                .iter()
                .position(|(_, article)| before.is_none() || article.countries.first() != before)
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
