//! What stands around the items, as the templates show it: the opening, the partner, the figure, the agenda, something
//! lighter, corrections. Editors give each or leave it out, and what is empty once it is clean is left out too.

use super::content::{Content, Correction, Figure, Lighter, Sponsor};
use super::item::held;
use super::language::{Language, put};
use super::plain;
use super::proposed::first_words;
use super::tongue::Named;
use super::view::count;

pub(super) struct Around {
    /// What it says, and who signs.
    pub(super) opening: Option<(String, String)>,
    pub(super) sponsor: Option<SponsorView>,
    pub(super) figure: Option<FigureView>,
    /// When, which may be empty, and what.
    pub(super) agenda: Vec<(String, String)>,
    pub(super) lighter: Option<LighterView>,
    /// What each is headed with, and what is right.
    pub(super) corrections: Vec<(String, String)>,
}

pub(super) struct SponsorView {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) link: Option<(String, String)>,
}

pub(super) struct FigureView {
    pub(super) value: String,
    pub(super) text: String,
    /// Where it is told, what the link says in the reader's language, and what it is about in the editors'.
    pub(super) link: Option<(String, Named, String)>,
    pub(super) source: Option<Named>,
}

pub(super) struct LighterView {
    pub(super) title: String,
    pub(super) text: String,
    /// As a figure's.
    pub(super) link: Option<(String, Named, String)>,
}

/// Two languages: the editors' own words keep theirs, fixed phrases and dates are in the reader's.
struct Setting<'a> {
    content: &'a Content,
    words: Language,
    reader: Language,
}

impl Around {
    pub(super) fn new(content: &Content, language: Language) -> Self {
        let words = Language::of(&content.newsletter.language).unwrap_or(language);
        let setting = Setting { content, words, reader: language };
        let opening = content.opening.as_ref();
        let agenda = content.agenda.iter();
        Self {
            opening: opening
                .map(|opening| (setting.own(&opening.text), setting.own(&opening.signature)))
                .filter(|(text, _)| !text.is_empty()),
            sponsor: content.sponsor.as_ref().map(|sponsor| setting.sponsor(sponsor)),
            figure: content.figure.as_ref().map(|figure| setting.figure(figure)),
            agenda: agenda
                .map(|line| (setting.own(line.when.as_deref().unwrap_or_default()), setting.own(&line.text)))
                .filter(|(_, text)| !text.is_empty())
                .collect(),
            lighter: content.lighter.as_ref().map(|lighter| setting.lighter(lighter)),
            corrections: content
                .corrections
                .iter()
                .map(|correction| (setting.heading(correction), setting.own(&correction.text)))
                .filter(|(_, text)| !text.is_empty())
                .collect(),
        }
    }

    /// How many words there are to read; a partner's are none of the edition's.
    pub(super) fn words(&self) -> usize {
        let pairs = self.agenda.iter().map(|(when, text)| count(when) + count(text));
        self.opening.as_ref().map_or(0, |(text, _)| count(text))
            + self.figure.as_ref().map_or(0, |figure| count(&figure.value) + count(&figure.text))
            + pairs.sum::<usize>()
            + self.lighter.as_ref().map_or(0, |lighter| count(&lighter.title) + count(&lighter.text))
            + self.corrections.iter().map(|(_, text)| count(text)).sum::<usize>()
    }
}

impl Setting<'_> {
    fn own(&self, text: &str) -> String {
        self.words.polish(&plain::line(text), self.content.newsletter.theme.french)
    }

    fn sponsor(&self, sponsor: &Sponsor) -> SponsorView {
        SponsorView {
            name: self.own(&sponsor.name),
            text: self.own(&sponsor.text),
            link: plain::page(&sponsor.url).map(|url| (url, self.own(&sponsor.link_text))),
        }
    }

    fn figure(&self, figure: &Figure) -> FigureView {
        let phrases = self.reader.phrases();
        let value = self.own(&figure.value);
        let link = self.link(figure.url.as_ref(), figure.source.as_ref(), &value);
        // A link names its source already.
        let source = figure.source.as_ref().map(|source| self.own(source));
        let source = source.filter(|source| link.is_none() && !source.is_empty());
        FigureView {
            value: held(&value),
            text: self.own(&figure.text),
            source: source.map(|name| Named {
                before: format!("{}{}", phrases.source, phrases.colon),
                name,
                after: String::new(),
            }),
            link,
        }
    }

    fn lighter(&self, lighter: &Lighter) -> LighterView {
        let (title, text) = (self.own(&lighter.title), self.own(&lighter.text));
        let about = if title.is_empty() { first_words(&text) } else { title.clone() };
        LighterView { link: self.link(lighter.url.as_ref(), lighter.source.as_ref(), &about), title, text }
    }

    fn link(
        &self,
        url: Option<&String>,
        source: Option<&String>,
        about: &str,
    ) -> Option<(String, Named, String)> {
        let phrases = self.reader.phrases();
        let text = match source.map(|source| self.own(source)).filter(|source| !source.is_empty()) {
            Some(source) => Named::new(phrases.read_at, "{source}", source),
            None => Named::alone(phrases.read_on),
        };
        Some((plain::page(url?)?, text, about.to_owned()))
    }

    fn heading(&self, correction: &Correction) -> String {
        let phrases = self.reader.phrases();
        let Some(date) = correction.date else { return phrases.correction.to_owned() };
        let date = in_sentence(self.reader, &self.reader.date(date));
        format!("{} · {}", phrases.correction, put(phrases.correction_of, &[("date", &date)]))
    }
}

/// A date inside a sentence: French and Portuguese write the weekday small there.
fn in_sentence(language: Language, date: &str) -> String {
    let mut chars = date.chars();
    match chars.next() {
        Some(first) if matches!(language.tag(), "fr" | "pt") => first.to_lowercase().chain(chars).collect(),
        _ => date.to_owned(),
    }
}
