//! Stories: articles that report the same event, found by their words and letters.
//!
//! TF-IDF over stems of title and lead, mixed with character 4-grams (names in other spellings, compounds); names
//! and numbers weigh more than other words, and other countries part. Joined by average link over the squares of the
//! similarities, for a few words that are strongly alike tell more than many that are weakly so. Recomputed whole each
//! time.
//!
//! Everything is counted in integers, so that the order of adding, the build and the machine decide nothing; and
//! articles are put in an order of their own first, so that the order of arrival does not either. The rule a
//! newcomer would break: the section is no sign of a story, sources name sections differently.

mod furniture;
mod ids;
mod link;
pub mod store;
mod terms;

use std::collections::BTreeMap;

use link::Triangle;

/// What an article is compared by.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    /// Tells articles apart and orders them where dates do not: the URL.
    pub key: &'a str,
    /// The title; counts twice.
    pub title: &'a str,
    /// The standfirst, or the first sentences.
    pub lead: &'a str,
    /// BCP 47, where it is known.
    pub language: Option<&'a str>,
    /// When it came out, in milliseconds since the epoch.
    pub at: i64,
}

/// What an editor said of two articles, which no recomputation undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Bond {
    /// They report one event.
    Together,
    /// They do not.
    Apart,
}

/// Which story each article belongs to, and how alike any two are.
#[derive(Clone, Debug, Default)]
pub struct Stories {
    /// By article, in the order given: the index of the story's first article.
    pub of: Vec<usize>,
    /// By article, in the order given: the index of the article that tells its story best, the one most like all
    /// the others.
    pub lead: Vec<usize>,
    /// By article: how like the others of its story it is in all; of two in one story, more is nearer to its middle.
    central: Vec<u64>,
    similarity: Triangle,
    /// From the given order to our own.
    place: Vec<usize>,
}

/// Articles so far apart report different events, or one that came back; nearer ones are the less alike the further
/// apart they are: the same words about two mornings are often two events.
const WINDOW_MS: i64 = 48 * 3600 * 1000;
/// Two that name countries, and none in common, are the less alike: an election there is not the one here. In percent.
const STRANGERS: u64 = 75;
/// What stems and what letters say of how alike two are, in tenths.
const WORDS: u64 = 6;
const LETTERS: u64 = 4;
/// One, in similarities.
const ONE: u32 = 0xffff;
/// The similarity down to which headlines are joined, in thousandths.
const HEADLINES: usize = 120;
/// And texts with a lead, in which more words meet by chance.
const LEADS: usize = 380;
/// Stems in a headline, and in a title with a lead.
const SHORT: usize = 12;
const LONG: usize = 40;

impl Stories {
    /// How alike the stories of two articles are, told by their leads; of one story, how alike the two are. In
    /// thousandths, squared as in joining, so that only what is truly alike counts.
    pub fn alike(&self, a: usize, b: usize) -> i64 {
        if a == b {
            return 1000;
        }
        let (a, b) = if self.of[a] == self.of[b] { (a, b) } else { (self.lead[a], self.lead[b]) };
        let similarity = i64::from(self.similarity.get(self.place[a], self.place[b]));
        similarity * similarity * 1000 / (i64::from(ONE) * i64::from(ONE))
    }

    /// How near an article is to the middle of its story, to compare it with others of that story.
    pub fn central(&self, at: usize) -> u64 {
        self.central[at]
    }
}

