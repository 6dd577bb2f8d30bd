//! Page furniture: what stands between an article's paragraphs and belongs to the page. Pure.
//!
//! Compared by folded words (see [`title_key`]), so that signs, accents and case do not matter. The rule for adding
//! one: a whole paragraph that no reporter would write as a paragraph.

use crate::articles::fingerprint::title_key;

/// Whole paragraphs.
const EXACT: &[&str] = &[
    "la suite apres cette publicite",
    "publicite",
    "la suite apres la publicite",
    "contenus partenaires",
    "contenu partenaire",
    "contenu sponsorise",
    "la redaction vous recommande",
    "image",
    "photo",
    "video",
    "lire aussi",
    "a lire aussi",
    "lire egalement",
    "a lire egalement",
    "voir aussi",
    "sur le meme sujet",
    "dans le meme dossier",
    "articles lies",
    "articles similaires",
    "nos lecteurs ont lu ensuite",
    "les plus lus",
    "partager",
    "partager cet article",
    "imprimer",
    "envoyer par e mail",
    "reserve aux abonnes",
    "lire la suite",
    "lire plus",
    "en savoir plus",
    "suivez nous",
    "commentaires",
    "tous droits reserves",
    "chargement",
    "advertisement",
    "advertisement continue reading",
    "story continues below advertisement",
    "article continues below advertisement",
    "article continues after advertisement",
    "continues after advertisement",
    "the story continues below",
    "sponsored content",
    "sponsored",
    "partner content",
    "paid content",
    "recommended for you",
    "recommended stories",
    "related articles",
    "related stories",
    "related",
    "read more",
    "read also",
    "also read",
    "see also",
    "more on this story",
    "more from this section",
    "editors picks",
    "most read",
    "most popular",
    "share",
    "share this article",
    "share this story",
    "share on facebook",
    "share on twitter",
    "print",
    "email",
    "comments",
    "leave a comment",
    "all rights reserved",
    "loading",
    "follow us",
    "subscribe",
    "sign in",
    "log in",
    "subscribers only",
    "continue reading",
    "getty images",
    "copy link",
    "save",
    "listen",
    "s abonner",
];

/// Headings after which only links to other articles stand.
const LISTS: &[&str] = &[
    "contenus partenaires",
    "la redaction vous recommande",
    "lire aussi",
    "a lire aussi",
    "a lire egalement",
    "sur le meme sujet",
    "dans le meme dossier",
    "articles lies",
    "articles similaires",
    "les plus lus",
    "nos lecteurs ont lu ensuite",
    "recommended for you",
    "recommended stories",
    "related articles",
    "related stories",
    "more on this story",
    "more from this section",
    "editors picks",
    "most read",
    "most popular",
    "partner content",
    "read also",
    "also read",
    "see also",
];

/// Beginnings of short paragraphs.
const BEGINNINGS: &[&str] = &[
    "lire aussi ",
    "a lire aussi ",
    "lire egalement ",
    "a lire egalement ",
    "voir aussi ",
    "a lire ",
    "read also ",
    "also read ",
    "read more ",
    "see also ",
    "abonnez vous ",
    "inscrivez vous ",
    "suivez nous ",
    "rejoignez nous sur ",
    "telechargez l application",
    "telechargez notre application",
    "partager sur ",
    "retrouvez nous sur ",
    "subscribe to ",
    "sign up for ",
    "sign up to ",
    "follow us on ",
    "download the app",
    "download our app",
    "share this ",
    "cliquez ici pour ",
    "click here to ",
    "cet article est reserve aux abonnes",
    "this article is for subscribers",
    "vous avez lu gratuitement",
    "deja abonne",
    "already a subscriber",
    "story continues below",
    "article continues below",
    "to read this article in full",
    "pour lire cet article",
    "please enable javascript",
    "veuillez activer javascript",
    "nous utilisons des cookies",
    "we use cookies",
];

/// A promotion says what one receives, and how often or where.
const RECEIVE: &[&str] = &[
    "recevez ",
    "recevoir ",
    "inscrivez vous",
    "abonnez vous",
    "get our ",
    "get the ",
    "delivered ",
    "sign up",
    "receive ",
];
const REGULARLY: &[&str] = &[
    "chaque matin",
    "chaque jour",
    "chaque semaine",
    "tous les jours",
    "tous les matins",
    "newsletter",
    "lettre d information",
    "boite mail",
    "par e mail",
    "par email",
    "every morning",
    "every day",
    "every week",
    "your inbox",
    "by email",
    "daily briefing",
];

