//! RSS, RDF, Atom and JSON Feed, through feed-rs. Pure.
//!
//! A feed that will not parse is mended once (`repair`), then taken entry by entry: what is whole comes in, what is
//! broken is refused with its number. An entry's text is always read as markup, whatever the feed calls it, but for
//! Atom's plain text.

use std::collections::HashMap;

use feed_rs::model::{Entry, Feed, FeedType, Text};
use feed_rs::parser::Builder;
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::{Found, Place, furniture, html, repair};
use crate::articles::canonical::{canonical, web_url};
use crate::articles::draft::{Defaults, Draft, Refused};
use crate::articles::text;

/// A summary of more characters is the article itself.
const SUMMARY_CHARS: usize = 700;

/// The articles of a feed; `base` is where it was read from.
///
/// # Errors
/// Why this is no feed at all.
pub fn read(document: &str, base: Option<&Url>) -> Result<Found, String> {
    let prepared = repair::prepared(document);
    let expected = repair::count(&prepared);
    let first = match parse(&prepared, base) {
        Ok(feed) if feed.entries.len() >= expected => return Ok(collect(&feed, base)),
        other => other,
    };
    let mended = repair::ampersands(&prepared);
    let second = match parse(&mended, base) {
        Ok(feed) if feed.entries.len() >= expected => return Ok(collect(&feed, base)),
        other => other,
    };
    let single = repair::single(&mended);
    if single.is_empty() {
        // No entries to be seen: an empty feed, or none.
        return second.or(first).map(|feed| collect(&feed, base));
    }
    entries(single.iter().map(|document| parse(document, base)), base)
}

/// The articles of a JSON Feed.
///
/// # Errors
/// Why this is no feed at all.
pub fn read_json(value: &Value, base: Option<&Url>) -> Result<Found, String> {
    let whole = parse(&value.to_string(), base);
    let (Err(why), Value::Object(map)) = (&whole, value) else {
        return whole.map(|feed| collect(&feed, base));
    };
    let Some(Value::Array(items)) = map.get("items") else { return Err(why.clone()) };
    let single = items.iter().map(|item| {
        let mut one = map.clone();
        one.insert("items".to_owned(), Value::Array(vec![item.clone()]));
        parse(&Value::Object(one).to_string(), base)
    });
    entries(single, base)
}

fn parse(document: &str, base: Option<&Url>) -> Result<Feed, String> {
    let parser = Builder::new().base_uri(base).build();
    parser.parse(document.as_bytes()).map_err(|error| {
        let text = text::clip(&text::line(&error.to_string()), 200);
        match text.as_str() {
            "unable to parse feed: no root element" => "is neither RSS nor Atom nor a JSON Feed".to_owned(),
            _ => text,
        }
    })
}

/// Joins documents of one entry each.
fn entries(parsed: impl Iterator<Item = Result<Feed, String>>, base: Option<&Url>) -> Result<Found, String> {
    let mut found = Found::default();
    let mut why = None;
    let mut any = false;
    for (at, feed) in parsed.enumerate() {
        match feed {
            Ok(feed) => {
                let one = collect(&feed, base);
                if !any {
                    found.defaults = one.defaults;
                    found.kind = one.kind;
                    any = true;
                }
                if one.drafts.is_empty() {
                    found.drafts.push((
                        Place::Entry(at + 1),
                        Err(Refused::new("entry", "has no link, or is cut off or broken")),
                    ));
                }
                found.drafts.extend(one.drafts.into_iter().map(|(_, draft)| (Place::Entry(at + 1), draft)));
            }
            Err(error) => {
                found.drafts.push((Place::Entry(at + 1), Err(Refused::new("entry", error.clone()))));
                why.get_or_insert(error);
            }
        }
    }
    match why {
        // Not one entry could be read: the document is at fault.
        Some(why) if !any => Err(why),
        _ => Ok(found),
    }
}

