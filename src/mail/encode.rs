//! The encodings of mail: quoted-printable bodies (RFC 2045), encoded words in headers (RFC 2047).

use data_encoding::BASE64;

/// The longest line of a quoted-printable body, and of a header with encoded words.
const LINE: usize = 76;

/// Encodes a body as quoted-printable with CRLF line ends. `slot` stands on a line of its own wherever it occurs, so
/// that what takes its place (letters and digits, at most 60 of them) changes no other line.
///
/// No line begins with a dot or with "From ", none ends in a blank, and no two blanks stand together: the wire has
/// nothing to stuff, no mailbox anything to mend, and the relaxed form of a signature is the text itself.
pub(super) fn quoted_printable(text: &str, slot: &str) -> String {
    let mut out = String::with_capacity(text.len() * 5 / 4);
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut width = 0;
        let mut parts = line.split(slot).peekable();
        let mut first = true;
        while let Some(part) = parts.next() {
            if !first {
                if width > 0 {
                    out.push_str("=\r\n");
                }
                out.push_str(slot);
                out.push_str("=\r\n");
                width = 0;
            }
            first = false;
            push_quoted(&mut out, part, &mut width, parts.peek().is_none());
        }
        out.push_str("\r\n");
    }
    // The text's own last line end is the last line end.
    if text.ends_with('\n') {
        out.truncate(out.len() - 2);
    }
    out
}

