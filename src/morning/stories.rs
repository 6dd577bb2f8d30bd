//! Stories as editors see them: which articles report the same, and splitting and joining them for good.
//!
//! What an editor says is kept as bonds of two articles each (`selection::stories`) and holds at every recomputation,
//! from the next refresh on, for every newsletter.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{House, Result};
use crate::articles::{self, ArticleId};
use crate::db::Conn;
use crate::editions::Who;
use crate::selection::Proposal;
use crate::selection::stories::{Bond, store};

/// Another report of an item's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlsoIn {
    /// Its source.
    pub source: String,
    /// Its title.
    pub title: String,
    /// Its canonical URL.
    pub url: String,
}

/// What editors said of two articles, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// `joined` or `split`.
    #[serde(serialize_with = "in_a_word")]
    pub what: Bond,
    /// One title.
    pub one: String,
    /// The other title.
    pub other: String,
    /// Who said it.
    pub who: String,
    /// When.
    pub at: jiff::Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn in_a_word<S: serde::Serializer>(bond: &Bond, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(match bond {
        Bond::Together => "joined",
        Bond::Apart => "split",
    })
}

/// The other reports of a story, in the order of arrival, retracted ones left out.
pub(super) async fn also_in(
    conn: &mut Conn,
    newsletter: &str,
    story: &str,
    article: ArticleId,
) -> Result<Vec<AlsoIn>> {
    let mut members = store::members(conn, newsletter, story).await?;
    members.retain(|member| *member != article);
    let others = articles::store::find_by_ids(conn, &members).await?;
    Ok(others
        .into_iter()
        .filter(|other| other.retracted_at.is_none())
        .map(|other| AlsoIn { source: other.source, title: other.title, url: other.url })
        .collect())
}

/// What editors said of any of these articles, the newest first.
pub(super) async fn said(conn: &mut Conn, about: &[ArticleId]) -> Result<Vec<Said>> {
    let Some(from) = about.iter().min() else { return Ok(Vec::new()) };
    let about: BTreeSet<ArticleId> = about.iter().copied().collect();
    let mut bonds = store::bonds(conn, *from).await?;
    bonds.retain(|bond| about.contains(&bond.one) || about.contains(&bond.other));
    let ids: BTreeSet<ArticleId> = bonds.iter().flat_map(|bond| [bond.one, bond.other]).collect();
    let ids: Vec<ArticleId> = ids.into_iter().collect();
    let titles: BTreeMap<ArticleId, String> = articles::store::find_by_ids(conn, &ids)
        .await?
        .into_iter()
        .map(|article| (article.id, article.title))
        .collect();
    let title = |id: &ArticleId| titles.get(id).cloned().unwrap_or_else(|| format!("article {id}"));
    bonds.sort_by_key(|bond| (std::cmp::Reverse(bond.at), bond.one, bond.other));
    Ok(bonds
        .iter()
        .map(|bond| Said {
            what: bond.bond,
            one: title(&bond.one),
            other: title(&bond.other),
            who: bond.who.clone(),
            at: bond.at,
        })
        .collect())
}

/// What editors said of any candidate of a proposal, the newest first.
pub async fn said_of(house: &House, proposal: &Proposal) -> Result<Vec<Said>> {
    let all = proposal.chosen.iter().chain(&proposal.reserves).chain(&proposal.left_out);
    let about: Vec<ArticleId> = all.map(|candidate| candidate.article).collect();
    said(&mut house.db.read().await?, &about).await
}

/// An article's story: all that report the same, for whatever newsletter, and what editors said of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Story {
    /// In the order of arrival.
    pub articles: Vec<AlsoIn>,
    /// The newest first.
    pub said: Vec<Said>,
}

/// The story of an article; the refusal says that there is no such article.
pub async fn story(house: &House, url: &str) -> Result<std::result::Result<Story, String>> {
    let mut conn = house.db.read().await?;
    let id = match find(&mut conn, url).await? {
        Ok(id) => id,
        Err(refused) => return Ok(Err(refused)),
    };
    let ids: Vec<ArticleId> = store::with(&mut conn, id).await?.into_iter().collect();
    let articles = articles::store::find_by_ids(&mut conn, &ids)
        .await?
        .into_iter()
        .map(|article| AlsoIn { source: article.source, title: article.title, url: article.url })
        .collect();
    let said = said(&mut conn, &ids).await?;
    Ok(Ok(Story { articles, said }))
}

/// Makes these articles a story of their own: apart from all that stand in one story with any of them now. Returns
/// how many are left behind.
pub async fn split(house: &House, urls: &[String], who: &Who) -> Result<std::result::Result<usize, String>> {
    let mut tx = house.db.write().await?;
    let mut leave = BTreeSet::new();
    let mut stay = BTreeSet::new();
    for url in urls {
        match find(&mut tx, url).await? {
            Ok(id) => {
                stay.extend(store::with(&mut tx, id).await?);
                leave.insert(id);
            }
            Err(refused) => return Ok(Err(refused)),
        }
    }
    stay.retain(|id| !leave.contains(id));
    if stay.is_empty() {
        return Ok(Err("no other article is in a story with these: there is nothing to split".to_owned()));
    }
    let now = house.clock.now();
    for one in &leave {
        for other in &stay {
            store::bind(&mut tx, *one, *other, Bond::Apart, &who.0, now).await?;
        }
        for other in leave.range(..one) {
            store::bind(&mut tx, *one, *other, Bond::Together, &who.0, now).await?;
        }
    }
    tx.commit().await?;
    Ok(Ok(stay.len()))
}

/// Makes one story of those that these articles stand in now. Returns how many articles it has.
pub async fn join(house: &House, urls: &[String], who: &Who) -> Result<std::result::Result<usize, String>> {
    let mut tx = house.db.write().await?;
    let mut named = BTreeSet::new();
    let mut stories: Vec<BTreeSet<ArticleId>> = Vec::new();
    for url in urls {
        match find(&mut tx, url).await? {
            Ok(id) => {
                named.insert(id);
                stories.push(store::with(&mut tx, id).await?);
            }
            Err(refused) => return Ok(Err(refused)),
        }
    }
    if named.len() < 2 {
        return Ok(Err("it takes two articles to join".to_owned()));
    }
    let now = house.clock.now();
    let all: BTreeSet<ArticleId> = stories.iter().flatten().copied().collect();
    for one in &all {
        for other in all.range(..one) {
            // Those of one story are together by themselves, unless they are named.
            let apart = !stories.iter().any(|story| story.contains(one) && story.contains(other));
            if apart || (named.contains(one) && named.contains(other)) {
                store::bind(&mut tx, *one, *other, Bond::Together, &who.0, now).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(Ok(all.len()))
}

async fn find(conn: &mut Conn, url: &str) -> Result<std::result::Result<ArticleId, String>> {
    Ok(match articles::store::find_by_url(conn, url).await? {
        Some(article) => Ok(article.id),
        None => Err(format!("no article has the URL {url}")),
    })
}
