//! What mails look like, kept in files: whoever changes one sees it here first.

use matinale::mail::{Consent, Language, SLOT, render};

use super::samples::{self, LANGUAGES};

#[test]
fn every_kind_of_day_reads_as_it_was_last_looked_at() {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/mail"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    // A French morning for somebody who reads Arabic: the page runs one way, the words the other.
    let rendered = render(&samples::full("fr"), Language::of("ar").unwrap()).unwrap();
    insta::assert_snapshot!("full.fr-in-ar.html", rendered.filled(SLOT, &Consent::default()).html);
    for language in LANGUAGES {
        let days = [
            ("full", samples::full(language), (Some("2025-08-01"), Some("https://news.example/inscription"))),
            ("poor", samples::poor(language), (None, None)),
            ("ugly", samples::ugly(language), (None, Some("<b>\u{202E}&\"form\"\r\n.\r\n مدينة"))),
        ];
        for (day, content, (on, place)) in days {
            let rendered = render(&content, Language::of(language).unwrap()).unwrap();
            let rendered = rendered.filled(SLOT, &Consent::of(on, None, place));
            let head = format!("{}\n{}\n\n", rendered.subject, rendered.preheader);
            insta::assert_snapshot!(format!("{day}.{language}.html"), rendered.html);
            insta::assert_snapshot!(format!("{day}.{language}.txt"), head + &rendered.text);
        }
    }
}
