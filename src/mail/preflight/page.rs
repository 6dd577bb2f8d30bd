//! Reads the HTML that our templates make: tags with quoted attributes, and text between them.

/// A piece of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Open(Tag<'a>),
    Close(&'a str),
    Text(&'a str),
}

/// A tag with its attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) name: &'a str,
    pub(super) attributes: Vec<(&'a str, &'a str)>,
}

impl Tag<'_> {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// The pieces of a page; comments and the document type are left out.
pub(super) fn pieces(html: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        if open > 0 {
            out.push(Piece::Text(&rest[..open]));
        }
        rest = &rest[open..];
        if rest.starts_with("<!--") {
            rest = rest.find("-->").map_or("", |end| &rest[end + 3..]);
            continue;
        }
        let Some(end) = rest.find('>') else { break };
        let inner = &rest[1..end];
        rest = &rest[end + 1..];
        if let Some(name) = inner.strip_prefix('/') {
            out.push(Piece::Close(name));
        } else if !inner.starts_with('!') {
            out.push(Piece::Open(tag(inner)));
        }
    }
    out
}

fn tag(inner: &str) -> Tag<'_> {
    let (name, mut rest) = inner.split_once(' ').unwrap_or((inner, ""));
    let mut attributes = Vec::new();
    while let Some((key, after)) = rest.split_once("=\"") {
        let Some((value, more)) = after.split_once('"') else { break };
        attributes.push((key.trim(), value));
        rest = more;
    }
    Tag { name, attributes }
}

/// Text as it is read: escapes undone, blanks single.
pub(super) fn plain(text: &str) -> String {
    let text = text
        .replace("&nbsp;", " ")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#38;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Each element of this name with its tag and the text inside.
pub(super) fn elements<'a>(pieces: &[Piece<'a>], name: &str) -> Vec<(Tag<'a>, String)> {
    let mut out = Vec::new();
    let mut open: Option<(Tag<'a>, String)> = None;
    for piece in pieces {
        match piece {
            Piece::Open(tag) if tag.name == name => open = Some((tag.clone(), String::new())),
            Piece::Open(tag) if tag.name == "img" => {
                if let Some((_, text)) = &mut open {
                    text.push_str(tag.get("alt").unwrap_or_default());
                }
            }
            Piece::Text(inner) => {
                if let Some((_, text)) = &mut open {
                    text.push_str(inner);
                }
            }
            Piece::Close(closed) if *closed == name => {
                if let Some((tag, text)) = open.take() {
                    out.push((tag, plain(&text)));
                }
            }
            _ => {}
        }
    }
    out
}
