//! An article's own best sentences, where it came without a standfirst: whole ones, word for word, in their order.
//!
//! Each sentence is worth its place (a news text begins with the news), what it shares with the title, and how much
//! of the text turns around its words. The rule a newcomer would break: nothing is cut and nothing is added; where no
//! whole sentence fits, there is none, and an editor writes one.

use std::collections::{BTreeMap, BTreeSet};

use super::sentences;
use super::text::{self, Tongue};

/// An extract is as long as a standfirst.
const LONGEST: usize = 320;
/// A single sentence may be longer where there is no shorter one near the top.
const LONGEST_ALONE: usize = 480;
/// What is shorter is a line of furniture, or says too little by itself.
const SHORTEST: usize = 40;
/// With fewer words the minutes say nothing.
const WORTH_TIMING: usize = 120;
/// Words a minute, silently, of news.
const PACE: usize = 220;
/// So many sentences are looked at: nobody hides the news below.
const LOOKED_AT: usize = 12;

/// How a sentence begins that leans on the one before it; folded.
const LEANING: [&str; 59] = [
    "il",
    "elle",
    "ils",
    "elles",
    "ce",
    "cela",
    "celui",
    "celle",
    "ceux",
    "celles",
    "cette",
    "ces",
    "mais",
    "or",
    "donc",
    "ainsi",
    "toutefois",
    "cependant",
    "pourtant",
    "aussi",
    "lui",
    "ici",
    "he",
    "she",
    "they",
    "it",
    "this",
    "that",
    "these",
    "those",
    "but",
    "however",
    "and",
    "also",
    "so",
    "his",
    "her",
    "their",
    "ele",
    "ela",
    "eles",
    "elas",
    "isto",
    "isso",
    "este",
    "esta",
    "esse",
    "essa",
    "mas",
    "porem",
    "contudo",
    "assim",
    "entretanto",
    "وقال",
    "واضاف",
    "واضافت",
    "وقالت",
    "لكن",
    "كما",
];

struct Sentence<'a> {
    text: &'a str,
    length: usize,
    worth: usize,
    /// It holds a fair part of the title's words.
    titled: bool,
    leans: bool,
    stems: BTreeSet<String>,
}

/// The best one or two sentences of a body, word for word; empty where no whole one fits.
pub fn extract(title: &str, body: &str, language: Option<&str>) -> String {
    let tongue = Tongue::of(language, body);
    let sentences = judged(title, body, tongue);
    let best = |most: usize, among: usize| {
        (0..sentences.len().min(among))
            .filter(|at| sentences[*at].length <= most)
            .max_by_key(|at| (sentences[*at].worth, usize::MAX - at))
    };
    let Some(first) = best(LONGEST, LOOKED_AT).or_else(|| best(LONGEST_ALONE, 3)) else {
        // A few words without an end, such as an agency's flash, are the whole text: nothing is cut from it.
        let whole = text_of(body);
        return if whole.chars().count() <= LONGEST { whole } else { String::new() };
    };
    // The one that follows reads on by itself; any other must stand alone and say something else.
    let second = (0..sentences.len())
        .filter(|at| *at != first && sentences[first].length + 1 + sentences[*at].length <= LONGEST)
        .filter(|at| *at == first + 1 || !sentences[*at].leans)
        // Before the best one stands only what speaks of the same, and of which it does not itself speak on.
        .filter(|at| *at > first || (sentences[*at].titled && !sentences[first].leans))
        .filter(|at| !alike(&sentences[first], &sentences[*at]))
        .max_by_key(|at| (sentences[*at].worth + if *at == first + 1 { 60 } else { 0 }, usize::MAX - at));
    let mut chosen: Vec<usize> = [Some(first), second].into_iter().flatten().collect();
    chosen.sort_unstable();
    chosen.iter().map(|at| sentences[*at].text).collect::<Vec<_>>().join(" ")
}

/// How long the body takes to read, in minutes; `None` where there is too little of it to say.
pub fn reading_minutes(body: &str) -> Option<u32> {
    let words = body.split_whitespace().count();
    (words >= WORTH_TIMING).then(|| u32::try_from(words.div_ceil(PACE)).unwrap_or(u32::MAX))
}

