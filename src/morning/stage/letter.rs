//! A mail of a wanted size for made-up stages: like a morning's in its form, of no interest in its words.

use crate::mail::{Content, Error, Language, Prepared, Rendered, SLOT};

const TEXT: &str = "Le port de la ville a rouvert avant l'aube, et les premiers camions sont partis vers l'intérieur du pays.\n";
const HTML: &str = "<p style=\"margin:0 0 12px;font-size:16px\">Le port de la ville a rouvert avant l'aube, et les premiers camions sont partis vers <a href=\"https://news.example/port\">l'intérieur du pays</a>.</p>\n";

/// About so many bytes on the wire, within a few hundred: a seventh of it text, the rest HTML.
///
/// # Errors
/// When the page around it cannot be made.
pub fn letter(bytes: usize) -> Result<Prepared, Error> {
    let content: Content = serde_json::from_value(serde_json::json!({
        "newsletter": {
            "id": super::NEWSLETTER, "name": "Stage", "language": "fr", "list_id": "stage.news.example",
            "from_name": "Stage", "from_address": "stage@news.example", "public_url": "https://news.example"
        },
        "date": "2026-01-01",
        "items": []
    }))
    .map_err(|error| Error::Template(error.to_string()))?;
    let (mut low, mut high) = (0, bytes);
    // The size grows with the number of paragraphs; how much, depends on the encoding.
    while low + 1 < high {
        let middle = low.midpoint(high);
        if prepared(&content, middle).len() <= bytes { low = middle } else { high = middle }
    }
    Ok(prepared(&content, low))
}

fn prepared(content: &Content, units: usize) -> Prepared {
    let texts = units / 2;
    let rendered = Rendered {
        language: Language::first_of(["fr"]),
        subject: "Le port rouvre, et dix autres nouvelles de la nuit".to_owned(),
        preheader: String::new(),
        html: format!(
            "<!DOCTYPE html>\n<html lang=\"fr\"><body>\n{}<p><a href=\"https://news.example/u/{SLOT}\">Se désinscrire</a></p>\n</body></html>\n",
            HTML.repeat(units)
        ),
        text: format!("{}\nSe désinscrire : https://news.example/u/{SLOT}\n", TEXT.repeat(texts)),
    };
    Prepared::new(&rendered, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_the_wanted_size_and_the_readers_own_link() {
        for bytes in [20_000, 60_000] {
            let length = letter(bytes).unwrap().len();
            assert!(length <= bytes && length + 800 > bytes, "{length} for {bytes}");
        }
    }
}
