//! What one revision of one edition says, in no language of its own: facts and the editors' words.
//!
//! This is frozen with the revision as JSON, so fields may be added (with a default) and never change their
//! meaning. Fixed phrases, dates and numbers are not here: they come from the language it is rendered in.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::plain;
use crate::config::theme::Theme;

/// Everything one revision says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The title it appears under.
    pub newsletter: Newsletter,
    /// The edition's date.
    pub date: Date,
    /// Its number, where the newsletter counts.
    #[serde(default)]
    pub number: Option<u32>,
    /// The subject; proposed from the lead where it is empty.
    #[serde(default)]
    pub subject: String,
    /// The first visible line; proposed from the next stories where it is empty.
    #[serde(default)]
    pub preheader: String,
    /// The editor's good morning.
    #[serde(default)]
    pub opening: Option<Opening>,
    /// The line-up, in its order.
    pub items: Vec<Item>,
    /// The figure of the day.
    #[serde(default)]
    pub figure: Option<Figure>,
    /// What the day brings.
    #[serde(default)]
    pub agenda: Vec<Appointment>,
    /// Something lighter to close with.
    #[serde(default)]
    pub lighter: Option<Lighter>,
    /// The one labelled place of a partner.
    #[serde(default)]
    pub sponsor: Option<Sponsor>,
    /// What the edition before had wrong.
    #[serde(default)]
    pub corrections: Vec<Correction>,
    /// Set on a revision that mends an edition already sent: shown on its web version.
    #[serde(default)]
    pub correction_note: Option<String>,
}

/// The newsletter as its mail needs it, frozen with the edition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Newsletter {
    /// Its name in the configuration.
    pub id: String,
    /// Its title.
    pub name: String,
    /// What it is written in (BCP 47): the fallback of readers who chose none.
    pub language: String,
    /// Its sisters in other languages.
    #[serde(default)]
    pub translations: Vec<Translation>,
    /// Its promise in one sentence.
    #[serde(default)]
    pub promise: Option<String>,
    /// RFC 2919.
    pub list_id: String,
    /// Display name of the From; the brand and nothing else.
    pub from_name: String,
    /// Address of the From.
    pub from_address: String,
    /// Where answers go; the From where `None`.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Who publishes it, and where they are to be found.
    #[serde(default)]
    pub publisher: String,
    /// What links start with, without a slash at the end.
    pub public_url: String,
    /// How it looks.
    #[serde(default)]
    pub theme: Theme,
}

/// The same newsletter in another language: a title of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// Its name in the configuration.
    pub id: String,
    /// Its title.
    pub name: String,
    /// What it is written in (BCP 47).
    pub language: String,
}

/// Two signed sentences of the editor of the day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// The sentences, plain text.
    pub text: String,
    /// Who signs.
    pub signature: String,
}

/// One place in the line-up. An editor's words have already taken the place of the article's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// From 1.
    pub position: u32,
    /// The article's address at its source.
    pub url: String,
    /// The headline, plain text.
    pub title: String,
    /// What happened and why it matters, plain text; may be empty.
    #[serde(default)]
    pub summary: String,
    /// Two to four words for the menu; taken from the title or country where `None`.
    #[serde(default)]
    pub label: Option<String>,
    /// Countries (ISO 3166 alpha-2); the first is the kicker's.
    #[serde(default)]
    pub countries: Vec<String>,
    /// The theme, as the source or the editor names it.
    #[serde(default)]
    pub section: Option<String>,
    /// Who published it.
    #[serde(default)]
    pub source: String,
    /// When.
    #[serde(default)]
    pub published_at: Option<Timestamp>,
    /// A picture.
    #[serde(default)]
    pub image: Option<Image>,
    /// What title and summary are written in (BCP 47); the newsletter's where empty.
    #[serde(default)]
    pub language: String,
    /// Minutes to read the whole article at its source.
    #[serde(default)]
    pub reading_minutes: Option<u32>,
}

