//! The store, on each engine.

use jiff::Timestamp;
use matinale::articles::store::{self, Change};
use matinale::articles::{Clean, Defaults, Draft};

use crate::support::databases::both;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn clean(url: &str, title: &str) -> Draft {
    Draft { url: url.to_owned(), title: title.to_owned(), ..Draft::default() }
}

fn check(draft: Draft) -> Clean {
    draft.check(&Defaults { source: Some("Le Fleuve".to_owned()), ..Defaults::default() }).unwrap()
}

#[tokio::test]
async fn the_same_url_again_is_an_update_and_the_same_content_again_is_nothing() {
    for house in both().await {
        let db = house.db.clone();
        let mut tx = db.write().await.unwrap();
        let first = at("2026-11-24T05:00:00Z");
        let draft = Draft {
            value: Some(4),
            section: Some("Monde".to_owned()),
            ..clean("https://f.example/a?utm_source=x", "Un\r\ntitre")
        };
        let (id, change) = store::upsert(&mut tx, &check(draft), "push:cms", first).await.unwrap();
        assert_eq!(change, Change::New);

        // A feed says less of it: what it does not say stays.
        let again = clean("http://F.example/a/", "Un titre");
        let (same, change) = store::upsert(&mut tx, &check(again), "feed:f", first).await.unwrap();
        assert_eq!((same, change), (id, Change::Updated), "the link became http");
        let again = clean("http://f.example/a", "Un titre");
        let (_, change) =
            store::upsert(&mut tx, &check(again), "feed:f", at("2026-11-24T06:00:00Z")).await.unwrap();
        assert_eq!(change, Change::Unchanged);
        tx.commit().await.unwrap();

        let mut conn = db.read().await.unwrap();
        let article = store::find_by_url(&mut conn, "https://f.example/a#x").await.unwrap().unwrap();
        assert_eq!(article.title, "Un titre");
        assert_eq!((article.value, article.section.as_deref()), (Some(4), Some("Monde")));
        assert_eq!((article.source.as_str(), article.origin.as_str()), ("Le Fleuve", "push:cms"));
        assert_eq!((article.first_seen_at, article.updated_at), (first, first));
        assert_eq!(store::count(&mut conn).await.unwrap(), 1);
        assert_eq!(
            store::find_by_ids(&mut conn, &[id, matinale::articles::ArticleId(99)]).await.unwrap().len(),
            1
        );
    }
}

#[tokio::test]
async fn the_window_holds_what_came_in_it_and_nothing_retracted_embargoed_or_yet_to_come() {
    for house in both().await {
        let db = house.db.clone();
        let mut tx = db.write().await.unwrap();
        let (from, until) = (at("2026-11-23T05:00:00Z"), at("2026-11-24T05:00:00Z"));
        let (before, within, after) =
            (at("2026-11-22T05:00:00Z"), at("2026-11-23T20:00:00Z"), at("2026-11-24T05:00:00Z"));
        let mut put = Vec::new();
        for (name, published, seen, embargo) in [
            ("published", Some(within), after, None),
            ("seen", None, within, None),
            ("old-but-seen", Some(before), within, None),
            ("old", Some(before), before, None),
            ("late", Some(after), within, None),
            ("unseen", None, after, None),
            ("embargoed", Some(within), within, Some(at("2026-11-24T05:00:01Z"))),
            ("embargo-over", Some(within), within, Some(until)),
            ("retracted", Some(within), within, None),
        ] {
            let draft = Draft {
                published_at: published,
                embargo_until: embargo,
                ..clean(&format!("https://f.example/{name}"), name)
            };
            put.push((name, store::upsert(&mut tx, &check(draft), "import", seen).await.unwrap().0));
        }
        let retracted = put.last().unwrap().1;
        store::retract(&mut tx, retracted, Some("faux"), within).await.unwrap();
        // It comes again, changed: it stays retracted.
        let again = check(clean("https://f.example/retracted", "autre titre"));
        assert_eq!(store::upsert(&mut tx, &again, "import", within).await.unwrap().1, Change::Updated);
        tx.commit().await.unwrap();

        let mut conn = db.read().await.unwrap();
        let window = store::list_window(&mut conn, from, until).await.unwrap();
        let titles: Vec<&str> = window.iter().map(|article| article.title.as_str()).collect();
        assert_eq!(titles, ["published", "seen", "old-but-seen", "embargo-over"]);
        assert_eq!(store::list_latest(&mut conn, Some("Le Fleuve"), true, 3).await.unwrap().len(), 3);
        drop(conn);

        let mut tx = db.write().await.unwrap();
        store::restore(&mut tx, retracted).await.unwrap();
        assert_eq!(store::list_window(&mut tx, from, until).await.unwrap().len(), 5);
    }
}