/// Finds the stories of these articles, where no editor said anything.
pub fn find(pieces: &[Piece<'_>]) -> Stories {
    find_with(pieces, &[])
}

/// Finds the stories of these articles; bonds name two of them by their places.
pub fn find_with(pieces: &[Piece<'_>], bonds: &[(usize, usize, Bond)]) -> Stories {
    let order = order(pieces);
    let mut place = vec![0; pieces.len()];
    for (ours, given) in order.iter().enumerate() {
        place[*given] = ours;
    }
    let sorted: Vec<&Piece<'_>> = order.iter().map(|at| &pieces[*at]).collect();
    let mut similarity = Triangle::new(pieces.len());
    let countries = terms::countries(&sorted);
    let tongues = terms::tongues(&sorted);
    let leads = furniture::telling(&sorted);
    let since = begins(&sorted);
    let numbered = furniture::numbered(&sorted);
    let near = |a: usize, b: usize| {
        if numbered[a].is_some() && numbered[a] == numbered[b] && sorted[a].title != sorted[b].title {
            return 0;
        }
        nearness(sorted[a].at, sorted[b].at, countries[a], countries[b])
    };
    let same = |a: usize, b: usize| if tongues[a] == tongues[b] { near(a, b) } else { 0 };
    let words = terms::words(&sorted, &leads, &tongues, None);
    let theta = threshold(&words.lengths());
    add_cosines(&words.weighted(), WORDS, &since, same, &mut similarity);
    drop(words);
    if tongues.iter().any(|tongue| *tongue != tongues[0]) {
        // Few words are written alike in two languages: names, numbers, and the countries meant.
        let other = |a: usize, b: usize| near(a, b) - same(a, b);
        let words = terms::words(&sorted, &leads, &tongues, Some(&countries));
        add_cosines(&words.weighted(), WORDS, &since, other, &mut similarity);
    }
    add_cosines(&terms::letters(&sorted, &leads).weighted(), LETTERS, &since, near, &mut similarity);
    let mut bonds: Vec<(usize, usize, Bond)> = bonds
        .iter()
        .map(|(a, b, bond)| (place[*a].min(place[*b]), place[*a].max(place[*b]), *bond))
        .collect();
    bonds.sort_unstable_by_key(|(a, b, bond)| (*a, *b, *bond == Bond::Apart));
    let joined = link::join(sorted.len(), |a, b| similarity.squared(a, b), theta, &bonds);
    let (ours, central) = leads_of(&joined, &similarity, &sorted);
    let of = place.iter().map(|own| order[joined[*own]]).collect();
    let lead = place.iter().map(|own| order[ours[*own]]).collect();
    let central = place.iter().map(|own| central[*own]).collect();
    Stories { of, lead, central, similarity, place }
}

/// By date, then by all that an article says: two of the same place in it are the same.
fn order(pieces: &[Piece<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    let key = |at: usize| {
        let piece = &pieces[at];
        (piece.at, piece.key, piece.title, piece.lead, piece.language)
    };
    order.sort_by(|a, b| key(*a).cmp(&key(*b)));
    order
}

/// Between the threshold of headlines and that of leads, by how long the texts are; squared.
fn threshold(lengths: &[usize]) -> u16 {
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(SHORT).clamp(SHORT, LONG);
    let theta = HEADLINES + (LEADS - HEADLINES) * (median - SHORT) / (LONG - SHORT);
    u16::try_from(theta * theta * usize::try_from(ONE).unwrap_or(0) / 1_000_000).unwrap_or(u16::MAX)
}

/// What is left of the likeness of two articles, for the time between them and the countries that they name; nothing
/// beyond the window.
fn nearness(a: i64, b: i64, here: u128, there: u128) -> u64 {
    let near = WINDOW_MS.saturating_sub(a.abs_diff(b).try_into().unwrap_or(i64::MAX)).max(0).unsigned_abs();
    if here != 0 && there != 0 && here & there == 0 { near * STRANGERS / 100 } else { near }
}

/// By article: the first one that stands in the window with it. They stand in the order of time.
fn begins(sorted: &[&Piece<'_>]) -> Vec<usize> {
    let mut begin = 0;
    let mut out = Vec::with_capacity(sorted.len());
    for piece in sorted {
        while piece.at.abs_diff(sorted[begin].at) >= WINDOW_MS.unsigned_abs() {
            begin += 1;
        }
        out.push(begin);
    }
    out
}

/// Adds a share, in tenths, of every pair's cosine, as near as they are.
fn add_cosines(
    vectors: &terms::Vectors,
    share: u64,
    since: &[usize],
    near: impl Fn(usize, usize) -> u64,
    similarity: &mut Triangle,
) {
    // All postings in one piece: of each term those in the window stand from `first` to `filled`.
    let mut first = vec![0_u32; vectors.terms];
    for (term, _) in vectors.rows.iter().flatten() {
        first[*term as usize] += 1;
    }
    let mut all = 0;
    for count in &mut first {
        all += std::mem::replace(count, all);
    }
    let mut filled = first.clone();
    let mut postings = vec![(0_u32, 0_u16); all as usize];
    let mut sums = vec![0_u32; vectors.rows.len()];
    for (row, vector) in (0_u32..).zip(&vectors.rows) {
        let at = row as usize;
        let begin = since[at];
        for (term, weight) in vector {
            let term = *term as usize;
            let list = &postings[first[term] as usize..filled[term] as usize];
            let gone = list.iter().take_while(|(other, _)| (*other as usize) < begin).count();
            first[term] += u32::try_from(gone).unwrap_or(u32::MAX);
            for (other, known) in &list[gone..] {
                sums[*other as usize] += u32::from(*weight) * u32::from(*known);
            }
            // Its own comes last: no article is compared with itself.
            postings[filled[term] as usize] = (row, *weight);
            filled[term] += 1;
        }
        for (other, sum) in sums.iter_mut().enumerate().take(at).skip(begin) {
            if *sum > 0 {
                similarity.add(at, other, scaled(*sum, share, near(at, other)));
                *sum = 0;
            }
        }
    }
}

/// A product of two unit vectors as a part of [`ONE`], by its share in tenths and its nearness.
fn scaled(product: u32, share: u64, near: u64) -> u16 {
    let unit = u64::from(terms::UNIT) * u64::from(terms::UNIT);
    let within = u64::from(product).min(unit) * near / WINDOW_MS.unsigned_abs();
    let part = (within * share * u64::from(ONE) + unit * 5) / (unit * 10);
    u16::try_from(part).unwrap_or(u16::MAX)
}

/// The lead of each article's story, and how central each article is to its own. Of two equally so the newer leads.
fn leads_of(joined: &[usize], similarity: &Triangle, sorted: &[&Piece<'_>]) -> (Vec<usize>, Vec<u64>) {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, first) in joined.iter().enumerate() {
        members.entry(*first).or_default().push(at);
    }
    let mut lead = vec![0; joined.len()];
    let mut central = vec![0; joined.len()];
    for story in members.values() {
        for (at, one) in story.iter().enumerate() {
            for other in &story[..at] {
                let alike = u64::from(similarity.get(*one, *other));
                central[*one] += alike;
                central[*other] += alike;
            }
        }
        let best =
            story.iter().copied().max_by_key(|at| (central[*at], sorted[*at].at, std::cmp::Reverse(*at)));
        for at in story {
            lead[*at] = best.unwrap_or(*at);
        }
    }
    (lead, central)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: [(&str, &str); 6] = [
        ("a", "Le cacao ivoirien franchit un nouveau record"),
        ("b", "Cacao : nouveau record pour les planteurs ivoiriens"),
        ("c", "Dakar adopte la loi sur l’accès à l’information"),
        ("d", "Sénégal : la loi sur l’accès à l’information adoptée à Dakar"),
        ("e", "Kenya suspends its fuel levy"),
        ("f", "Court in Kenya suspends the new fuel levy"),
    ];

    fn pieces() -> Vec<Piece<'static>> {
        TITLES.iter().map(|(key, title)| Piece { key, title, lead: "", language: None, at: 0 }).collect()
    }

    #[test]
    fn the_same_event_in_other_words_is_one_story() {
        let stories = find(&pieces()).of;
        assert_eq!(stories, [0, 0, 2, 2, 4, 4]);
    }

    #[test]
    fn the_order_of_arrival_decides_nothing() {
        let mut turned = pieces();
        turned.reverse();
        let stories = find(&turned).of;
        let keys: Vec<&str> = stories.iter().map(|at| turned[*at].key).collect();
        assert_eq!(keys, ["e", "e", "c", "c", "a", "a"]);
    }

    #[test]
    fn what_lies_days_apart_is_another_story() {
        let mut apart = pieces();
        apart[1].at = WINDOW_MS;
        assert_eq!(find(&apart).of[1], 1);
    }

    #[test]
    fn the_lead_of_a_story_is_the_article_most_like_the_others() {
        let titles = [
            ("a", "Kampala : le marché d’Owino ravagé par un incendie, les pompiers mis en cause"),
            ("b", "Incendie au marché d’Owino à Kampala"),
            ("c", "Un incendie ravage le marché d’Owino à Kampala"),
        ];
        let pieces: Vec<Piece<'_>> = titles
            .iter()
            .map(|(key, title)| Piece { key, title, lead: "", language: Some("fr"), at: 0 })
            .collect();
        let stories = find(&pieces);
        assert_eq!(stories.of, [0, 0, 0]);
        assert_eq!(stories.lead, [2, 2, 2]);
        assert!(stories.central(2) > stories.central(0));
    }

    #[test]
    fn the_same_article_twice_is_as_alike_as_can_be() {
        let piece = Piece { key: "a", title: "Le port de Lomé rouvre", lead: "", language: None, at: 0 };
        let stories = find(&[piece.clone(), piece]);
        assert_eq!(stories.of, [0, 0]);
        assert!(stories.alike(0, 1) >= 995, "{}", stories.alike(0, 1));
    }

    #[test]
    fn p8_editors_join_and_part_whatever_the_words_say() {
        let bonds = [(0, 1, Bond::Apart), (4, 2, Bond::Together)];
        assert_eq!(find_with(&pieces(), &bonds).of, [0, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn nothing_is_no_story() {
        assert!(find(&[]).of.is_empty());
        let empty = Piece { key: "", title: "", lead: "", language: None, at: i64::MIN };
        let late = Piece { at: i64::MAX, ..empty.clone() };
        assert_eq!(find(&[empty, late]).of, [0, 1]);
    }
}