/// A picture that has been made fit for mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Where it is: JPEG or PNG.
    pub url: String,
    /// What it shows, in words.
    pub alt: String,
    /// Who made it.
    #[serde(default)]
    pub credit: Option<String>,
    /// In pixels.
    #[serde(default)]
    pub width: Option<u32>,
    /// In pixels.
    #[serde(default)]
    pub height: Option<u32>,
    /// Its weight, where we serve it.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// The figure of the day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The number with its unit: `62 %`.
    pub value: String,
    /// Of what.
    pub text: String,
    /// By whom.
    #[serde(default)]
    pub source: Option<String>,
    /// Where it is told.
    #[serde(default)]
    pub url: Option<String>,
}

/// One line of the agenda.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Appointment {
    /// `10:00`, or a place, or nothing.
    #[serde(default)]
    pub when: Option<String>,
    /// What.
    pub text: String,
}

/// Something lighter to close with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lighter {
    /// The headline.
    pub title: String,
    /// A sentence or two.
    pub text: String,
    /// Where it is told.
    #[serde(default)]
    pub url: Option<String>,
    /// By whom.
    #[serde(default)]
    pub source: Option<String>,
}

/// A partner's message: always labelled, and readable without a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sponsor {
    /// Who pays.
    pub name: String,
    /// What they say, plain text.
    pub text: String,
    /// Where it leads; empty where it leads nowhere.
    #[serde(default)]
    pub url: String,
    /// What the link says.
    pub link_text: String,
}

/// What an earlier edition had wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// The edition that had it wrong.
    #[serde(default)]
    pub date: Option<Date>,
    /// What is right.
    pub text: String,
}

impl Content {
    /// The same with every text fit to stand anywhere: one line each, without marks that turn or hide what follows.
    #[must_use]
    pub fn clean(mut self) -> Self {
        let newsletter = &mut self.newsletter;
        let mut texts =
            vec![&mut newsletter.name, &mut newsletter.publisher, &mut self.subject, &mut self.preheader];
        texts.extend(newsletter.promise.as_mut());
        texts.extend(newsletter.theme.footer.as_mut());
        texts.extend(newsletter.translations.iter_mut().map(|sister| &mut sister.name));
        texts.extend(self.opening.iter_mut().flat_map(|part| [&mut part.text, &mut part.signature]));
        for item in &mut self.items {
            texts.extend([&mut item.title, &mut item.summary, &mut item.source]);
            texts.extend(item.label.as_mut());
            texts.extend(item.section.as_mut());
            texts.extend(&mut item.countries);
            if let Some(image) = &mut item.image {
                texts.push(&mut image.alt);
                texts.extend(image.credit.as_mut());
            }
        }
        if let Some(figure) = &mut self.figure {
            texts.extend([&mut figure.value, &mut figure.text]);
            texts.extend(figure.source.as_mut());
        }
        for line in &mut self.agenda {
            texts.push(&mut line.text);
            texts.extend(line.when.as_mut());
        }
        if let Some(lighter) = &mut self.lighter {
            texts.extend([&mut lighter.title, &mut lighter.text]);
            texts.extend(lighter.source.as_mut());
        }
        if let Some(sponsor) = &mut self.sponsor {
            texts.extend([&mut sponsor.name, &mut sponsor.text, &mut sponsor.link_text]);
        }
        texts.extend(self.corrections.iter_mut().map(|correction| &mut correction.text));
        texts.extend(self.correction_note.as_mut());
        for text in texts {
            *text = plain::line(text);
        }
        self
    }
}

impl Newsletter {
    /// The address that answers reach.
    pub fn reply_address(&self) -> &str {
        self.reply_to.as_deref().map_or(&self.from_address, |reply_to| name_and_address(reply_to).1)
    }

    /// Whether this is the page of one of its own editions: where a text is read that has no page elsewhere.
    pub fn has_page(&self, url: &str) -> bool {
        url.starts_with(&format!("{}/e/{}/", self.public_url, self.id))
    }
}

/// The parts of `Name <address>`.
pub(super) fn name_and_address(mailbox: &str) -> (&str, &str) {
    match mailbox.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"'), address),
        None => ("", mailbox),
    }
}

impl Item {
    /// The language of the item's own words.
    pub fn language_or<'a>(&'a self, newsletter: &'a Newsletter) -> &'a str {
        if self.language.is_empty() { &newsletter.language } else { &self.language }
    }
}