fn collect(feed: &Feed, base: Option<&Url>) -> Found {
    let site = feed
        .links
        .iter()
        .filter(|link| matches!(link.rel.as_deref(), None | Some("alternate")))
        .find_map(|link| Url::parse(&link.href).ok());
    let base = base.cloned().or(site);
    let atom = feed.feed_type == FeedType::Atom;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let defaults = Defaults {
        source: feed.title.as_ref().map(|title| line(title, atom)).filter(|title| !title.is_empty()),
        language: feed.language.clone(),
        base: base.clone(),
        ..Defaults::default()
    };
    let drafts = feed
        .entries
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            let number = at + 1;
            let draft = draft(entry, atom, base.as_ref());
            // The first of several entries with one link is the newest; the others would undo it.
            let key = canonical(&draft.url, base.as_ref()).map(|canonical| canonical.key);
            let result =
                match key.ok().and_then(|key| seen.insert(key.clone(), number).map(|first| (key, first))) {
                    Some((key, first)) => {
                        seen.insert(key, first);
                        Err(Refused::new("url", format!("is that of entry {first} too")))
                    }
                    None => Ok(draft),
                };
            (Place::Entry(number), result)
        })
        .collect();
    let kind = match feed.feed_type {
        FeedType::Atom => "Atom",
        FeedType::JSON => "JSON Feed",
        FeedType::RSS0 => "RSS 0",
        FeedType::RSS1 => "RSS 1",
        FeedType::RSS2 => "RSS 2",
    };
    Found { drafts, defaults, kind: Some(kind) }
}

fn draft(entry: &Entry, atom: bool, base: Option<&Url>) -> Draft {
    let content = entry
        .content
        .as_ref()
        .and_then(|content| content.body.as_deref())
        .map(html::read)
        .unwrap_or_default();
    let summary = entry.summary.as_ref().map(|summary| html::read(&summary.content)).unwrap_or_default();
    let picture = image(entry, base)
        .or_else(|| content.picture.clone())
        .or_else(|| summary.picture.clone())
        .filter(|picture| !html::tracking(&picture.src));
    let body = furniture::remove(content.paragraphs);
    let lead = furniture::remove(summary.paragraphs);
    let long = lead.iter().map(|paragraph| paragraph.chars().count()).sum::<usize>() > SUMMARY_CHARS;
    let (summary, body) = match (body.is_empty(), long) {
        (true, true) => (None, lead),
        // A summary that is the text's own beginning, or all of it, says nothing more.
        (false, _) if lead.is_empty() || long => (None, body),
        (false, _) => (Some(lead.join(" ")), body),
        (true, false) => (Some(lead.join(" ")), Vec::new()),
    };
    let (image_url, image_alt) = picture.map(|picture| (picture.src, picture.alt)).unzip();
    Draft {
        url: link(entry),
        title: entry.title.as_ref().map(|title| line(title, atom)).unwrap_or_default(),
        summary: summary.filter(|summary| !summary.is_empty()),
        body: Some(text::join(&body)).filter(|body| !body.is_empty()),
        language: entry.language.clone().filter(|tag| crate::articles::draft::primary(tag).is_some()),
        tags: Some(
            entry
                .categories
                .iter()
                .map(|category| html::line(category.label.as_deref().unwrap_or(&category.term)))
                .filter(|tag| !tag.is_empty() && !tag.starts_with("http"))
                .collect(),
        )
        .filter(|tags: &Vec<String>| !tags.is_empty()),
        author: author(entry),
        published_at: entry
            .published
            .or(entry.updated)
            .and_then(|at| Timestamp::from_millisecond(at.timestamp_millis()).ok()),
        image_alt: image_alt.filter(|alt| !alt.is_empty()),
        image_url,
        ..Draft::default()
    }
}

/// The link of an entry; its id where that is a link.
fn link(entry: &Entry) -> String {
    let web = |href: &str| href.starts_with("http://") || href.starts_with("https://");
    let own = |rel: Option<&str>| matches!(rel, None | Some("alternate" | ""));
    entry
        .links
        .iter()
        .filter(|link| own(link.rel.as_deref()) && !link.href.trim().is_empty())
        .min_by_key(|link| !web(&link.href))
        .map(|link| link.href.trim().to_owned())
        .or_else(|| Some(entry.id.trim().to_owned()).filter(|id| web(id)))
        .unwrap_or_default()
}

fn author(entry: &Entry) -> Option<String> {
    let names: Vec<String> = entry
        .authors
        .iter()
        .filter_map(|person| person.name.as_deref())
        .map(|person| name(&html::line(person)))
        .filter(|name| !name.is_empty())
        .collect();
    Some(names.join(", ")).filter(|names| !names.is_empty())
}

/// RSS writes `a@b.example (A. B.)`; an address is nobody's name, and not ours to keep.
fn name(text: &str) -> String {
    match text.split_once('(') {
        Some((address, rest)) if address.contains('@') => rest.trim_end_matches([')', ' ']).to_owned(),
        // The parser took the address away already.
        Some(("", rest)) => rest.trim_end_matches([')', ' ']).to_owned(),
        _ if text.contains('@') && !text.contains(' ') => String::new(),
        _ => text.to_owned(),
    }
}

