//! What an edition says: its line-up, the articles, the editors' words, the newsletter's own, in one content.

use std::collections::BTreeMap;

use super::line_up::articles_of;
use super::{House, Result};
use crate::articles::{Article, ArticleId};
use crate::config::{Config, Newsletter};
use crate::editions::{self, Decision, Edition, LineUp};
use crate::mail::content::{
    self, Appointment, Content, Correction, Figure, Image, Lighter, Opening, Sponsor, Translation,
};
use crate::mail::dkim::Signer;
use crate::mail::preflight::{self, Asked, Finding, Ran};
use crate::mail::{self, Language, Rendered};
use crate::readers;
use crate::selection::{extract, sentences};

/// Items from this position on say one sentence.
const BRIEF_FROM: u32 = 8;

/// Puts an edition's content together.
pub(super) fn compose(
    newsletter: &Newsletter,
    edition: &Edition,
    line_up: &LineUp,
    decisions: &BTreeMap<ArticleId, Decision>,
    articles: &BTreeMap<ArticleId, Article>,
    config: &Config,
) -> Content {
    let words = &edition.words;
    let items = line_up
        .chosen
        .iter()
        .filter_map(|item| Some((item, articles.get(&item.article)?)))
        .zip(1..)
        .map(|((item, article), position)| {
            let own = decisions.get(&item.article).map(|decision| decision.words.clone()).unwrap_or_default();
            content::Item {
                position,
                // A text that was imported without a link is read where the whole edition is.
                url: article.link().map_or_else(
                    || format!("{}/e/{}/{}", config.web.base(), newsletter.id, edition.date),
                    ToOwned::to_owned,
                ),
                title: own.title.unwrap_or_else(|| article.title.clone()),
                summary: own.summary.unwrap_or_else(|| {
                    let summary = summary_of(article);
                    if position < BRIEF_FROM { summary } else { first_sentence(summary) }
                }),
                label: own.label,
                countries: if own.kicker.is_some() { Vec::new() } else { article.countries.clone() },
                section: own.kicker.or_else(|| article.section.clone()),
                source: article.source.clone(),
                published_at: article.published_at,
                image: image_of(article).filter(|_| position < BRIEF_FROM),
                language: article.language.clone().unwrap_or_default(),
                reading_minutes: extract::reading_minutes(&article.body),
            }
        })
        .collect();
    Content {
        newsletter: content::Newsletter {
            id: newsletter.id.clone(),
            name: newsletter.name.clone(),
            language: newsletter.language.clone(),
            translations: newsletter
                .translations
                .iter()
                .filter_map(|id| config.newsletters.get(id))
                .map(|sister| Translation {
                    id: sister.id.clone(),
                    name: sister.name.clone(),
                    language: sister.language.clone(),
                })
                .collect(),
            promise: newsletter.promise.clone(),
            list_id: newsletter.list_id.clone(),
            from_name: newsletter.from.name.clone().unwrap_or_default(),
            from_address: newsletter.from.email.to_string(),
            reply_to: newsletter.reply_to.as_ref().map(ToString::to_string),
            publisher: newsletter.publisher.clone(),
            public_url: config.web.base().to_owned(),
            theme: newsletter.theme.clone(),
        },
        date: edition.date,
        number: None,
        subject: words.subject.clone().unwrap_or_default(),
        preheader: words.preheader.clone().unwrap_or_default(),
        opening: words
            .opening
            .clone()
            .map(|text| Opening { text, signature: words.signature.clone().unwrap_or_default() }),
        items,
        figure: words.figure.clone().map(|figure| Figure {
            value: figure.figure,
            text: figure.words,
            source: figure.source,
            url: figure.url,
        }),
        agenda: words
            .agenda
            .iter()
            .map(|line| Appointment { when: line.when.clone(), text: line.text.clone() })
            .collect(),
        lighter: words.lighter.clone().map(|lighter| Lighter {
            title: lighter.title.unwrap_or_default(),
            text: lighter.text,
            url: lighter.url,
            source: lighter.source,
        }),
        sponsor: words.sponsor.clone().map(|sponsor| Sponsor {
            link_text: sponsor.link.unwrap_or_else(|| sponsor.name.clone()),
            name: sponsor.name,
            text: sponsor.text,
            url: sponsor.url.unwrap_or_default(),
        }),
        corrections: words
            .corrections
            .iter()
            .map(|line| Correction { date: line.date, text: line.text.clone() })
            .collect(),
        correction_note: None,
    }
}

