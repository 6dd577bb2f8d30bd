//! Feeds that are not quite XML, mended once and within bounds. Pure.

const DECLARATION: &str = "<?xml ";
/// The head stands before every single entry: a longer one would fill the memory.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// More entries than this in one document are not looked at one by one.
const MAX_ENTRIES: usize = 2_000;

/// What may stand before the first try: without characters that XML cannot hold, and with a version that the
/// parser knows where the root is an `rss` of another one (0.90, 0.93, 0.94, none).
pub(super) fn prepared(xml: &str) -> String {
    let mut text: String = xml
        .chars()
        .filter(|c| {
            (!c.is_control() || matches!(c, '\t' | '\n' | '\r'))
                && !matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{feff}')
        })
        .collect();
    // A declaration's encoding was that of the bytes; this is text, and the parser must not decode it again. One
    // in the middle of a document it cannot stand at all.
    if text.contains(DECLARATION) {
        text = text
            .split(DECLARATION)
            .enumerate()
            .map(
                |(at, piece)| {
                    if at == 0 { piece } else { piece.split_once("?>").map_or(piece, |(_, rest)| rest) }
                },
            )
            .collect();
    }
    if let Some(start) = text.find("<rss")
        && let Some(length) = text.get(start..).and_then(|rest| rest.find('>'))
    {
        let tag = text.get(start..start + length).unwrap_or_default().to_owned();
        let version = version(&tag);
        if !matches!(version.as_deref(), Some("2.0" | "0.91" | "0.92" | "")) {
            let mended = match &version {
                Some(version) => tag
                    .replace(&format!("\"{version}\""), "\"2.0\"")
                    .replace(&format!("'{version}'"), "'2.0'"),
                None => tag.replacen("<rss", "<rss version=\"2.0\"", 1),
            };
            text.replace_range(start..start + length, &mended);
        }
    }
    // The first RDF feeds had names of their own for the same words.
    for old in ["http://my.netscape.com/rdf/simple/0.9/", "http://channel.netscape.com/rdf/simple/0.9/"] {
        if text.contains(old) {
            text = text.replace(old, "http://purl.org/rss/1.0/");
        }
    }
    if text.contains(ATOM_03) { atom_03(&text) } else { text }
}

const ATOM_03: &str = "http://purl.org/atom/ns#";

/// The draft of Atom that some feeds still speak, in the words of the standard.
fn atom_03(text: &str) -> String {
    let words = [
        (ATOM_03, "http://www.w3.org/2005/Atom"),
        ("issued>", "published>"),
        ("modified>", "updated>"),
        ("mode=\"escaped\"", ""),
        ("mode='escaped'", ""),
        ("mode=\"xml\"", ""),
        ("type=\"text/html\"", "type=\"html\""),
        ("type='text/html'", "type='html'"),
        ("type=\"text/plain\"", "type=\"text\""),
        ("type=\"application/xhtml+xml\"", "type=\"xhtml\""),
    ];
    words.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
}

fn version(tag: &str) -> Option<String> {
    let (_, rest) = tag.split_once(" version")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    rest.get(1..)?.split(quote).next().map(ToOwned::to_owned)
}

/// With every `&` that begins no entity of XML written as `&amp;`; so the undefined `&eacute;` becomes text that
/// is read as markup later. CDATA and comments stay as they are.
pub(super) fn ampersands(xml: &str) -> String {
    let mut out = String::with_capacity(xml.len() + 256);
    let mut rest = xml;
    while let Some(at) = rest.find(['&', '<']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let whole =
            [("<![CDATA[", "]]>"), ("<!--", "-->")].iter().find(|(open, _)| from.starts_with(open)).map(
                |(open, close)| from.find(close).map_or(from.len(), |end| end.max(open.len()) + close.len()),
            );
        if let Some(length) = whole {
            let length = length.min(from.len());
            out.push_str(from.get(..length).unwrap_or(from));
            rest = from.get(length..).unwrap_or_default();
            continue;
        }
        if from.starts_with('&') {
            out.push_str(if is_entity(from) { "&" } else { "&amp;" });
        } else {
            out.push('<');
        }
        rest = from.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn is_entity(from: &str) -> bool {
    let head: String = from.chars().skip(1).take(10).collect();
    let Some((name, _)) = head.split_once(';') else { return false };
    match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(hex) => {
                u32::from_str_radix(hex, 16).is_ok_and(|code| char::from_u32(code).is_some() && code > 0)
            }
            None => number.parse::<u32>().is_ok_and(|code| char::from_u32(code).is_some() && code > 0),
        },
        None => matches!(name, "amp" | "lt" | "gt" | "quot" | "apos"),
    }
}

