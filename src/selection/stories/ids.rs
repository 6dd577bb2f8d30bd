//! The ids of stories: given once, kept while articles come and go.
//!
//! A story keeps the id that most of its articles bore; an id goes to one story only. One that bore none is named
//! after its first article.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Piece, Stories};
use crate::selection::story_id;

impl Stories {
    /// The id of each article's story, in the order given. `known` tells the one that an article bore before.
    pub fn ids<'a>(&self, pieces: &[Piece<'_>], known: impl Fn(usize) -> Option<&'a str>) -> Vec<String> {
        let mut claims: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        let mut borne: BTreeSet<&str> = BTreeSet::new();
        for (at, first) in self.of.iter().enumerate() {
            if let Some(id) = known(at) {
                *claims.entry((*first, id)).or_default() += 1;
                borne.insert(id);
            }
        }
        let mut claims: Vec<((usize, &str), usize)> = claims.into_iter().collect();
        claims.sort_by_key(|((first, id), count)| (Reverse(*count), self.place[*first], *id));
        let mut ids: BTreeMap<usize, String> = BTreeMap::new();
        let mut given: BTreeSet<&str> = BTreeSet::new();
        for ((first, id), _) in claims {
            if !ids.contains_key(&first) && given.insert(id) {
                ids.insert(first, id.to_owned());
            }
        }
        let mut new: Vec<usize> = self.of.clone();
        new.sort_unstable_by_key(|first| self.place[*first]);
        new.dedup();
        new.retain(|first| !ids.contains_key(first));
        let mut taken: BTreeSet<String> = borne.into_iter().map(str::to_owned).collect();
        for first in new {
            let key = pieces[first].key;
            // Where its first article left a story that goes by its name, or an article came twice: another name.
            let mut id = story_id(key);
            let mut again = 1;
            while taken.contains(&id) {
                again += 1;
                id = story_id(&format!("{key}\n{again}"));
            }
            taken.insert(id.clone());
            ids.insert(first, id);
        }
        self.of.iter().map(|first| ids[first].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bond, find, find_with};
    use super::*;

    const TITLES: [(&str, &str, i64); 4] = [
        ("a", "Incendie au marché d’Owino à Kampala", 1),
        ("b", "Un incendie ravage le marché d’Owino à Kampala", 2),
        ("c", "Kampala : le marché d’Owino détruit par un incendie", 3),
        ("d", "Kenya suspends its fuel levy", 4),
    ];

    fn pieces(which: &[usize]) -> Vec<Piece<'static>> {
        which
            .iter()
            .map(|at| {
                let (key, title, at) = TITLES[*at];
                Piece { key, title, lead: "", language: None, at }
            })
            .collect()
    }

    #[test]
    fn an_id_given_once_is_kept_when_articles_come_and_drop_out() {
        let before = pieces(&[0, 1]);
        let first = find(&before).ids(&before, |_| None);
        assert_eq!(first, [story_id("a"), story_id("a")]);
        // The first article has left the window, another has come.
        let after = pieces(&[1, 2, 3]);
        let known = [Some(first[1].as_str()), None, None];
        let then = find(&after).ids(&after, |at| known[at]);
        assert_eq!(then, [story_id("a"), story_id("a"), story_id("d")]);
    }

    #[test]
    fn a_story_that_falls_apart_leaves_its_id_to_the_greater_part() {
        let all = pieces(&[0, 1, 2]);
        let id = story_id("a");
        let bonds = [(0, 1, Bond::Apart), (0, 2, Bond::Apart)];
        let ids = find_with(&all, &bonds).ids(&all, |_| Some(&id));
        assert_eq!(ids[1], id);
        assert_eq!(ids[2], id);
        assert_ne!(ids[0], id);
        // And the next time nothing changes.
        let again = find_with(&all, &bonds).ids(&all, |at| Some(&ids[at]));
        assert_eq!(again, ids);
    }

    #[test]
    fn two_stories_that_become_one_keep_one_id() {
        let all = pieces(&[0, 1, 2]);
        let known = ["y", "x", "x"];
        assert_eq!(find(&all).ids(&all, |at| Some(known[at])), ["x", "x", "x"]);
        let known = [Some("y"), Some("x"), None];
        let ids = find(&all).ids(&all, |at| known[at]);
        assert!(ids.iter().all(|id| *id == ids[0]) && (ids[0] == "x" || ids[0] == "y"));
    }
}