fn text_of(body: &str) -> String {
    body.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn judged<'a>(title: &str, body: &'a str, tongue: Tongue) -> Vec<Sentence<'a>> {
    let stemmer = tongue.stemmer();
    let stems = |text: &str| -> BTreeSet<String> {
        text::words(text, tongue)
            .into_iter()
            .filter(|word| !text::is_stopword(&word.folded))
            .map(|word| text::stem(&word.folded, tongue, stemmer.as_ref()))
            .collect()
    };
    let folded_title = text::fold(title);
    let title = stems(title);
    let all: Vec<&str> = body
        .split('\n')
        .flat_map(sentences::split)
        // A dash is what a dateline leaves behind.
        .map(|sentence| sentence.trim_start_matches(['-', '–', '—', ' ', '\u{a0}']))
        .filter(|sentence| sentences::is_whole(sentence))
        .filter(|sentence| sentence.chars().count() >= SHORTEST)
        .filter(|sentence| text::fold(sentence).trim_end_matches('.') != folded_title.trim_end_matches('.'))
        .take(4 * LOOKED_AT)
        .collect();
    let stemmed: Vec<BTreeSet<String>> = all.iter().map(|sentence| stems(sentence)).collect();
    let mut shared: BTreeMap<&str, usize> = BTreeMap::new();
    for stem in stemmed.iter().flatten() {
        *shared.entry(stem).or_default() += 1;
    }
    all.iter()
        .zip(&stemmed)
        .enumerate()
        .take(LOOKED_AT)
        .map(|(at, (sentence, stems))| {
            let place = 240 / (at + 2);
            let named = stems.intersection(&title).count();
            let told = named * 120 / title.len().max(1);
            // How many other sentences hold its words, at the mean.
            let held: usize = stems.iter().map(|stem| shared[stem.as_str()] - 1).sum();
            let central = held * 100 / (stems.len().max(4) * all.len().max(2));
            let leans = text::words(sentence, tongue)
                .first()
                .is_some_and(|word| LEANING.contains(&word.folded.as_str()));
            let question = sentence.trim_end().ends_with(['?', '؟']);
            let spoken = sentence.starts_with(['«', '“', '"']);
            let faults =
                usize::from(leans && at > 0) * 80 + usize::from(question) * 80 + usize::from(spoken) * 50;
            Sentence {
                text: sentence,
                length: sentence.chars().count(),
                worth: (place + told + central).saturating_sub(faults),
                titled: named * 4 >= title.len().max(1),
                leans,
                stems: stems.clone(),
            }
        })
        .collect()
}

/// Whether one says most of what the other says.
fn alike(a: &Sentence<'_>, b: &Sentence<'_>) -> bool {
    let less = a.stems.len().min(b.stems.len());
    a.stems.intersection(&b.stems).count() * 3 > less * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_news_stands_first_and_whole() {
        let body = "Lire aussi : notre dossier\n\nLe conseil a fixé hier soir le prix du cacao à son plus haut niveau \
            depuis la réforme. Les exportateurs redoutent des fèves cachées en attendant mieux.\n\nÀ Soubré, M. Kouassi \
            résume : « Le prix est bon sur le papier. Il nous faut maintenant des camions. »";
        assert_eq!(
            extract("Cacao : un prix record", body, Some("fr")),
            "Le conseil a fixé hier soir le prix du cacao à son plus haut niveau depuis la réforme. Les exportateurs \
             redoutent des fèves cachées en attendant mieux."
        );
    }

    #[test]
    fn what_speaks_of_the_title_wins_over_a_scene() {
        let body = "The morning was still young when the first cars rolled down the avenue. Kenya's high court suspended \
            the new fuel levy on Monday until a full hearing. It will sit again on the matter in two weeks.";
        assert_eq!(
            extract("Kenya's high court suspends fuel levy", body, Some("en")),
            "Kenya's high court suspended the new fuel levy on Monday until a full hearing. It will sit again on the matter in two weeks."
        );
    }

    #[test]
    fn nothing_is_cut_where_no_sentence_fits() {
        let endless = format!("Le texte {}.", "continue encore et encore ".repeat(30));
        assert_eq!(extract("Titre", &endless, Some("fr")), "");
        assert_eq!(
            extract("Titre", "Flash : le vote est reporté", Some("fr")),
            "Flash : le vote est reporté"
        );
        assert_eq!(extract("Titre", "", None), "");
    }

    #[test]
    fn the_title_said_again_is_no_extract() {
        let body = "Le Parlement adopte la loi sur les mines de fer. Le texte double la part de l’État dans les \
            nouveaux contrats.";
        let out = extract("Le Parlement adopte la loi sur les mines de fer", body, Some("fr"));
        assert_eq!(out, "Le texte double la part de l’État dans les nouveaux contrats.");
    }

    #[test]
    fn minutes_are_told_only_of_a_text_that_takes_some() {
        assert_eq!(reading_minutes("court"), None);
        assert_eq!(reading_minutes(&"mot ".repeat(220)), Some(1));
        assert_eq!(reading_minutes(&"mot ".repeat(700)), Some(4));
    }
}
