//! A newsletter's look as data: colours for light and dark, fonts, logo, footer. No recompiling to look like oneself.
//!
//! Owns what a colour is and which pairs of them can be read: every ink stands at 4.5:1 or better on paper and on
//! card, in both schemes, or the configuration is refused. Leaves to the mail and the pages where each is used.
//! Fonts and colours end up inside `style` attributes, so nothing gets in here that could close one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use super::reader::Section;

/// The least contrast of any text with what it stands on (WCAG 1.4.3).
pub const LEAST_CONTRAST: f64 = 4.5;

/// One colour, opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// How well this is read on that, from 1 to 21 (WCAG 2).
    pub fn contrast(self, on: Self) -> f64 {
        let (a, b) = (self.luminance(), on.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02X}{green:02X}{blue:02X}")
    }
}

impl FromStr for Colour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a colour such as \"#A8430F\", found {text:?}");
        let digits = text.strip_prefix('#').filter(|rest| rest.len() == 6).ok_or_else(wrong)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl TryFrom<String> for Colour {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Colour> for String {
    fn from(colour: Colour) -> Self {
        colour.to_string()
    }
}

/// The colours of one scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Palette {
    /// The page.
    pub paper: Colour,
    /// A panel on the page.
    pub card: Colour,
    /// Text and titles.
    pub ink: Colour,
    /// Kickers and credits.
    pub muted: Colour,
    /// Hairlines.
    pub line: Colour,
    /// Links and the number of an item.
    pub accent: Colour,
}

impl Palette {
    /// Paper at sunrise.
    pub const LIGHT: Self = Self {
        paper: Colour([0xFB, 0xF8, 0xF2]),
        card: Colour([0xFF, 0xFF, 0xFF]),
        ink: Colour([0x1C, 0x1A, 0x17]),
        muted: Colour([0x5F, 0x58, 0x4E]),
        line: Colour([0xE4, 0xDD, 0xD0]),
        accent: Colour([0xA8, 0x43, 0x0F]),
    };

    /// The same paper before sunrise.
    pub const DARK: Self = Self {
        paper: Colour([0x17, 0x15, 0x12]),
        card: Colour([0x20, 0x1D, 0x19]),
        ink: Colour([0xF2, 0xED, 0xE4]),
        muted: Colour([0xB5, 0xAB, 0x9C]),
        line: Colour([0x3A, 0x34, 0x2C]),
        accent: Colour([0xFF, 0xB2, 0x7A]),
    };

    /// The colours that are given, and the house's where they are not.
    fn read(section: &Section, house: Self) -> Self {
        let colour =
            |key: &str, otherwise: Colour| section.parse(key, str::parse::<Colour>).unwrap_or(otherwise);
        Self {
            paper: colour("paper", house.paper),
            card: colour("card", house.card),
            ink: colour("ink", house.ink),
            muted: colour("muted", house.muted),
            line: colour("line", house.line),
            accent: colour("accent", house.accent),
        }
    }

    fn faults(&self, scheme: &str) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (name, ink) in [("ink", self.ink), ("muted", self.muted), ("accent", self.accent)] {
            for (ground_name, ground) in [("paper", self.paper), ("card", self.card)] {
                let contrast = ink.contrast(ground);
                if contrast < LEAST_CONTRAST {
                    faults.push((
                        format!("{scheme}.{name}"),
                        format!(
                            "{ink} on {ground_name} {ground} has a contrast of {contrast:.1}:1, and text needs \
                             {LEAST_CONTRAST}:1: take a {} one",
                            if ground.luminance() > ink.luminance() { "darker" } else { "lighter" },
                        ),
                    ));
                }
            }
        }
        faults
    }
}

/// A picture of the newsletter's name; the name stands as text where pictures are blocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logo {
    /// Where it is: PNG or JPEG, over https.
    pub url: String,
    /// What it says, in words.
    pub alt: String,
    /// How wide it is shown, in CSS pixels.
    pub width: u32,
}

impl Logo {
    /// The logo, where its URL is given.
    fn read(section: &Section) -> Option<Self> {
        let url = section.text("url");
        let alt = section.text("alt").unwrap_or_default();
        let width = section.count("width", 16..=600).unwrap_or(200);
        Some(Self { url: url?, alt, width })
    }
}

/// A page of the publisher elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Social {
    /// What the link says.
    pub name: String,
    /// Where it leads.
    pub url: String,
}

/// Which spaces French marks have (L1); in what editors and sources write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum French {
    /// A thin one before `;` `!` `?` and inside « », a wide one before `:`.
    #[default]
    Classic,
    /// A thin one before each of them.
    Thin,
    /// As they are written.
    Plain,
}

impl FromStr for French {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "classic" => Ok(Self::Classic),
            "thin" => Ok(Self::Thin),
            "plain" => Ok(Self::Plain),
            _ => Err(format!("expected \"classic\", \"thin\" or \"plain\", found {text:?}")),
        }
    }
}

/// How a newsletter looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Theme {
    /// Colours by day.
    pub light: Palette,
    /// Colours where the reader's machine is dark.
    pub dark: Palette,
    /// CSS font stack of titles.
    pub title_font: String,
    /// CSS font stack of text.
    pub text_font: String,
    /// In place of the name in text.
    pub logo: Option<Logo>,
    /// A line of the publisher's own at the foot.
    pub footer: Option<String>,
    /// Pages elsewhere, linked at the foot.
    pub social: Vec<Social>,
    /// What sections of articles are called in the mail, by the name they arrive with.
    pub sections: BTreeMap<String, String>,
    /// How French is set.
    pub french: French,
}

