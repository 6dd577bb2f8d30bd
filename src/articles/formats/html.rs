//! Markup to plain paragraphs, and the picture in it. Pure.
//!
//! ammonia parses what may be anything and gives well-formed, harmless markup of a few elements; the small scanner
//! here relies on that and only ever reads ammonia's output. Links lose their target and keep their words; scripts,
//! styles, forms, navigation and embedded things go with all that is in them.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use ammonia::Builder;

use crate::articles::text;

/// Markup longer than this is cut: no article is so long, and parsing costs memory.
const MAX_BYTES: usize = 4 << 20;

/// Markup that nests deeper is flattened first: the parser's time grows with the square of the depth.
const MAX_DEPTH: usize = 200;

/// Elements that are never closed, or close by themselves.
const FLAT: &[&str] = &[
    "br", "img", "meta", "link", "hr", "input", "source", "p", "li", "td", "tr", "th", "path", "area", "wbr",
    "option", "dd", "dt", "col", "base", "embed",
];

/// Elements that part paragraphs.
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "blockquote",
    "pre",
    "table",
    "tr",
    "figure",
    "hr",
    "center",
    "details",
    "summary",
];

/// Elements that go with their content.
const DROPPED: &[&str] = &[
    "script",
    "style",
    "template",
    "noscript",
    "iframe",
    "object",
    "embed",
    "applet",
    "form",
    "button",
    "select",
    "textarea",
    "nav",
    "aside",
    "svg",
    "math",
    "canvas",
    "audio",
    "video",
    "figcaption",
    "title",
    "head",
    "dialog",
    "menu",
    "map",
];

static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut tags: HashSet<&str> = BLOCKS.iter().copied().collect();
    tags.extend(["br", "td", "th", "img"]);
    let mut builder = Builder::default();
    builder
        .tags(tags)
        .clean_content_tags(DROPPED.iter().copied().collect())
        .tag_attributes(HashMap::from([("img", HashSet::from(["src", "alt", "width", "height"]))]))
        .generic_attributes(HashSet::new())
        .url_schemes(HashSet::from(["http", "https"]))
        .link_rel(None);
    builder
});

/// A picture found in markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its address, as written.
    pub src: String,
    /// Its alternative text.
    pub alt: String,
}

/// What a piece of markup says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its paragraphs, each a clean line.
    pub paragraphs: Vec<String>,
    /// The first picture that is no tracking pixel.
    pub picture: Option<Picture>,
}

/// Whether a text that should be plain is markup after all.
pub fn looks_like_markup(text: &str) -> bool {
    const TELLING: &[&str] = &[
        "a",
        "b",
        "i",
        "p",
        "br",
        "em",
        "ul",
        "ol",
        "li",
        "td",
        "tr",
        "h1",
        "h2",
        "h3",
        "h4",
        "div",
        "img",
        "svg",
        "span",
        "code",
        "font",
        "style",
        "table",
        "script",
        "strong",
        "iframe",
        "figure",
        "section",
        "article",
        "blockquote",
        "html",
        "body",
        "object",
        "embed",
        "form",
        "input",
        "video",
        "audio",
    ];
    text.match_indices('<').any(|(at, _)| {
        let rest = text.get(at + 1..).unwrap_or_default();
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let name: String = rest
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .take(12)
            .collect::<String>()
            .to_ascii_lowercase();
        let after = rest.get(name.len()..).and_then(|rest| rest.chars().next());
        TELLING.contains(&name.as_str()) && after.is_some_and(|c| c == '>' || c == '/' || c.is_whitespace())
    })
}

/// The words of a piece of markup on one line.
pub fn line(markup: &str) -> String {
    let mut out = read(markup).paragraphs.join(" ");
    // Titles are often escaped twice: what still shows an entity is read once more.
    if out.contains('&') && has_entity(&out) {
        out = read(&out).paragraphs.join(" ");
    }
    out
}

/// Paragraphs and picture of a piece of markup.
pub fn read(markup: &str) -> Content {
    let mut end = markup.len().min(MAX_BYTES);
    while !markup.is_char_boundary(end) {
        end -= 1;
    }
    let markup = markup.get(..end).unwrap_or_default();
    if !markup.contains(['<', '&']) {
        return Content { paragraphs: text::split(markup), picture: None };
    }
    if depth(markup) > MAX_DEPTH {
        return scan(&CLEANER.clean(&flattened(markup)).to_string());
    }
    scan(&CLEANER.clean(markup).to_string())
}

/// Roughly how deep markup nests.
pub(super) fn depth(markup: &str) -> usize {
    let (mut deep, mut deepest) = (0_usize, 0);
    for (at, _) in markup.match_indices('<') {
        match markup.as_bytes().get(at + 1) {
            Some(b'/') => deep = deep.saturating_sub(1),
            Some(b) if b.is_ascii_alphabetic() && !FLAT.contains(&tag_name(markup, at + 1).as_str()) => {
                deep += 1;
                deepest = deepest.max(deep);
            }
            _ => {}
        }
    }
    deepest
}

/// The element's name that begins at this byte, lower case.
fn tag_name(markup: &str, at: usize) -> String {
    let rest = markup.get(at..).unwrap_or_default();
    rest.chars().take_while(char::is_ascii_alphanumeric).take(12).collect::<String>().to_ascii_lowercase()
}