/// `ends`: the line ends after this part.
fn push_quoted(out: &mut String, part: &str, width: &mut usize, ends: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = part.as_bytes();
    let mut blank = false;
    for (at, &byte) in bytes.iter().enumerate() {
        let needed_if = |plain: bool| if plain { 1 } else { 3 };
        let mut plain = match byte {
            b' ' => !blank && (!ends || at + 1 < bytes.len()),
            b'.' => *width > 0,
            b'F' => *width > 0 || !bytes[at..].starts_with(b"From "),
            33..=60 | 62..=126 => true,
            _ => false,
        };
        // Room for the soft break itself.
        if *width + needed_if(plain) > LINE - 1 {
            out.push_str("=\r\n");
            *width = 0;
            plain = plain && byte != b'.' && !bytes[at..].starts_with(b"From ");
        }
        if plain {
            out.push(char::from(byte));
        } else {
            out.push('=');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
        *width += needed_if(plain);
        blank = plain && byte == b' ';
    }
}

/// One line for a header, without anything that could end it.
pub(super) fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Unstructured text for this header: as it is where it is short ASCII, as encoded words otherwise, each on a line of
/// its own that has at most 76 characters (RFC 2047 2), the first with the header's name.
pub(super) fn unstructured(header: &str, text: &str) -> String {
    let text = one_line(text);
    if text.is_ascii() && text.len() <= 60 && !text.contains("=?") {
        return text;
    }
    // Twelve characters stand around a word, and its base64 has four for each three bytes.
    let room = |before: usize| LINE.saturating_sub(before + 12) / 4 * 3;
    let (first, next) = (room(header.len() + ": ".len()), room(" ".len()));
    let mut words = Vec::new();
    let mut chunk = String::new();
    for c in text.chars() {
        if chunk.len() + c.len_utf8() > if words.is_empty() { first } else { next } {
            words.push(std::mem::take(&mut chunk));
        }
        chunk.push(c);
    }
    if !chunk.is_empty() {
        words.push(chunk);
    }
    let words: Vec<String> =
        words.iter().map(|word| format!("=?UTF-8?B?{}?=", BASE64.encode(word.as_bytes()))).collect();
    words.join("\r\n ")
}

/// An address with its display name, for this header.
pub(super) fn mailbox(header: &str, name: &str, address: &str) -> String {
    let name = one_line(name);
    if name.is_empty() {
        return address.to_owned();
    }
    let atoms = name.bytes().all(|b| b.is_ascii_alphanumeric() || b" !#$%&'*+-/=?^_`{|}~".contains(&b));
    if atoms && name.len() <= 60 && !name.contains("=?") {
        format!("{name} <{address}>")
    } else if name.is_ascii() && name.len() <= 60 {
        format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        format!("{}\r\n <{address}>", unstructured(header, &name))
    }
}

/// Dots at the beginning of lines doubled (RFC 5321 4.5.2).
pub(super) fn stuff(body: &str) -> String {
    let stuffed = body.replace("\r\n.", "\r\n..");
    if stuffed.starts_with('.') { format!(".{stuffed}") } else { stuffed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t5_h13_bodies_are_ascii_in_short_lines_and_decode_to_what_they_were() {
        let text = format!("Café à l’aube {}\nfin. \n.point\n", "é".repeat(100));
        let encoded = quoted_printable(&text, "SLOT");
        assert!(encoded.is_ascii());
        assert!(encoded.split("\r\n").all(|line| line.len() <= 76), "{encoded}");
        assert!(!encoded.contains(" \r\n"));
        let decoded = encoded.replace("=\r\n", "");
        assert!(decoded.starts_with("Caf=C3=A9 =C3=A0"));
        assert!(encoded.ends_with("=2Epoint\r\n"));
    }

    #[test]
    fn what_the_wire_the_mailbox_and_the_signature_would_change_is_not_there() {
        let long = "x".repeat(75);
        for text in [
            ".\n..\n.a\n",
            "From here\nFrom there",
            "a  b   c \t d\n \n  \n x ",
            &format!("{long}.{long}From here {long} \n{}.", "y ".repeat(60)),
            "SLOT.SLOT From SLOT  SLOT",
        ] {
            let encoded = quoted_printable(text, "SLOT");
            assert_eq!(stuff(&encoded), encoded, "{text:?}");
            let ended = format!("{}end\r\n", encoded.strip_suffix("\r\n").unwrap_or(&encoded));
            assert_eq!(crate::mail::dkim::relaxed_body(&ended), ended, "{text:?}");
            assert!(encoded.lines().all(|line| !line.starts_with("From ") && line.len() <= 76), "{encoded}");
        }
    }

    #[test]
    fn a_slot_stands_alone_on_its_line() {
        let encoded = quoted_printable("see https://example.org/u/SLOT?x", "SLOT");
        assert_eq!(encoded, "see https://example.org/u/=\r\nSLOT=\r\n?x\r\n");
    }

    #[test]
    fn h10_encoded_words_are_short_and_nothing_ends_a_header() {
        let subject = unstructured(
            "Subject",
            "Le cacao ivoirien \r\nBcc: x@example.org à prix d’or, et neuf autres informations du matin",
        );
        assert!(subject.split("\r\n ").all(|word| word.len() <= 75 && word.is_ascii()), "{subject}");
        assert!(!subject.contains("Bcc"));
        assert_eq!(mailbox("From", "La Matinale", "m@example.org"), "La Matinale <m@example.org>");
        assert_eq!(
            mailbox("From", "Press, \"The\"", "m@example.org"),
            "\"Press, \\\"The\\\"\" <m@example.org>"
        );
        assert!(mailbox("From", "Le Réveil", "m@example.org").starts_with("=?UTF-8?B?"));
    }

    #[test]
    fn rfc2047_a_line_with_an_encoded_word_has_76_characters_with_the_name_of_its_header() {
        let long = "Où va l’or de l’Afrique de l’Ouest ? ".repeat(6);
        let decoded = |value: &str| {
            let words =
                value.split("\r\n ").filter_map(|word| word.strip_prefix("=?UTF-8?B?")?.strip_suffix("?="));
            let bytes: Vec<u8> = words.flat_map(|word| BASE64.decode(word.as_bytes()).unwrap()).collect();
            String::from_utf8(bytes).unwrap()
        };
        for header in ["Subject", "From", "Reply-To", "List-Id"] {
            for length in 1..long.chars().count() {
                let text: String = long.chars().take(length).collect();
                for value in [unstructured(header, &text), mailbox(header, &text, "m@example.org")] {
                    let line = format!("{header}: {value}");
                    assert!(line.split("\r\n").all(|line| line.len() <= 76), "{line}");
                    assert!(!value.contains("=?") || decoded(&value) == one_line(&text), "{line}");
                }
            }
        }
    }

    #[test]
    fn t4_dots_are_doubled_at_the_beginning_of_lines() {
        assert_eq!(stuff(".a\r\n..b\r\nc.d\r\n"), "..a\r\n...b\r\nc.d\r\n");
    }
}
