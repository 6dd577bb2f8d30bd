//! A content as its templates show it: in one language, clean, set, with proposals where editors wrote nothing.
//!
//! Fixed phrases, dates and numbers speak the reader's language; editors' words and items keep their own, and say so
//! with `lang` and `dir`. Every part may be missing: what is empty here is not in the mail.

use super::around::{Around, FigureView, LighterView, SponsorView};
use super::content::{Content, Translation};
use super::item::{self, ItemView, MenuLine, distinguish, held};
use super::language::{Language, Phrases, is_right_to_left, put};
use super::plain;
use super::prepared::{CONSENT, SLOT};
use super::proposed::{self, JOINT};
use super::tongue::{Named, Tongue};
use crate::config::theme::Theme;

/// Words a minute.
const PACE: usize = 230;
/// Items from this position on are short.
pub(crate) const BRIEF_FROM: u32 = 8;
/// The partner's place is after this item.
const SPONSOR_AFTER: u32 = 3;

pub(super) struct View<'a> {
    pub(super) theme: &'a Theme,
    pub(super) language: Language,
    pub(super) subject: String,
    pub(super) preheader: String,
    /// The language of the editors' own words.
    pub(super) own: Tongue,
    pub(super) name: String,
    pub(super) publisher: String,
    pub(super) date: String,
    pub(super) length: String,
    pub(super) opening: Option<(String, String)>,
    /// The lead and the stories that are told in full.
    pub(super) full: Vec<ItemView>,
    pub(super) brief: Vec<ItemView>,
    pub(super) menu: Vec<MenuLine>,
    pub(super) sponsor: Option<SponsorView>,
    /// The item that the sponsor stands after.
    pub(super) sponsor_after: u32,
    pub(super) figure: Option<FigureView>,
    pub(super) agenda: Vec<(String, String)>,
    pub(super) lighter: Option<LighterView>,
    pub(super) corrections: Vec<(String, String)>,
    pub(super) links: Links,
    pub(super) why: String,
    /// The place where it is said when and where this reader asked for it.
    pub(super) consent: &'static str,
    /// How to answer, around the address that answers reach.
    pub(super) reply: Named,
    pub(super) sisters: Vec<Sister>,
    pub(super) social: Vec<(String, String)>,
}

pub(super) struct Links {
    pub(super) unsubscribe: String,
    pub(super) preferences: String,
    pub(super) browser: String,
    pub(super) subscribe: String,
}

/// The newsletter in another language.
pub(super) struct Sister {
    pub(super) text: String,
    pub(super) lang: String,
    pub(super) dir: &'static str,
    pub(super) url: String,
}

impl<'a> View<'a> {
    pub(super) fn new(content: &'a Content, language: Language) -> Self {
        let newsletter = &content.newsletter;
        let phrases = language.phrases();
        let base = &newsletter.public_url;
        let links = Links {
            unsubscribe: format!("{base}/u/{SLOT}"),
            preferences: format!("{base}/p/{SLOT}"),
            browser: page_of(content, language),
            subscribe: format!("{base}/s/{}", newsletter.id),
        };
        let own_words = Language::of(&newsletter.language).unwrap_or(language);
        let french = newsletter.theme.french;
        let own = |text: &str| own_words.polish(&plain::line(text), french);
        let mut items: Vec<ItemView> =
            content.items.iter().map(|item| ItemView::new(item, newsletter, language, &links)).collect();
        let menu = item::menu(&items, content, language);
        distinguish(&mut items, &menu, &[phrases.read_on, phrases.browser]);
        let around = Around::new(content, language);
        let words: usize = items.iter().map(|item| count(&item.title) + count(&item.summary)).sum::<usize>()
            + around.words();
        let minutes = language.number(words.div_ceil(PACE).max(1));
        let length = put(phrases.length, &[("minutes", &minutes), ("words", &language.number(words))]);
        let (mut full, mut brief) = (Vec::new(), Vec::new());
        for item in items {
            match item.position {
                position if position < BRIEF_FROM => full.push(item),
                _ => brief.push(item),
            }
        }
        let last = full.last().map_or(0, |item: &ItemView| item.position);
        let name = plain::line(&newsletter.name);
        let date = match content.number {
            Some(number) => {
                let number = put(phrases.edition_number, &[("number", &number.to_string())]);
                format!("{} · {number}", language.date(content.date))
            }
            None => language.date(content.date),
        };
        Self {
            theme: &newsletter.theme,
            language,
            subject: proposed::subject(content, full.first().map(|lead| lead.title.as_str()), &own),
            preheader: proposed::preheader(
                content,
                full.iter().skip(1).map(|item| item.title.as_str()),
                &own,
            ),
            own: Tongue::new(&newsletter.language, language),
            why: language.polish(&put(phrases.why, &[("newsletter", &name)]), french),
            consent: CONSENT,
            reply: Named::new(phrases.reply, "{address}", plain::line(newsletter.reply_address())),
            sisters: newsletter.translations.iter().map(|sister| Sister::new(sister, base)).collect(),
            name,
            publisher: plain::line(&newsletter.publisher),
            date,
            length,
            opening: around.opening,
            full,
            brief,
            menu: menu.into_iter().filter(|line| !line.label.is_empty()).collect(),
            sponsor: around.sponsor,
            sponsor_after: last.min(SPONSOR_AFTER),
            figure: around.figure,
            agenda: around.agenda,
            lighter: around.lighter,
            corrections: around.corrections,
            links,
            social: newsletter
                .theme
                .social
                .iter()
                .filter_map(|social| Some((plain::line(&social.name), plain::page(&social.url)?)))
                .collect(),
        }
    }