fn image(entry: &Entry, base: Option<&Url>) -> Option<html::Picture> {
    entry.media.iter().find_map(|media| {
        let alt = media.title.as_ref().or(media.description.as_ref()).map(|text| html::line(&text.content));
        let large = |width: Option<u32>| width.is_none_or(|width| width >= 20);
        let full = media
            .content
            .iter()
            .filter(|content| large(content.width))
            .filter(|content| match &content.content_type {
                Some(kind) => kind.ty() == "image",
                None => content.url.as_ref().is_some_and(|url| {
                    let path = url.path().to_ascii_lowercase();
                    [".jpg", ".jpeg", ".png", ".webp", ".gif"].iter().any(|ending| path.ends_with(ending))
                }),
            })
            .find_map(|content| content.url.as_ref().map(ToString::to_string));
        let small = || {
            media
                .thumbnails
                .iter()
                .filter(|thumbnail| large(thumbnail.image.width))
                .find_map(|thumbnail| web_url(&thumbnail.image.uri, base))
        };
        let src = full.or_else(small)?;
        Some(html::Picture { src, alt: alt.unwrap_or_default() })
    })
}

fn line(text: &Text, atom: bool) -> String {
    if atom && text.content_type.as_str() == "text/plain" {
        text::line(&text.content)
    } else {
        html::line(&text.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafts(document: &str) -> Vec<(String, Result<Draft, String>)> {
        read(document, None)
            .unwrap()
            .drafts
            .into_iter()
            .map(|(place, draft)| (place.to_string(), draft.map_err(|refused| refused.to_string())))
            .collect()
    }

    #[test]
    fn an_entry_of_rss_is_read_whole() {
        let found = drafts(
            "<rss version='2.0' xmlns:content='http://purl.org/rss/1.0/modules/content/' xmlns:media='http://search.yahoo.com/mrss/'>
             <channel><title>Le Fleuve</title><language>fr-SN</language><link>https://f.example/</link>
             <item><title>P&amp;amp;L : le &lt;b&gt;fleuve&lt;/b&gt; monte</title><link>/a?utm_source=rss</link>
             <description>Le niveau a gagné un mètre.</description>
             <content:encoded><![CDATA[<p>Un.</p><p>La suite après cette publicité</p><p>Deux.<img src='/i.jpg' alt='Le quai'></p>]]></content:encoded>
             <author>a@f.example (Awa N.)</author><category>Climat</category><pubDate>Tue, 24 Nov 2026 05:00:00 GMT</pubDate></item></channel></rss>",
        );
        let draft = found[0].1.as_ref().unwrap();
        assert_eq!(draft.title, "P&L : le fleuve monte");
        assert_eq!(draft.summary.as_deref(), Some("Le niveau a gagné un mètre."));
        assert_eq!(draft.body.as_deref(), Some("Un.\n\nDeux."));
        assert_eq!(draft.author.as_deref(), Some("Awa N."));
        assert_eq!(draft.published_at.unwrap().to_string(), "2026-11-24T05:00:00Z");
        assert_eq!(draft.image_alt.as_deref(), Some("Le quai"));
    }

    #[test]
    fn p10_a_feed_cut_in_the_middle_gives_what_it_has() {
        let found = drafts(
            "<rss version='2.0'><channel><title>F</title><item><title>R&D &eacute;t&eacute;</title><link>https://f.example/1</link></item>
             <item><title>2</title><link>https://f.example/2</li",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1.as_ref().unwrap().title, "R&D été");
        assert_eq!(found[1].0, "entry 2");
        assert!(found[1].1.is_err());
    }

    #[test]
    fn two_entries_with_one_link_are_not_two_articles() {
        let found = drafts(
            "<feed xmlns='http://www.w3.org/2005/Atom'><title>F</title><entry><title>1 &lt; 2</title><link href='https://f.example/1'/></entry>
             <entry><title>2</title><link href='http://f.example/1#x'/></entry></feed>",
        );
        assert_eq!(found[0].1.as_ref().unwrap().title, "1 < 2");
        assert_eq!(found[1].1.as_ref().unwrap_err(), "url: is that of entry 1 too");
    }

    #[test]
    fn p10_what_is_no_feed_says_so() {
        assert_eq!(read("<html><p>x</html>", None).unwrap_err(), "is neither RSS nor Atom nor a JSON Feed");
        assert!(read("", None).is_err());
    }
}
