//! Extracts of any text at all are its own whole sentences.

use matinale::selection::{extract, sentences};
use proptest::prelude::*;

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-zéèàçœ]{1,12}",
        1 => "[0-9]{1,4}",
        1 => "[ء-ي]{2,9}",
        1 => prop_oneof![
            Just("M."), Just("U.S."), Just("« Oui. »"), Just("…"), Just("?"), Just("!"), Just("."), Just("»"), Just("“"),
            Just("(art."), Just("\n\n"), Just("\u{a0}!"), Just("🎉"), Just("؟"), Just("'"), Just("1."),
        ]
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn an_extract_is_made_of_whole_sentences_of_the_body_and_nothing_else(
        title in "[A-Za-zé ]{0,40}",
        pieces in proptest::collection::vec(piece(), 0..160),
    ) {
        let body = pieces.join(" ");
        let out = extract::extract(&title, &body, None);
        prop_assert!(out.chars().count() <= 480);
        let mut rest = out.as_str();
        let whole: Vec<&str> = body.split('\n').flat_map(sentences::split).collect();
        // A body of a few words without an end is its own extract.
        let flash = body.split_whitespace().collect::<Vec<_>>().join(" ");
        if out != flash {
            for _ in 0..2 {
                let longest = whole.iter().filter(|known| rest.starts_with(**known)).max_by_key(|known| known.len());
                rest = rest.strip_prefix(longest.copied().unwrap_or_default()).unwrap_or(rest).trim_start();
            }
            prop_assert_eq!(rest, "", "{:?} is not of {:?}", out, whole);
        }
        prop_assert_eq!(out, extract::extract(&title, &body, None));
    }
}

#[test]
fn an_arabic_and_a_portuguese_article_give_their_own_sentences() {
    let body = "أعلنت مفوضية الانتخابات في ليبيا اليوم الاثنين موعد الاقتراع البلدي في ستين بلدية. وقال د. أحمد سالم إن \
        القوائم النهائية جاهزة. هل تشارك المدن الكبرى؟";
    let out = extract::extract("ليبيا تحدد موعد الاقتراع البلدي", body, Some("ar"));
    assert_eq!(
        out,
        "أعلنت مفوضية الانتخابات في ليبيا اليوم الاثنين موعد الاقتراع البلدي في ستين بلدية. وقال د. أحمد سالم إن \
         القوائم النهائية جاهزة."
    );
    let body = "Foi uma noite longa na sede do partido. O Sr. Costa e a Dra. Lima assinaram em Luanda o acordo sobre o \
        porto do Lobito. O texto prevê obras novas até ao fim de 2028.";
    let out = extract::extract("Angola assina acordo sobre o porto do Lobito", body, Some("pt"));
    assert_eq!(
        out,
        "O Sr. Costa e a Dra. Lima assinaram em Luanda o acordo sobre o porto do Lobito. O texto prevê obras novas até ao \
         fim de 2028."
    );
}
