//! A content in one language: subject, preheader, HTML and text, from one view.

use askama::Template;
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr as _};

use super::Error;
use super::content::Content;
use super::language::Language;
use super::view::View;

/// The columns of a line of text (X2).
pub(super) const COLUMNS: usize = 72;

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
        wrap(line, &mut out);
    }
    out
}

fn wrap(line: &str, out: &mut String) {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut width = 0;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        for piece in pieces(word, COLUMNS - indent.len().min(COLUMNS / 2)) {
            // The rest of a word that was broken begins a line, as what has no room does.
            let begins = piece.as_ptr() != word.as_ptr();
            if width > 0 && (begins || width + 1 + columns(piece) > COLUMNS) {
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
            out.push_str(piece);
            width += columns(piece);
        }
    }
    out.push('\n');
}

/// How many columns a text takes, at most: terminals differ in whether they join letters that can be joined.
pub(super) fn columns(text: &str) -> usize {
    let apart = text.chars().filter_map(UnicodeWidthChar::width).sum();
    text.width().max(apart)
}

/// A word in pieces that have room on a line, cut between whole characters as readers see them. A link is one piece.
fn pieces(word: &str, room: usize) -> Vec<&str> {
    if columns(word) <= room || word.contains("://") {
        return vec![word];
    }
    let mut out = Vec::new();
    let (mut start, mut width) = (0, 0);
    for (at, cluster) in word.grapheme_indices(true) {
        if width > 0 && width + columns(cluster) > room {
            out.push(&word[start..at]);
            (start, width) = (at, 0);
        }
        width += columns(cluster);
    }
    out.push(&word[start..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x2_lines_end_by_the_columns_that_they_take() {
        let wide = "可可豆价格上涨".repeat(8);
        let text = wrapped(&format!("{wide}\n{}\n  {}", "mot ".repeat(30), "x".repeat(150)));
        assert!(text.lines().all(|line| columns(line) <= COLUMNS), "{text}");
        assert_eq!(text.lines().map(columns).collect::<Vec<_>>(), [72, 40, 71, 47, 72, 72, 12]);
        assert_eq!(text.lines().take(2).collect::<String>(), wide);
    }

    #[test]
    fn x2_a_cut_word_keeps_its_letters_whole_and_a_link_is_not_cut() {
        let family = "👩\u{200D}👩\u{200D}👧".repeat(60);
        let text = wrapped(&family);
        assert!(text.lines().all(|line| columns(line) <= COLUMNS && line.starts_with('👩')), "{text}");
        let link = format!("https://example.org/{}", "a".repeat(100));
        assert_eq!(wrapped(&format!("see {link} there")), format!("see\n{link}\nthere\n"));
    }
}
