//! The words that say nothing about an event, in the four languages, from `data/stopwords.txt`.

use std::collections::HashSet;
use std::sync::LazyLock;

static WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("data/stopwords.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect()
});

/// Whether the folded word stands in the table.
pub fn contains(folded: &str) -> bool {
    WORDS.contains(folded)
}