    /// The first line in its parts, where they do not all run the same way and each has to keep its own order.
    pub(super) fn lines_of_preheader(&self) -> Vec<&str> {
        let parts: Vec<&str> = self.preheader.split(JOINT).collect();
        let ways: Vec<bool> = parts.iter().filter_map(|part| plain::runs_right_to_left(part)).collect();
        if ways.windows(2).all(|two| two[0] == two[1]) { vec![&self.preheader] } else { parts }
    }

    /// Minutes and words on one line, so that a narrow screen breaks before them and not between.
    pub(super) fn length_held(&self) -> String {
        held(&self.length)
    }

    pub(super) fn tag(&self) -> &'static str {
        self.language.tag()
    }

    pub(super) fn dir(&self) -> &'static str {
        self.language.dir()
    }

    /// Where text begins.
    pub(super) fn start(&self) -> &'static str {
        if self.language.phrases().right_to_left { "right" } else { "left" }
    }

    pub(super) fn text_font(&self) -> &str {
        self.language.phrases().font.unwrap_or(&self.theme.text_font)
    }

    pub(super) fn title_font(&self) -> &str {
        self.language.phrases().font.unwrap_or(&self.theme.title_font)
    }

    /// Running text. Arabic letters are smaller in their body, and their lines need more room.
    pub(super) fn body(&self) -> &'static str {
        if self.language.phrases().right_to_left {
            "font-size:19px;line-height:32px;"
        } else {
            "font-size:17px;line-height:27px;"
        }
    }

    /// Links, the menu, the foot.
    pub(super) fn small(&self) -> &'static str {
        if self.language.phrases().right_to_left {
            "font-size:17px;line-height:27px;"
        } else {
            "font-size:15px;line-height:23px;"
        }
    }

    /// Credits and labels.
    pub(super) fn tiny(&self) -> &'static str {
        if self.language.phrases().right_to_left {
            "font-size:15px;line-height:22px;"
        } else {
            "font-size:13px;line-height:18px;"
        }
    }

    /// The small line above a title. Arabic letters join, and have no capitals.
    pub(super) fn kicker(&self) -> &'static str {
        if self.language.phrases().right_to_left {
            "font-size:15px;line-height:22px;"
        } else {
            "font-size:13px;line-height:18px;letter-spacing:0.06em;text-transform:uppercase;"
        }
    }

    pub(super) fn p(&self) -> &'static Phrases {
        self.language.phrases()
    }
}

impl Sister {
    fn new(sister: &Translation, base: &str) -> Self {
        let name = plain::line(&sister.name);
        let language = Language::of(&sister.language);
        Self {
            text: held(
                &language.map_or_else(|| name.clone(), |known| format!("{} ({name})", known.phrases().name)),
            ),
            lang: sister.language.clone(),
            dir: if is_right_to_left(&sister.language) { "rtl" } else { "ltr" },
            url: format!("{base}/s/{}", sister.id),
        }
    }
}

/// The edition's page, in the language of its reader.
fn page_of(content: &Content, language: Language) -> String {
    let newsletter = &content.newsletter;
    let page = format!("{}/e/{}/{}", newsletter.public_url, newsletter.id, content.date);
    if Language::of(&newsletter.language) == Some(language) {
        page
    } else {
        format!("{page}?lang={}", language.tag())
    }
}

/// How many words; a mark that stands alone is none.
pub(super) fn count(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count()
}
