//! The countries that are recognised are those that mails can name; and the demo's own articles say which are right.

use matinale::mail::Language;
use matinale::selection::places;
use proptest::prelude::*;

#[test]
fn every_country_that_is_recognised_has_a_name_in_every_language_of_the_mails() {
    for tag in ["fr", "en", "ar", "pt"] {
        let language = Language::of(tag).unwrap();
        for code in places::codes() {
            assert_ne!(language.country(code), code, "{tag}");
        }
    }
}

#[test]
fn what_is_recognised_in_articles_that_name_their_countries_is_hardly_ever_wrong() {
    let (mut right, mut wrong, mut none) = (0, Vec::new(), Vec::new());
    for line in include_str!("../../src/morning/demo/articles.jsonl").lines().filter(|line| !line.is_empty())
    {
        let article: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| article[key].as_str().unwrap_or_default().to_owned();
        let Some(said) = article["countries"].as_array().filter(|list| !list.is_empty()) else { continue };
        let found = places::countries(&text("title"), &text("summary"));
        match found.first() {
            None => none.push(text("title")),
            Some(code) if said.iter().any(|known| known == code.as_str()) => right += 1,
            Some(code) => wrong.push(format!("{code}: {}", text("title"))),
        }
    }
    println!("{right} right, {} wrong, {} not recognised", wrong.len(), none.len());
    assert!(wrong.len() * 20 <= right, "{wrong:#?}");
    assert!(none.len() <= right, "{none:#?}");
}

proptest! {
    #[test]
    fn p10_any_text_at_all_has_at_most_three_countries_each_of_the_table(
        title in "([A-Za-zéèàç' -]{0,8}|[ء-ي ]{0,8}|Mali|Niger|RDC|Congo|في|Guin|\\PC{0,6}){0,8}",
        lead in "\\PC{0,120}",
    ) {
        let found = places::countries(&title, &lead);
        prop_assert!(found.len() <= 3);
        prop_assert!(found.iter().all(|code| places::codes().contains(&code.as_str())));
        prop_assert_eq!(&found, &places::countries(&title, &lead));
    }
}