impl Default for Theme {
    fn default() -> Self {
        Self {
            light: Palette::LIGHT,
            dark: Palette::DARK,
            title_font: "Georgia, 'Times New Roman', serif".to_owned(),
            text_font: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif".to_owned(),
            logo: None,
            footer: None,
            social: Vec::new(),
            sections: BTreeMap::new(),
            french: French::default(),
        }
    }
}

impl Theme {
    /// Reads `[newsletter.NAME.theme]`; every fault is told with its key.
    pub(super) fn read(section: &Section) -> Self {
        let house = Self::default();
        let (light, dark) = (section.section("light"), section.section("dark"));
        let (logo, social, sections) =
            (section.section("logo"), section.section("social"), section.section("sections"));
        let free = |table: &Section| -> Vec<(String, String)> {
            table.keys().into_iter().filter_map(|key| Some((key.clone(), table.text(&key)?))).collect()
        };
        let theme = Self {
            light: Palette::read(&light, house.light),
            dark: Palette::read(&dark, house.dark),
            title_font: section.text("title_font").unwrap_or(house.title_font),
            text_font: section.text("text_font").unwrap_or(house.text_font),
            logo: Logo::read(&logo),
            footer: section.text("footer").filter(|text| !text.trim().is_empty()),
            social: free(&social).into_iter().map(|(name, url)| Social { name, url }).collect(),
            sections: free(&sections).into_iter().collect(),
            french: section.parse("french", str::parse::<French>).unwrap_or_default(),
        };
        for (key, message) in theme.faults() {
            match key.split_once('.') {
                Some(("light", key)) => light.fault(key, message),
                Some(("dark", key)) => dark.fault(key, message),
                Some(("logo", key)) => logo.fault(key, message),
                Some(("social", key)) => social.fault(key, message),
                _ => section.fault(&key, message),
            }
        }
        theme
    }

    /// Everything that is wrong with it: the key below the theme, and what would be right.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = self.light.faults("light");
        faults.extend(self.dark.faults("dark"));
        for (key, stack) in [("title_font", &self.title_font), ("text_font", &self.text_font)] {
            if !is_font_stack(stack) {
                faults.push((
                    key.to_owned(),
                    "a font stack is names with commas between, quoted with ' where they have spaces"
                        .to_owned(),
                ));
            }
        }
        if let Some(logo) = &self.logo {
            faults.extend(https("logo.url", &logo.url));
            if !is_for_mail(&logo.url) {
                faults
                    .push(("logo.url".to_owned(), "a mail shows PNG, JPEG or GIF, no other kind".to_owned()));
            }
            if logo.alt.trim().is_empty() {
                faults.push(("logo.alt".to_owned(), "say in words what the logo shows".to_owned()));
            }
            if !(16..=600).contains(&logo.width) {
                faults.push(("logo.width".to_owned(), "between 16 and 600 pixels".to_owned()));
            }
        }
        for social in &self.social {
            faults.extend(https(&format!("social.{}", social.name), &social.url));
        }
        faults
    }
}

/// Whether this can stand in a `style` attribute as a font stack, and as nothing else.
pub fn is_font_stack(stack: &str) -> bool {
    let quotes = stack.bytes().filter(|b| *b == b'\'').count();
    !stack.trim().is_empty()
        && stack.len() <= 200
        && quotes.is_multiple_of(2)
        && stack.chars().all(|c| c.is_alphanumeric() || " ,-_'".contains(c))
}

/// Whether every mail program shows what this address ends in (M14).
fn is_for_mail(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    ![".svg", ".webp", ".avif", ".heic"].iter().any(|ending| path.ends_with(ending))
}

fn https(key: &str, url: &str) -> Option<(String, String)> {
    let good = Url::parse(url).is_ok_and(|url| url.scheme() == "https" && url.domain().is_some());
    (!good).then(|| (key.to_owned(), format!("expected an https URL, found {url:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m5_the_house_colours_can_be_read_in_both_schemes() {
        assert!(Theme::default().faults().is_empty());
        let close = |a: f64, b: f64| (a - b).abs() < 0.06;
        assert!(close(Palette::LIGHT.ink.contrast(Palette::LIGHT.paper), 16.4));
        assert!(close(Palette::DARK.accent.contrast(Palette::DARK.card), 9.5));
    }

    #[test]
    fn m5_a_pale_accent_is_refused_with_what_would_be_right() {
        let mut theme = Theme::default();
        theme.light.accent = "#FFB27A".parse().unwrap();
        let faults = theme.faults();
        assert_eq!(faults.len(), 2);
        assert_eq!(faults[0].0, "light.accent");
        assert!(faults[0].1.contains("darker"), "{}", faults[0].1);
    }

    #[test]
    fn p10_a_font_cannot_close_the_attribute_it_stands_in() {
        for stack in ["Georgia\"><script>", "a;color:red", "x}", "", "'unclosed"] {
            let theme = Theme { title_font: stack.to_owned(), ..Theme::default() };
            assert_eq!(theme.faults().len(), 1, "{stack:?}");
        }
    }

    #[test]
    fn a_colour_is_six_hexadecimal_digits() {
        for wrong in ["red", "#FFF", "#GGGGGG", "#FFFFFFF", "#+12345", "A8430F"] {
            assert!(wrong.parse::<Colour>().is_err(), "{wrong}");
        }
        assert_eq!("#a8430f".parse::<Colour>().unwrap().to_string(), "#A8430F");
    }
}
