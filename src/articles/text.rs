//! Clean plain text: no control characters, no invisible ones, no stray white space. Pure.
//!
//! What bidirectional text needs (the marks U+200E, U+200F, and the joiners that Persian, Arabic and emoji live by)
//! stays; what only hides or overrides (zero-width space, byte-order mark, overrides and isolates) goes.

/// One line: every run of white space, line breaks among it, becomes one space.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
        } else if !unwanted(c) {
            out.push(c);
        }
    }
    if out.ends_with(' ') {
        out.pop();
    }
    out
}

/// Paragraphs of one line each, an empty line between them.
///
/// Where the text has empty lines, they alone part paragraphs and other line breaks are only wrapping; where it
/// has none, every line is a paragraph.
pub fn paragraphs(text: &str) -> String {
    join(&split(text))
}

/// The paragraphs of a text, each a clean line, none empty.
pub fn split(text: &str) -> Vec<String> {
    const BREAKS: &[char] = &['\n', '\u{2028}', '\u{2029}', '\u{0b}', '\u{0c}', '\u{85}'];
    let unix = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<String> = unix.trim().split(BREAKS).map(line).collect();
    let parted = lines.iter().any(String::is_empty);
    let mut out: Vec<String> = Vec::new();
    let mut open = false;
    for line in lines {
        if line.is_empty() {
            open = false;
            continue;
        }
        match out.last_mut().filter(|_| open && parted) {
            Some(last) => {
                last.push(' ');
                last.push_str(&line);
            }
            None => out.push(line),
        }
        open = true;
    }
    out
}

/// Paragraphs as one text.
pub fn join(paragraphs: &[String]) -> String {
    paragraphs.join("\n\n")
}

/// At most so many characters, cut at a word with an ellipsis.
pub fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most.saturating_sub(1)).collect();
    let end = cut.rfind(' ').filter(|end| *end > cut.len() / 2).unwrap_or(cut.len());
    format!("{}…", cut.get(..end).unwrap_or(&cut).trim_end_matches([' ', ',', ';', ':', '.']))
}

fn unwanted(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2069}' | '\u{202a}'..='\u{202e}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}' | '\u{e0000}'..='\u{e007f}')
        || (c as u32) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_title_with_line_breaks_is_one_line_without_what_hides() {
        assert_eq!(line(" Un\r\nBcc: x@y\u{200b}\u{202e}\0  titre\u{a0}! "), "Un Bcc: x@y titre !");
        assert_eq!(line("می\u{200c}خواهم"), "می\u{200c}خواهم");
    }

    #[test]
    fn wrapped_lines_are_joined_only_where_empty_lines_part_paragraphs() {
        assert_eq!(paragraphs("a\nb\n\nc\r\n\r\nd"), "a b\n\nc\n\nd");
        assert_eq!(paragraphs("a\r\nb\r\nc"), "a\n\nb\n\nc");
        assert_eq!(paragraphs("  \n \n"), "");
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_word() {
        assert_eq!(clip("un deux trois", 20), "un deux trois");
        assert_eq!(clip("un deux trois quatre", 12), "un deux…");
    }
}
