//! Bytes to text, whatever the encoding: byte-order mark, then `Content-Type`, then the document's own word, then
//! UTF-8 where it is valid, then windows-1252, which every byte means something in. Pure.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// How far into a document its own word about its encoding is looked for.
const PROLOGUE: usize = 1024;

/// The text of a document. `content_type` is the header's value, where it came by HTTP.
pub fn decode(bytes: &[u8], content_type: Option<&str>) -> String {
    if let Some(text) = utf_32(bytes) {
        return text;
    }
    if let Some((encoding, length)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(bytes.get(length..).unwrap_or_default()).0.into_owned();
    }
    // A mark that lost its mark: every other byte of the first characters is zero.
    match bytes {
        [0, b, 0, ..] if *b != 0 => return UTF_16BE.decode_without_bom_handling(bytes).0.into_owned(),
        [b, 0, _, 0, ..] if *b != 0 => return UTF_16LE.decode_without_bom_handling(bytes).0.into_owned(),
        _ => {}
    }
    let said = content_type.and_then(charset_parameter).or_else(|| declared(bytes));
    let encoding = said.as_deref().and_then(|label| Encoding::for_label(label.as_bytes()));
    match encoding {
        // Said to be UTF-16 and read as ASCII so far: it cannot be.
        Some(encoding) if encoding != UTF_8 && encoding != UTF_16LE && encoding != UTF_16BE => {
            encoding.decode_without_bom_handling(bytes).0.into_owned()
        }
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(error) => {
                // One broken character in a long UTF-8 text, or the end of a cut one, is no other encoding.
                let lossy = UTF_8.decode_without_bom_handling(bytes).0;
                let broken = lossy.chars().filter(|c| *c == '\u{fffd}').count();
                let foreign = lossy.chars().filter(|c| !c.is_ascii()).count();
                if error.error_len().is_none() || broken * 4 < foreign {
                    lossy.into_owned()
                } else {
                    WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned()
                }
            }
        },
    }
}

/// Whether this is no text in any encoding; what it is instead.
pub fn binary(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x1f, 0x8b, ..] => Some("is compressed (gzip): unpack it first"),
        [b'P', b'K', 3, 4, ..] => Some("is a ZIP archive: unpack it first"),
        [b'%', b'P', b'D', b'F', ..] => Some("is a PDF"),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'G', b'I', b'F', b'8', ..] => {
            Some("is a picture")
        }
        _ => None,
    }
}

fn utf_32(bytes: &[u8]) -> Option<String> {
    let (little, rest) = match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => (true, rest),
        [0, 0, 0xfe, 0xff, rest @ ..] => (false, rest),
        [b'<', 0, 0, 0, ..] => (true, bytes),
        [0, 0, 0, b'<', ..] => (false, bytes),
        _ => return None,
    };
    let (units, _) = rest.as_chunks::<4>();
    Some(
        units
            .iter()
            .map(|unit| if little { u32::from_le_bytes(*unit) } else { u32::from_be_bytes(*unit) })
            .map(|code| char::from_u32(code).unwrap_or('\u{fffd}'))
            .collect(),
    )
}

/// `charset=…` of a `Content-Type`.
fn charset_parameter(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    })
}

/// What the XML declaration or the `meta` element says.
fn declared(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(bytes.get(..bytes.len().min(PROLOGUE))?).to_ascii_lowercase();
    let from = match head.trim_start().strip_prefix("<?xml") {
        Some(rest) => rest.split("?>").next()?.split_once("encoding")?.1,
        None if head.contains("<html") || head.contains("<!doctype html") || head.contains("<meta") => {
            head.split_once("charset")?.1
        }
        None => return None,
    };
    let value = from.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    let end = value.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.:".contains(c))).unwrap_or(value.len());
    value.get(..end).filter(|label| !label.is_empty()).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_in_many_encodings_is_one_text() {
        let text = "<?xml version='1.0' encoding='X'?><a>Été à Abidjan</a>";
        let utf16: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let bare16: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let utf32: Vec<u8> = text.chars().flat_map(|c| (c as u32).to_be_bytes()).collect();
        for bytes in [text.as_bytes(), &utf16, &bare16, &utf32, &[b"\xef\xbb\xbf", text.as_bytes()].concat()]
        {
            assert_eq!(decode(bytes, None), text);
        }
        assert_eq!(
            decode(b"<?xml version='1.0' encoding=\"iso-8859-1\"?>\xe9t\xe9", None).chars().last(),
            Some('é')
        );
        assert_eq!(decode(b"<html><meta charset=windows-1251>\xe9", None).chars().last(), Some('й'));
        assert_eq!(decode(b"\xe9t\xe9", None), "été");
        assert_eq!(decode(b"\xe9", Some("text/xml; charset=\"koi8-r\"")), "И");
        assert_eq!(decode("été é".as_bytes().get(..7).unwrap(), None), "été \u{fffd}");
    }
}
