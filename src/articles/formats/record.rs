//! Our own article object (JSON Lines, arrays, the push interface) and JSON Feed's test. Pure.
//!
//! Keys that we do not know are passed over: other programs may read the same file. A key of a wrong type refuses
//! the object and is named.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value};

use super::{Found, Place, dates, furniture, html};
use crate::articles::article::Lifetime;
use crate::articles::draft::{Draft, Refused};
use crate::articles::text;

/// The value that stands on one line.
///
/// # Errors
/// What is wrong with it: bytes that are no text, a number that nothing can hold, or no JSON at all.
pub fn line(bytes: &[u8]) -> Result<Value, Refused> {
    let refused = |why: String| Refused::new("line", why);
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
        .map_err(|error| refused(format!("is no UTF-8 after byte {}", error.valid_up_to())))?;
    serde_json::from_str(text).map_err(|error| {
        let why = error.to_string();
        // The line is the caller's to name: to the parser each is the first.
        let why = why.replace(&format!("line {} column", error.line()), "column");
        refused(match why.strip_prefix("number out of range") {
            Some(place) => format!("holds a number out of range{place}"),
            None => format!("is no JSON: {why}"),
        })
    })
}

/// Whether this is a JSON Feed.
pub fn is_json_feed(value: &Value) -> bool {
    value.get("version").and_then(Value::as_str).is_some_and(|version| version.contains("jsonfeed.org"))
}

/// The drafts of our own objects: one, or an array.
///
/// # Errors
/// Why the document holds none at all.
pub fn objects(value: &Value) -> Result<Found, String> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one @ Value::Object(map) if map.contains_key("url") && !map.contains_key("items") => {
            std::slice::from_ref(one)
        }
        _ => {
            return Err(
                "is neither a JSON Feed (no version of jsonfeed.org) nor an article (no url and title)"
                    .to_owned(),
            );
        }
    };
    let alone = !value.is_array();
    let drafts = list
        .iter()
        .enumerate()
        .map(|(at, value)| (if alone { Place::Whole } else { Place::Entry(at + 1) }, draft(value)))
        .collect();
    Ok(Found { drafts, ..Found::default() })
}

/// The draft of one object.
///
/// # Errors
/// The first field that is missing or of a wrong type.
pub fn draft(value: &Value) -> Result<Draft, Refused> {
    let Value::Object(map) = value else {
        return Err(Refused::new("article", format!("must be an object, found {}", kind(value))));
    };
    let url = text_of(map, "url")?.unwrap_or_default();
    let title = text_of(map, "title")?.unwrap_or_default();
    let mut image_url = text_of(map, "image_url")?;
    let body = match (text_of(map, "body")?, text_of(map, "body_html")?) {
        (Some(body), _) if !html::looks_like_markup(&body) => Some(text::split(&body)),
        (Some(markup), _) | (None, Some(markup)) => {
            let content = html::read(&markup);
            if image_url.is_none() {
                image_url = content.picture.map(|picture| picture.src);
            }
            Some(content.paragraphs)
        }
        (None, None) => None,
    };
    Ok(Draft {
        title: plain(title),
        summary: text_of(map, "summary")?.map(plain),
        body: body.map(|body| text::join(&furniture::remove(body))),
        language: text_of(map, "language")?,
        section: text_of(map, "section")?.map(plain),
        countries: list_of(map, "countries")?,
        tags: list_of(map, "tags")?,
        author: text_of(map, "author")?.map(plain),
        source: text_of(map, "source")?.map(plain),
        published_at: instant_of(map, "published_at")?,
        image_alt: text_of(map, "image_alt")?.map(plain),
        image_credit: text_of(map, "image_credit")?.map(plain),
        value: match map.get("value") {
            None | Some(Value::Null) => None,
            Some(value) => {
                Some(value.as_i64().ok_or_else(|| wrong("value", "a whole number from 1 to 5", value))?)
            }
        },
        lifetime: match text_of(map, "lifetime")?.as_deref() {
            None | Some("") => None,
            Some(name) => Some(name.parse::<Lifetime>().map_err(|()| {
                Refused::new(
                    "lifetime",
                    format!("must be short, medium or long, found {:?}", text::clip(name, 40)),
                )
            })?),
        },
        embargo_until: instant_of(map, "embargo_until")?,
        image_url,
        url,
    })
}

