//! A content in one language: subject, preheader, HTML and text, from one view.

use askama::Template;

use super::Error;
use super::content::Content;
use super::language::Language;
use super::view::View;

/// One revision in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// In which language.
    pub language: Language,
    /// The subject.
    pub subject: String,
    /// The first visible line.
    pub preheader: String,
    /// The HTML part.
    pub html: String,
    /// The text part.
    pub text: String,
}

#[derive(Template)]
#[template(path = "mail/edition.html")]
struct Html<'a> {
    view: &'a View<'a>,
}

#[derive(Template)]
#[template(path = "mail/edition.txt")]
struct Text<'a> {
    view: &'a View<'a>,
}

/// Renders a content as a mail in this language.
pub fn render(content: &Content, language: Language) -> Result<Rendered, Error> {
    let view = View::new(content, language);
    let html = Html { view: &view }.render().map_err(|error| Error::Template(error.to_string()))?;
    let text = Text { view: &view }.render().map_err(|error| Error::Template(error.to_string()))?;
    Ok(Rendered {
        language,
        subject: view.subject.clone(),
        preheader: view.preheader.clone(),
        html: tidy(&html),
        text: wrapped(&text),
    })
}

/// Without the indentation and the empty lines of the template.
fn tidy(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    for line in html.lines().map(str::trim).filter(|line| !line.is_empty()) {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// A text as it stands in HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&#38;"),
            '<' => out.push_str("&#60;"),
            '>' => out.push_str("&#62;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// X2: lines of at most 72 columns; links stay whole. At most one empty line in a row.
pub(super) fn wrapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 11 / 10);
    let mut blank = true;
    for line in text.lines() {
        if line.trim().is_empty() {
            if !blank {
                out.push('\n');
            }
            blank = true;
            continue;
        }
        blank = false;
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let mut width = 0;
        for word in line.split(' ').filter(|word| !word.is_empty()) {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > 72 {
                out.push('\n');
                width = 0;
            }
            if width == 0 {
                out.push_str(&indent);
                width = indent.len();
            } else {
                out.push(' ');
                width += 1;
            }
            out.push_str(word);
            width += length;
        }
        out.push('\n');
    }
    out
}
