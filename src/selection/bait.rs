//! Titles that bait: they promise instead of telling. By the openings and phrases of `data/bait.txt`.

use std::sync::LazyLock;

use super::text::fold;

static PHRASES: LazyLock<Vec<(bool, String)>> = LazyLock::new(|| {
    include_str!("data/bait.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| match line.strip_prefix('^') {
            Some(opening) => (true, plain(opening)),
            None => (false, plain(line)),
        })
        .collect()
});

/// Whether a title promises instead of telling.
pub(super) fn baits(title: &str) -> bool {
    let shouts = title.matches(['!', '！']).count() >= 2 || title.contains("?!") || title.contains("!?");
    let folded = plain(title);
    let padded = format!(" {folded} ");
    shouts
        || PHRASES.iter().any(|(opens, phrase)| {
            let phrase = format!(" {phrase} ");
            if *opens { padded.starts_with(&phrase) } else { padded.contains(&phrase) }
        })
        || counts(&folded)
}

/// "7 reasons why…", "10 choses à…": a count of things, first.
fn counts(folded: &str) -> bool {
    const THINGS: [&str; 24] = [
        "reasons",
        "things",
        "ways",
        "tricks",
        "secrets",
        "facts",
        "photos",
        "signs",
        "raisons",
        "choses",
        "facons",
        "astuces",
        "signes",
        "manieres",
        "trucs",
        "razoes",
        "coisas",
        "maneiras",
        "truques",
        "segredos",
        "اسباب",
        "طرق",
        "اشياء",
        "حيل",
    ];
    let mut words = folded.split(' ');
    let first = words.next().unwrap_or_default();
    let first =
        if matches!(first, "the" | "les" | "as" | "os") { words.next().unwrap_or_default() } else { first };
    !first.is_empty()
        && first.chars().all(char::is_numeric)
        && words.take(2).any(|word| THINGS.contains(&word))
}

/// Folded, with single spaces for all that is no letter or digit.
fn plain(text: &str) -> String {
    fold(text)
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_promises_is_told_from_what_tells() {
        for title in [
            "Vous ne devinerez jamais qui revient au gouvernement",
            "You won’t believe what the minister said",
            "7 raisons de ne pas voter",
            "10 surprising facts about the lake",
            "Não vai acreditar no preço do pão",
            "لن تصدق ماذا حدث في الميناء",
            "Cacao : ce que l’on vous cache",
            "Choc au stade !!",
            "This one trick doubles your harvest",
        ] {
            assert!(baits(title), "{title}");
        }
        for title in [
            "Le gouvernement devine une croissance de 4 %",
            "Pourquoi le cacao monte",
            "10 morts dans un accident près de Kaolack",
            "3 ministers resign over the budget",
            "Guinée : ce qu’il faut savoir du scrutin",
            "Un stade, enfin !",
            "O preço do pão sobe",
            "وفاة 10 أشخاص في حادث",
            "",
        ] {
            assert!(!baits(title), "{title}");
        }
    }
}
