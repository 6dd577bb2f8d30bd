//! What comes from files, good and bad.

use std::io::Read;

use jiff::Timestamp;
use matinale::articles::import::{self, MAX_LINE_BYTES, Report, Says};
use matinale::articles::ingest::Tally;
use matinale::articles::store;
use matinale::db::Db;

use crate::support::databases::both;

fn now() -> Timestamp {
    "2026-11-24T05:00:00Z".parse().unwrap()
}

async fn import(db: &Db, name: &str, document: impl Into<Vec<u8>>) -> Report {
    let input = import::bytes(document.into());
    import::read(db, name.to_owned(), input, &Says::default(), now()).await.unwrap()
}

fn refusals(report: &Report) -> Vec<String> {
    report.refusals.iter().map(|one| format!("{}: {}: {}", one.place, one.field, one.why)).collect()
}

#[tokio::test]
async fn p10_refused_lines_name_their_place_and_the_rest_goes_on() {
    for house in both().await {
        let db = house.db.clone();
        let lines = "{\"url\": \"https://a.example/1\", \"title\": \"Un\\r\\nBcc: x@y.example\", \"body\": \"<p>Texte</p><script>alert(1)</script>\"}\n\
                 {\"url\": \"https://a.example/2\"}\n\
                 \n\
                 {\"url\": \"https://a.example/3\", \"title\": \n\
                 {\"title\": \"Sans lien\"}\n\
                 {\"url\": \"https://a.example/4\", \"title\": \"Quatre\", \"value\": 9}\n\
                 {\"url\": \"https://a.example/5\", \"title\": \"Cinq\"}";
        let report = import(&db, "a.jsonl", lines).await;
        assert_eq!(report.tally, Tally { new: 2, updated: 0, unchanged: 0, refused: 4 });
        let said = refusals(&report);
        assert_eq!(said[0], "line 2: title: is missing");
        assert!(said[1].starts_with("line 4: line: is no JSON: EOF while parsing"), "{}", said[1]);
        assert_eq!(said[2], "line 5: url: is missing");
        assert_eq!(said[3], "line 6: value: must be 1 to 5, found 9");
        let mut conn = db.read().await.unwrap();
        let article = store::find_by_url(&mut conn, "https://a.example/1").await.unwrap().unwrap();
        assert_eq!((article.title.as_str(), article.body.as_str()), ("Un Bcc: x@y.example", "Texte"));
        drop(conn);
        // The same again changes nothing.
        let again = import(&db, "a.jsonl", lines).await;
        assert_eq!(again.tally, Tally { new: 0, updated: 0, unchanged: 2, refused: 4 });
    }
}

#[tokio::test]
async fn p10_a_line_of_two_hundred_megabytes_is_refused_and_never_held() {
    for house in both().await {
        let db = house.db.clone();
        let before = "{\"url\": \"https://a.example/1\", \"title\": \"Avant\"}\n{\"url\": \"";
        let after = "\"}\n{\"url\": \"https://a.example/2\", \"title\": \"Après\"}\n";
        let long = std::io::repeat(b'x').take(200 << 20);
        let input = Box::new(before.as_bytes().chain(long).chain(after.as_bytes()));
        let report =
            import::read(&db, "long.jsonl".to_owned(), input, &Says::default(), now()).await.unwrap();
        assert_eq!(report.tally.new, 2);
        let expected = format!("line 2: line: is longer than {} MiB (209715211 bytes)", MAX_LINE_BYTES >> 20);
        assert_eq!(refusals(&report), [expected]);
    }
}

#[tokio::test]
async fn p10_utf_16_is_read_in_every_format() {
    for house in both().await {
        let db = house.db.clone();
        let wide = |text: &str| -> Vec<u8> {
            [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
        };
        let line = "{\"url\": \"https://a.example/1\", \"title\": \"Été\"}\n{\"url\": \"https://a.example/2\", \"title\": \"Hiver\"}\n";
        let feed = "<?xml version='1.0' encoding='utf-16'?><rss version='2.0'><channel><item><title>Pluie à l’aube</title><link>https://a.example/3</link></item></channel></rss>";
        for (name, document, new) in
            [("a.jsonl", line, 2), ("a.xml", feed, 1), ("a.txt", "Un titre\n\nUn texte.", 1)]
        {
            let report = import(&db, name, wide(document)).await;
            assert_eq!((report.tally.new, report.failed), (new, None), "{name}");
        }
    }
}

#[tokio::test]
async fn p10_what_cannot_be_read_says_what_it_is() {
    for house in both().await {
        let db = house.db.clone();
        for (name, document, expected) in [
            ("a.xml", b"\x1f\x8b\x08\0\0".to_vec(), "is compressed (gzip): unpack it first"),
            (
                "a.xml",
                b"<html><body>Interdit</body></html>".to_vec(),
                "is neither RSS nor Atom nor a JSON Feed",
            ),
            (
                "a.json",
                b"{\"feedType\": \"rss\", \"items\": []}".to_vec(),
                "is neither a JSON Feed (no version of jsonfeed.org) nor an article (no url and title)",
            ),
            ("a.json", b"{\"url\": ".to_vec(), "is no JSON: EOF while parsing a value at line 1 column 8"),
            ("a.txt", Vec::new(), "is empty"),
            ("a", b"abc\0def\0".to_vec(), "is no text"),
        ] {
            let report = import(&db, name, document).await;
            assert_eq!(report.failed.as_deref(), Some(expected), "{name}");
        }
        let missing = import::file(&db, "no/such/file.xml".as_ref(), &Says::default(), now()).await.unwrap();
        assert!(missing.failed.unwrap().contains("No such file"));
        let endless = Box::new(std::io::repeat(b'<'));
        let report = import::read(&db, "a.xml".to_owned(), endless, &Says::default(), now()).await.unwrap();
        assert_eq!(report.failed.as_deref(), Some("is larger than 64 MiB"));
    }
}

#[tokio::test]
async fn every_format_is_known_by_its_content_too() {
    for house in both().await {
        let db = house.db.clone();
        for (document, format) in [
            ("{\"url\": \"https://a.example/1\", \"title\": \"Un\"}", "JSON Lines"),
            ("[{\"url\": \"https://a.example/2\", \"title\": \"Deux\"}]", "JSON"),
            (
                "{\"version\": \"https://jsonfeed.org/version/1.1\", \"title\": \"F\", \"items\": [{\"id\": \"3\", \"url\": \"https://a.example/3\", \"title\": \"Trois\", \"content_text\": \"Texte.\"}]}",
                "JSON Feed",
            ),
            (
                "<feed xmlns='http://www.w3.org/2005/Atom'><entry><title>Q</title><link href='https://a.example/4'/></entry></feed>",
                "Atom",
            ),
            (
                "<!DOCTYPE html><link rel=canonical href=https://a.example/5><title>Cinq</title><p>Un texte.",
                "HTML",
            ),
            ("Six\n\nUn texte de six.", "text"),
        ] {
            let report = import(&db, "-", document).await;
            assert_eq!((report.format, report.tally.new), (Some(format), 1), "{report:?}");
        }
    }
}