/// A promotion is not longer than this.
const PROMOTION_CHARS: usize = 260;
const SHORT_CHARS: usize = 200;

/// The paragraphs of the article itself.
pub fn remove(paragraphs: Vec<String>) -> Vec<String> {
    let keys: Vec<String> = paragraphs.iter().map(|paragraph| title_key(paragraph)).collect();
    let short =
        |at: usize| paragraphs.get(at).is_some_and(|paragraph| paragraph.chars().count() <= SHORT_CHARS);
    // From the first heading of a list on, when nothing but short lines follows, the article is over.
    let over = (1..keys.len())
        .find(|at| {
            LISTS.contains(&keys[*at].as_str())
                && (at + 1..keys.len()).all(|later| short(later) && !ends_sentence(&paragraphs[later]))
        })
        .unwrap_or(keys.len());
    let mut gone: Vec<bool> = keys
        .iter()
        .zip(&paragraphs)
        .enumerate()
        .map(|(at, (key, paragraph))| at >= over || is_furniture(key, paragraph))
        .collect();
    for at in 1..keys.len() {
        // The name of the newsletter stands above its promotion.
        let name = paragraphs[at - 1].chars().count() <= 40 && keys[at - 1].split(' ').count() <= 4;
        if is_promotion(&keys[at], &paragraphs[at]) && name && at > 1 {
            gone[at - 1] = true;
        }
    }
    paragraphs.into_iter().zip(gone).filter(|(_, gone)| !gone).map(|(paragraph, _)| paragraph).collect()
}

fn is_furniture(key: &str, paragraph: &str) -> bool {
    EXACT.contains(&key)
        || (paragraph.chars().count() <= SHORT_CHARS && BEGINNINGS.iter().any(|start| key.starts_with(start)))
        || is_promotion(key, paragraph)
        || is_syndication(key)
}

fn is_promotion(key: &str, paragraph: &str) -> bool {
    paragraph.chars().count() <= PROMOTION_CHARS
        && RECEIVE.iter().any(|word| key.contains(word))
        && REGULARLY.iter().any(|word| key.contains(word))
        // Somebody who is quoted is not promoting.
        && !paragraph.contains(['«', '“', '"'])
}

/// What blog software adds to the end of every entry of a feed.
fn is_syndication(key: &str) -> bool {
    (key.starts_with("the post ") && key.contains(" appeared first on "))
        || (key.starts_with("l article ") && key.contains(" est apparu en premier sur "))
        || (key.starts_with("cet article ") && key.contains(" est apparu en premier sur "))
}

/// Prose ends in a full stop; the title of another article does not.
fn ends_sentence(paragraph: &str) -> bool {
    paragraph.ends_with(['.', '!', '»', '”']) && paragraph.chars().count() > 80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(paragraphs: &[&str]) -> Vec<String> {
        remove(paragraphs.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn furniture_goes_and_sub_headings_stay() {
        let kept = removed(&[
            "Le port de pêche rouvre ses quais.",
            "La suite après cette publicité",
            "Trois mois de travaux",
            "Les pêcheurs recevront une aide de la région, a promis le maire.",
            "Image",
            "Le Petit Matin.",
            "Chaque matin, recevez l’essentiel de la côte dans votre boîte mail.",
            "« Recevez chaque jour notre salut », dit le chant.",
            "The post Harbour reopens appeared first on Coast.",
            "À lire aussi",
            "Un phare à vendre",
            "Pirogues : le retour des voiles",
        ]);
        assert_eq!(
            kept,
            [
                "Le port de pêche rouvre ses quais.",
                "Trois mois de travaux",
                "Les pêcheurs recevront une aide de la région, a promis le maire.",
                "« Recevez chaque jour notre salut », dit le chant.",
            ]
        );
    }

    #[test]
    fn an_article_that_goes_on_after_a_box_is_not_cut() {
        let long = "Les quais ont été refaits sur trois cents mètres, et les chambres froides agrandies pour la saison.";
        assert_eq!(
            removed(&["Un.", "Lire aussi", "Un phare à vendre", long]),
            ["Un.", "Un phare à vendre", long]
        );
    }
}
