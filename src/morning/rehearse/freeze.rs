//! What would go out: frozen already, or as the lock would freeze it now. Writes nothing.

use crate::config::{Images, Newsletter};
use crate::editions::{self, Edition};
use crate::mail::preflight::Finding;
use crate::mail::{self, Content, Language, Prepared, Rendered};
use crate::morning::{Error, House, Result, content, line_up};

/// An edition as its readers would have it.
#[derive(Clone, Debug)]
pub(super) struct Frozen {
    pub(super) content: String,
    /// The prepared bytes by language.
    pub(super) renderings: Vec<(String, Vec<u8>)>,
    pub(super) findings: Vec<Finding>,
    pub(super) items: usize,
    /// How many articles could have been chosen; `None` once it is locked.
    pub(super) candidates: Option<usize>,
}

pub(super) async fn freeze(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<Frozen> {
    let (content, candidates) = content_of(house, newsletter, edition).await?;
    let mut rendered = Vec::new();
    for tag in content::languages(house, newsletter).await? {
        let language = Language::first_of([tag.as_str()]);
        rendered.push((tag, language, mail::render(&content, language)?));
    }
    let each: Vec<(Language, &Rendered)> =
        rendered.iter().map(|(_, language, rendered)| (*language, rendered)).collect();
    let findings = content::findings(house, newsletter, &content, &each).await?;
    let mut renderings = Vec::new();
    let mut conn = house.db.read().await?;
    for (tag, _, rendered) in &rendered {
        // What was locked goes out as it was frozen; a language that came later has no rendering of it.
        let kept = if edition.revision > 0 {
            editions::store::find_rendering(&mut conn, edition.id, edition.revision, tag).await?
        } else {
            Some(Prepared::new(rendered, &content).to_bytes())
        };
        renderings.extend(kept.map(|bytes| (tag.clone(), bytes)));
    }
    Ok(Frozen {
        items: content.items.len(),
        content: serde_json::to_string(&content).map_err(|error| Error::Start(error.to_string()))?,
        renderings,
        findings,
        candidates,
    })
}

async fn content_of(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
) -> Result<(Content, Option<usize>)> {
    let mut conn = house.db.read().await?;
    if edition.revision > 0 {
        let text = editions::store::find_content(&mut conn, edition.id, edition.revision).await?;
        let content = text.as_deref().map(serde_json::from_str).transpose();
        return match content.map_err(|error| Error::Start(format!("the frozen edition: {error}")))? {
            Some(content) => Ok((content, None)),
            None => Err(Error::Start("the frozen edition has no content".to_owned())),
        };
    }
    let proposal = line_up::propose(&mut conn, newsletter, edition).await?;
    drop(conn);
    let chosen = line_up::line_up_of(&proposal);
    // Pictures are fetched at the lock; here they stay where they are, because nothing leaves and nothing is kept.
    let newsletter = Newsletter { images: Images::Leave, ..newsletter.clone() };
    let content = content::load(house, &newsletter, edition, &chosen).await?;
    let candidates = proposal.chosen.len() + proposal.reserves.len() + proposal.left_out.len();
    Ok((content, Some(candidates)))
}
