//! Plain text, as one copies it from a page or an agency's wire. Pure.
//!
//! First paragraph the title, second the standfirst; then, in any order, lines that are a link, a picture's caption
//! with its credit ("… © Name / Agency") or the date ("Publié le 23 août 2023"); then the body. A text without a
//! link is known by `urn:sha256:…` of its title and date: the same text again is the same article, and a mail
//! prints it without a link.

use super::{Found, Place, dates, furniture};
use crate::articles::canonical::canonical;
use crate::articles::draft::{Draft, Refused};
use crate::articles::text;

/// A first paragraph of more characters is no title.
const TITLE_CHARS: usize = 300;
const STANDFIRST_CHARS: usize = 700;
const CAPTION_CHARS: usize = 400;

/// The article of a text.
pub fn read(document: &str) -> Found {
    Found { drafts: vec![(Place::Whole, draft(document))], ..Found::default() }
}

fn draft(document: &str) -> Result<Draft, Refused> {
    let mut draft = Draft::default();
    let mut body = Vec::new();
    let mut standfirst: Option<String> = None;
    for paragraph in text::split(document) {
        if draft.title.is_empty() {
            if paragraph.chars().count() > TITLE_CHARS {
                return Err(Refused::new(
                    "title",
                    format!("is missing: the first paragraph is longer than {TITLE_CHARS} characters"),
                ));
            }
            draft.title = paragraph;
            continue;
        }
        if body.is_empty() && head_line(&paragraph, &mut draft) {
            continue;
        }
        // Below the head a caption belongs to a picture that did not come along.
        if !body.is_empty() && caption(&paragraph).is_some() {
            continue;
        }
        let first = standfirst.is_none() && body.is_empty() && draft.published_at.is_none();
        if first && paragraph.chars().count() <= STANDFIRST_CHARS {
            standfirst = Some(paragraph);
        } else {
            body.push(paragraph);
        }
    }
    if draft.title.is_empty() {
        return Err(Refused::new("title", "is missing: the text is empty"));
    }
    let body = furniture::remove(body);
    match standfirst {
        // A text of two paragraphs has a title and a body.
        Some(only) if body.is_empty() => draft.body = Some(only),
        standfirst => {
            draft.summary = standfirst;
            draft.body = Some(text::join(&body)).filter(|body| !body.is_empty());
        }
    }
    if draft.url.is_empty() {
        draft.url = draft.urn();
    }
    Ok(draft)
}

/// Whether a paragraph of the head is a link, a date or a caption; it is kept in the draft then.
fn head_line(paragraph: &str, draft: &mut Draft) -> bool {
    if !paragraph.contains(' ') && canonical(paragraph, None).is_ok() {
        paragraph.clone_into(&mut draft.url);
        return true;
    }
    if let Some(at) = dates::byline(paragraph) {
        draft.published_at = Some(at);
        return true;
    }
    if let Some((alt, credit)) = caption(paragraph) {
        draft.image_alt = Some(alt).filter(|alt| !alt.is_empty());
        draft.image_credit = Some(credit).filter(|credit| !credit.is_empty());
        return true;
    }
    false
}

/// What a picture shows, and whose it is.
fn caption(paragraph: &str) -> Option<(String, String)> {
    if paragraph.chars().count() > CAPTION_CHARS {
        return None;
    }
    let (alt, credit) = paragraph.split_once('©')?;
    // A credit is a name or two, not the rest of a sentence.
    (credit.chars().count() <= 80).then(|| (alt.trim().to_owned(), credit.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(document: &str) -> Result<Draft, Refused> {
        read(document).drafts.remove(0).1
    }

    #[test]
    fn a_text_copied_from_a_page_is_read_whole_and_without_its_furniture() {
        let draft = only(
            "Le bac de Foundiougne reprend du service\r\n\r\nAprès six mois d’arrêt, la traversée\r\nest de nouveau possible.\r\n\r\n\
             Le bac à quai, le 3 mai 2024. © A. Diouf / Agence du Delta\r\n\r\nPublié le 4 mai 2024 Lecture : 2 minutes.\r\n\r\n\
             Les voyageurs étaient cent dès l’aube.\r\n\r\nla suite après cette publicité\r\n\r\nUn moteur neuf\r\n\r\n\
             Le moteur vient de Dakar.\r\n\r\n(Avec agences)\r\n\r\nLa Marée.\r\n\r\nChaque matin, recevez les nouvelles du delta.\r\n\r\n\
             La rédaction vous recommande\r\n\r\nContenus partenaires\r\n",
        )
        .unwrap();
        assert_eq!(draft.title, "Le bac de Foundiougne reprend du service");
        assert_eq!(
            draft.summary.as_deref(),
            Some("Après six mois d’arrêt, la traversée est de nouveau possible.")
        );
        assert_eq!(
            draft.body.as_deref(),
            Some(
                "Les voyageurs étaient cent dès l’aube.\n\nUn moteur neuf\n\nLe moteur vient de Dakar.\n\n(Avec agences)"
            )
        );
        assert_eq!(draft.published_at.unwrap().to_string(), "2024-05-04T00:00:00Z");
        assert_eq!(draft.image_credit.as_deref(), Some("A. Diouf / Agence du Delta"));
        assert!(draft.url.starts_with("urn:sha256:"), "{}", draft.url);
    }

    #[test]
    fn a_link_on_a_line_of_its_own_is_the_articles() {
        let draft = only("Titre\n\nhttps://a.example/1\n\nLe corps.").unwrap();
        assert_eq!((draft.url.as_str(), draft.body.as_deref()), ("https://a.example/1", Some("Le corps.")));
    }

    #[test]
    fn p10_a_text_without_title_is_refused() {
        assert_eq!(only(" \n ").unwrap_err().to_string(), "title: is missing: the text is empty");
        assert!(only(&"x ".repeat(400)).is_err());
    }
}