/// The standfirst, or the article's own best sentences: never invented, never cut.
pub(super) fn summary_of(article: &Article) -> String {
    if article.summary.is_empty() {
        extract::extract(&article.title, &article.body, article.language.as_deref())
    } else {
        article.summary.clone()
    }
}

/// What a short item says where no editor wrote it: the first whole sentence.
fn first_sentence(summary: String) -> String {
    match sentences::split(&summary).first() {
        Some(first) if sentences::is_whole(first) => (*first).to_owned(),
        _ => summary,
    }
}

/// An article's picture, where its source has it.
fn image_of(article: &Article) -> Option<Image> {
    Some(Image {
        url: article.image_url.clone()?,
        alt: article.image_alt.clone().unwrap_or_else(|| article.title.clone()),
        credit: article.image_credit.clone(),
        width: None,
        height: None,
        bytes: None,
    })
}

/// An edition's content as it would be frozen now.
pub(super) async fn load(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    line_up: &LineUp,
) -> Result<Content> {
    let mut conn = house.db.read().await?;
    let decisions = editions::store::decisions(&mut conn, edition.id).await?;
    let articles = articles_of(&mut conn, line_up).await?;
    drop(conn);
    let mut content = compose(newsletter, edition, line_up, &decisions, &articles, &house.config);
    super::pictures::place(house, newsletter, &mut content).await?;
    Ok(content)
}

/// The languages that a newsletter's mail is rendered in: its own, and those of its readers that mails speak.
pub(super) async fn languages(house: &House, newsletter: &Newsletter) -> Result<Vec<String>> {
    let mut tags = vec![newsletter.language.clone()];
    for tag in readers::store::languages(&mut house.db.read().await?, &newsletter.id).await? {
        if Language::of(&tag).is_some() && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// The signer of a newsletter's domain, where a key is configured.
pub(super) fn signer(
    house: &House,
    newsletter: &Newsletter,
) -> std::result::Result<Option<Signer>, mail::Error> {
    use secrecy::ExposeSecret as _;
    house
        .config
        .dkim
        .get(newsletter.domain())
        .map(|dkim| Signer::new(&dkim.domain, &dkim.selector, dkim.key.expose_secret().as_bytes()))
        .transpose()
}

/// How many editions back a story counts as told.
const EDITIONS_BACK: usize = 3;

/// What is to be looked at before an edition goes out, in each of these renderings.
pub(super) async fn findings(
    house: &House,
    newsletter: &Newsletter,
    content: &Content,
    renderings: &[(Language, &Rendered)],
) -> Result<Vec<Finding>> {
    let mut before = Vec::new();
    let mut last = None;
    let mut conn = house.db.read().await?;
    let editions = editions::store::list(&mut conn, &newsletter.id, 10).await?;
    let past = editions.iter().filter(|past| past.date < content.date && past.revision > 0);
    for past in past.take(EDITIONS_BACK) {
        let frozen = editions::store::find_content(&mut conn, past.id, past.revision).await?;
        let Some(frozen) = frozen.and_then(|text| serde_json::from_str::<Content>(&text).ok()) else {
            continue;
        };
        let ran = |item: content::Item| Ran { date: past.date, url: item.url, title: item.title };
        before.extend(frozen.items.into_iter().map(ran));
        // The newest comes first.
        last.get_or_insert(frozen.newsletter);
    }
    let asked = Asked {
        items: newsletter.items as usize,
        avoid: &newsletter.avoid,
        before: &before,
        last: last.as_ref(),
    };
    Ok(preflight::check(content, renderings, &asked))
}
