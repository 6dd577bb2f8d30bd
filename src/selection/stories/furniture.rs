//! What tells no event: a footer, a call to subscribe, a line that a system puts under every title, a number in a series.

use std::collections::HashMap;

use super::Piece;
use crate::selection::text;

/// So many sentences of a lead are read.
const SENTENCES: usize = 3;
/// And no more signs of them: three sentences of a report are shorter, and whatever has no full stop is not read to its
/// end.
const READ: usize = 1200;
/// A sentence that stands in fewer leads may be an agency's.
const MANY: usize = 3;
/// A shorter word says too little to be looked for in a title.
const TELLING: usize = 4;

/// The first sentences of each lead, without those that stand in many leads and speak of hardly any of their titles: the
/// same report in many papers speaks of the event that its titles name.
pub(super) fn telling<'a>(pieces: &[&Piece<'a>]) -> Vec<Vec<&'a str>> {
    let leads: Vec<Vec<&str>> =
        pieces.iter().map(|piece| text::first_sentences(start(piece.lead), SENTENCES).collect()).collect();
    let mut standing: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, sentences) in leads.iter().enumerate() {
        for sentence in sentences {
            standing.entry(sentence).or_default().push(at);
        }
    }
    let speaks = |sentence: &str, at: usize| {
        let title = text::fold(pieces[at].title);
        let said = text::fold(sentence);
        let mut words = said.split(|c: char| !c.is_alphanumeric());
        words.any(|word| {
            word.chars().count() >= TELLING
                && title.split(|c: char| !c.is_alphanumeric()).any(|own| own == word)
        })
    };
    standing.retain(|sentence, places| {
        places.len() >= MANY && places.iter().filter(|at| speaks(sentence, **at)).count() * 2 < places.len()
    });
    leads
        .into_iter()
        .map(|sentences| sentences.into_iter().filter(|sentence| !standing.contains_key(sentence)).collect())
        .collect()
}

/// What is read of a lead, to the end of a word.
fn start(lead: &str) -> &str {
    let Some((end, _)) = lead.char_indices().nth(READ) else { return lead };
    let start = &lead[..end];
    start.rfind(char::is_whitespace).map_or(start, |space| &start[..space])
}

/// Each title without its digits, where it has any: two that differ in nothing else are two of a series, a bulletin and
/// the next one, and not one event.
pub(super) fn numbered(pieces: &[&Piece<'_>]) -> Vec<Option<String>> {
    let bare = |piece: &&Piece<'_>| {
        let title: String = piece.title.chars().filter(|c| !c.is_numeric()).collect();
        (title.len() < piece.title.len()).then(|| text::fold(&title))
    };
    pieces.iter().map(bare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece<'a>(title: &'a str, lead: &'a str) -> Piece<'a> {
        Piece { key: title, title, lead, language: Some("fr"), at: 0 }
    }

    #[test]
    fn a_footer_tells_nothing_and_a_report_in_many_papers_does() {
        let footer = "Lisez la suite sur notre site.";
        let report = "Le barrage de Kandadji a cédé dans la nuit.";
        let pieces = [
            piece("Kinshasa attend la pluie", footer),
            piece("Un pont à Ségou", footer),
            piece("Lagos ferme deux marchés", footer),
            piece("Kandadji sous les eaux", report),
            piece("Niger : le barrage cède", report),
            piece("Nuit de crue à Kandadji", report),
        ];
        let pieces: Vec<&Piece<'_>> = pieces.iter().collect();
        let left = telling(&pieces);
        assert!(left[..3].iter().all(Vec::is_empty), "{left:?}");
        assert!(left[3..].iter().all(|sentences| sentences == &[report]), "{left:?}");
    }

    #[test]
    fn a_lead_without_a_full_stop_is_not_read_to_its_end() {
        let endless = "le barrage de Kandadji cède, ".repeat(10_000);
        let unbroken = "ب".repeat(10_000);
        let pieces =
            [piece("Kandadji", &endless), piece("سد", &unbroken), piece("Niger", "Un barrage cède.")];
        let pieces: Vec<&Piece<'_>> = pieces.iter().collect();
        let read = telling(&pieces);
        let last = read[0][0].rsplit(' ').next().unwrap_or_default();
        assert!(endless.split(' ').any(|word| word == last), "{last} is no whole word");
        assert!((READ - 20..=READ).contains(&read[0][0].chars().count()));
        assert_eq!(read[1][0].chars().count(), READ);
        assert_eq!(read[2], ["Un barrage cède."]);
    }

    #[test]
    fn titles_that_differ_by_a_number_alone_are_two_of_a_series() {
        let pieces = [piece("Bulletin n° 12", ""), piece("Bulletin n° 13", ""), piece("Bulletin", "")];
        let pieces: Vec<&Piece<'_>> = pieces.iter().collect();
        let bare = numbered(&pieces);
        assert!(bare[0].is_some() && bare[0] == bare[1]);
        assert_eq!(bare[2], None);
    }
}