/// A field that should be plain, and sometimes is not.
fn plain(text: String) -> String {
    if html::looks_like_markup(&text) { html::read(&text).paragraphs.join(" ") } else { text }
}

fn text_of(map: &Map<String, Value>, field: &'static str) -> Result<Option<String>, Refused> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong(field, "a text", other)),
    }
}

fn list_of(map: &Map<String, Value>, field: &'static str) -> Result<Option<Vec<String>>, Refused> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| {
                item.as_str().map(ToOwned::to_owned).ok_or_else(|| wrong(field, "a list of texts", item))
            })
            .collect::<Result<Vec<String>, Refused>>()
            .map(Some),
        Some(other) => Err(wrong(field, "a list of texts", other)),
    }
}

fn instant_of(map: &Map<String, Value>, field: &'static str) -> Result<Option<Timestamp>, Refused> {
    let Some(text) = text_of(map, field)?.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let text = text.trim();
    // A bare date is midnight, UTC.
    let instant =
        text.parse::<Timestamp>().ok().or_else(|| text.parse::<Date>().ok().and_then(dates::midnight));
    match instant {
        Some(instant) => Ok(Some(crate::clock::timestamp(instant.as_millisecond()))),
        None => Err(Refused::new(
            field,
            format!("must be RFC 3339 such as 2026-11-24T05:30:00Z, found {:?}", text::clip(text, 40)),
        )),
    }
}

fn wrong(field: &'static str, expected: &str, found: &Value) -> Refused {
    Refused::new(field, format!("must be {expected}, found {}", kind(found)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_is_read() {
        let value = json!({"url": "https://a.example/1", "title": "T", "summary": "S", "body_html": "<p>Un<p>Deux<img src='https://a.example/i.jpg'>",
            "language": "fr", "section": "Monde", "countries": ["SN"], "tags": ["pêche"], "author": "A. B.", "source": "Le Fleuve",
            "published_at": "2026-11-24T05:30:00+01:00", "image_alt": "x", "image_credit": "y", "value": 5, "lifetime": "long",
            "embargo_until": "2026-11-25", "id": 7});
        let draft = draft(&value).unwrap();
        assert_eq!(draft.body.as_deref(), Some("Un\n\nDeux"));
        assert_eq!(draft.image_url.as_deref(), Some("https://a.example/i.jpg"));
        assert_eq!(draft.published_at.unwrap().to_string(), "2026-11-24T04:30:00Z");
        assert_eq!(draft.embargo_until.unwrap().to_string(), "2026-11-25T00:00:00Z");
        assert_eq!((draft.value, draft.lifetime), (Some(5), Some(Lifetime::Long)));
    }

    #[test]
    fn p10_a_wrong_field_is_named() {
        for (value, expected) in [
            (json!([1]), "article: must be an object, found a list"),
            (json!({"title": 7}), "title: must be a text, found a number"),
            (json!({"tags": "a"}), "tags: must be a list of texts, found a text"),
            (json!({"value": 2.5}), "value: must be a whole number from 1 to 5, found a number"),
            (json!({"lifetime": "eternal"}), "lifetime: must be short, medium or long, found \"eternal\""),
            (
                json!({"published_at": "hier"}),
                "published_at: must be RFC 3339 such as 2026-11-24T05:30:00Z, found \"hier\"",
            ),
        ] {
            assert_eq!(draft(&value).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn p10_a_line_that_is_no_json_says_what_it_is() {
        for (bytes, expected) in [
            (&b"{\"id\": "[..], "line: is no JSON: EOF while parsing a value at column 7"),
            (b"{\"id\": NaN}", "line: is no JSON: expected value at column 8"),
            (b"{\"id\": 1e400}", "line: holds a number out of range at column 12"),
            (b"{\"id\": \"\xff\"}", "line: is no UTF-8 after byte 8"),
        ] {
            assert_eq!(line(bytes).unwrap_err().to_string(), expected);
        }
        assert_eq!(line(b"\xef\xbb\xbf{\"id\": 7}\r").unwrap(), json!({"id": 7}));
    }

    #[test]
    fn p10_markup_in_a_plain_field_is_read_as_markup() {
        let value = json!({"url": "https://a.example/1", "title": "Un <b>titre</b>", "body": "<p>Un</p><script>alert(1)</script>"});
        let draft = draft(&value).unwrap();
        assert_eq!((draft.title.as_str(), draft.body.as_deref()), ("Un titre", Some("Un")));
    }
}