/// The entries of a feed, each as a document of its own with the feed's head around it; the last may be cut off.
///
/// Empty where there is no entry to be seen.
pub(super) fn single(xml: &str) -> Vec<String> {
    let starts = starts(xml);
    let Some((first, name)) = starts.first().cloned() else { return Vec::new() };
    let head = xml.get(..first).unwrap_or_default();
    if head.len() > MAX_HEAD_BYTES {
        return Vec::new();
    }
    let Some(root) = root(head) else { return Vec::new() };
    let channel =
        name.rsplit_once(':').map_or("channel".to_owned(), |(prefix, _)| format!("{prefix}:channel"));
    let open = head.contains(&format!("<{channel}")) && !head.contains(&format!("</{channel}"));
    let tail = if open { format!("</{channel}></{root}>") } else { format!("</{root}>") };
    let close = format!("</{name}>");
    starts
        .iter()
        .take(MAX_ENTRIES)
        .enumerate()
        .map(|(at, (start, _))| {
            let end = starts.get(at + 1).map_or(xml.len(), |(next, _)| *next);
            let entry = xml.get(*start..end).unwrap_or_default();
            let entry = entry.rfind(&close).and_then(|end| entry.get(..end + close.len())).unwrap_or(entry);
            format!("{head}{entry}{tail}")
        })
        .collect()
}

/// How many entries a feed seems to have.
pub(super) fn count(xml: &str) -> usize {
    starts(xml).len()
}

/// Where entries begin, and their element's name.
fn starts(xml: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut at = 0;
    while let Some(found) = xml.get(at..).and_then(|rest| rest.find('<')) {
        let start = at + found;
        let rest = xml.get(start..).unwrap_or_default();
        // What stands in CDATA or in a comment is no entry.
        if let Some((_, close)) =
            [("<![CDATA[", "]]>"), ("<!--", "-->")].iter().find(|(open, _)| rest.starts_with(open))
        {
            match rest.find(close) {
                Some(end) => at = start + end + close.len(),
                None => break,
            }
            continue;
        }
        at = start + 1;
        let name: &str = rest.get(1..).unwrap_or_default();
        let end = name
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-' | '.')))
            .unwrap_or(0);
        let name = name.get(..end).unwrap_or_default();
        let local = name.rsplit(':').next().unwrap_or_default();
        if matches!(local, "item" | "entry") && out.first().is_none_or(|(_, first)| first == name) {
            out.push((start, name.to_owned()));
        }
    }
    out
}

/// The root element's name.
fn root(head: &str) -> Option<String> {
    let mut rest = head;
    while let Some((_, from)) = rest.split_once('<') {
        if from.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let end = from.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).unwrap_or(from.len());
            return from.get(..end).map(ToOwned::to_owned);
        }
        rest = from;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naked_ampersands_and_undefined_entities_become_text() {
        assert_eq!(
            ampersands("<a>R&D &amp; &eacute; &#233; &#0; <![CDATA[a&b]]>&"),
            "<a>R&amp;D &amp; &amp;eacute; &#233; &amp;#0; <![CDATA[a&b]]>&amp;"
        );
    }

    #[test]
    fn a_cut_feed_is_taken_entry_by_entry() {
        let cut = "<?xml version='1.0'?><rss version='2.0'><channel><title>F</title><item><title>1</title></item><item><title>2</ti";
        let single = single(cut);
        assert_eq!(single.len(), 2);
        assert!(single[0].ends_with("<item><title>1</title></item></channel></rss>"), "{}", single[0]);
        assert_eq!(count("<feed><!-- <entry> --><entry/><entry x='1'/></feed>"), 2);
    }

    #[test]
    fn an_unknown_version_of_rss_is_read_as_the_last() {
        assert_eq!(prepared("<rss version='0.94'><a/>\0"), "<rss version='2.0'><a/>");
        assert_eq!(
            prepared("<?xml version='1.0' encoding='x'?><rss version='2.0'><?xml encoding='y'?>"),
            "<rss version='2.0'>"
        );
        assert_eq!(prepared("<rss ><a/>"), "<rss version=\"2.0\" ><a/>");
        assert_eq!(prepared("<rss version=\"0.91\">"), "<rss version=\"0.91\">");
    }
}