/// The words alone, a line break for every tag.
fn flattened(markup: &str) -> String {
    let mut out = String::new();
    let mut rest = markup;
    while let Some((words, tag)) = rest.split_once('<') {
        out.push_str(words);
        out.push_str("<br>");
        let name = tag_name(tag, 0);
        if name == "script" || name == "style" {
            // Without its end it swallows the rest, as in a browser.
            rest = tag.split_once("</").map_or("", |(_, after)| after);
        } else {
            rest = tag;
        }
        rest = rest.split_once('>').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

/// Reads ammonia's output.
fn scan(clean: &str) -> Content {
    let mut content = Content::default();
    let mut open = String::new();
    let mut breaks = 0;
    let mut rest = clean;
    while !rest.is_empty() {
        let (words, tail) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
        if !words.trim().is_empty() {
            breaks = 0;
        }
        unescape(words, &mut open);
        let Some((tag, after)) = tail.strip_prefix('<').and_then(|tail| tail.split_once('>')) else { break };
        rest = after;
        let closing = tag.starts_with('/');
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        match name {
            "br" => {
                breaks += 1;
                // Two in a row are what old pages use for a paragraph.
                if breaks > 1 { close(&mut open, &mut content.paragraphs) } else { open.push(' ') }
            }
            "td" | "th" => open.push(' '),
            "img" if !closing && content.picture.is_none() => content.picture = picture(tag),
            name if BLOCKS.contains(&name) => close(&mut open, &mut content.paragraphs),
            _ => {}
        }
    }
    close(&mut open, &mut content.paragraphs);
    content
}

fn close(open: &mut String, paragraphs: &mut Vec<String>) {
    let line = text::line(open);
    if !line.is_empty() {
        paragraphs.push(line);
    }
    open.clear();
}

/// The picture of an `img` tag, unless it is there to watch the reader.
fn picture(tag: &str) -> Option<Picture> {
    let attribute = |name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        let mut out = String::new();
        unescape(rest.split('"').next()?, &mut out);
        Some(out)
    };
    let tiny = |name: &str| {
        attribute(name)
            .and_then(|text| text.trim().trim_end_matches("px").parse::<f32>().ok())
            .is_some_and(|size| size < 20.0)
    };
    let src = attribute("src").filter(|src| !src.trim().is_empty())?;
    if tiny("width") || tiny("height") || tracking(&src) {
        return None;
    }
    Some(Picture { src, alt: attribute("alt").map(|alt| text::line(&alt)).unwrap_or_default() })
}

/// Whether a picture's address is one of those that only count readers.
pub fn tracking(src: &str) -> bool {
    const SIGNS: &[&str] = &[
        "feedburner.com/~",
        "feeds.feedburner.com",
        "/pixel.",
        "/pixel?",
        "/pixel/",
        "doubleclick.net",
        "/1x1.",
        "spacer.gif",
        "blank.gif",
        "pixel.wp.com",
        "stats.wordpress.com",
        "b.gif?",
        "feedsportal.com",
        "/count.gif",
        "/track/",
        "/beacon",
        "google-analytics.com",
        "gravatar.com/avatar",
        "s.w.org/images/core/emoji",
    ];
    let src = src.to_ascii_lowercase();
    src.starts_with("data:") || SIGNS.iter().any(|sign| src.contains(sign))
}

fn has_entity(text: &str) -> bool {
    text.match_indices('&').any(|(at, _)| {
        let rest: String = text.get(at + 1..).unwrap_or_default().chars().take(10).collect();
        rest.split_once(';').is_some_and(|(name, _)| {
            let name = name.strip_prefix('#').unwrap_or(name);
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())
        })
    })
}

/// ammonia writes only these.
fn unescape(words: &str, out: &mut String) {
    let mut rest = words;
    while let Some(at) = rest.find('&') {
        let (before, entity) = rest.split_at(at);
        out.push_str(before);
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&nbsp;", '\u{a0}')];
        let (name, c) = known.iter().find(|(name, _)| entity.starts_with(name)).unwrap_or(&("&", '&'));
        out.push(*c);
        rest = entity.get(name.len()..).unwrap_or_default();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_scripts_go_and_words_stay() {
        let content = read(
            "<p onclick=x()>Le <b>préfet</b> a dit&nbsp;: &laquo;&#160;non&#160;&raquo;.<script>alert(1)</script></p>\
             <style>p{}</style><ul><li>un<li>deux</ul>a<br>b<br><br>c <a href='javascript:x'>lien</a><iframe src=x>y</iframe>",
        );
        assert_eq!(content.paragraphs, ["Le préfet a dit : « non ».", "un", "deux", "a b", "c lien"]);
        assert_eq!(line("Un &amp;amp; deux &lt;script&gt;alert(1)&lt;/script&gt; trois"), "Un & deux trois");
        assert_eq!(line("AT&amp;T"), "AT&T");
    }

    #[test]
    fn p9_a_pixel_is_no_picture() {
        let content = read(
            "<img src='https://t.example/p.gif' width=1 height=1><img src='data:image/gif;base64,R0'>\
             <img src='javascript:x'><img src=\"https://i.example/a.jpg?x=1&amp;y=2\" alt='Un &quot;port&quot;'>",
        );
        let expected =
            Picture { src: "https://i.example/a.jpg?x=1&y=2".to_owned(), alt: "Un \"port\"".to_owned() };
        assert_eq!(content.picture, Some(expected));
    }

    #[test]
    fn only_real_tags_make_a_text_markup() {
        assert!(looks_like_markup("x <SCRIPT>y"));
        assert!(looks_like_markup("a<br/>b"));
        assert!(!looks_like_markup("si a < b et b > c, <abc> ou <3"));
    }

    #[test]
    fn p10_deep_nesting_ends() {
        let deep = "<div>".repeat(50_000) + "x";
        assert_eq!(read(&deep).paragraphs, ["x"]);
    }
}
