//! Stories from one refresh to the next: ids that stay, and what editors split and joined.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::civil::Date;
use matinale::articles::formats::Format;
use matinale::articles::import::{self, Says};
use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::editions::Who;
use matinale::morning::{House, line_up, stories};
use matinale::selection::Candidate;
use matinale::selection::stories::Bond;

use crate::support::databases::both;

fn config() -> Config {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[keys]\nsecret_file = \"secret.key\"\n[relay.main]\nurl = \"smtp://127.0.0.1:1\"\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"test@example.org\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\n\
         timezone = \"Africa/Abidjan\"\nrelays = [\"main\"]\ncheck_links = false\n";
    std::fs::write(&file, text).unwrap();
    Config::load(&[file], &BTreeMap::new()).unwrap()
}

/// Two fires that a machine could take for one, an Ebola case told in words that share nothing, and a levy.
const FIRST: [(&str, &str); 6] = [
    ("lagos-1", "Un incendie ravage le marché central"),
    ("lagos-2", "Incendie : le marché central ravagé"),
    ("kano-1", "Le marché central ravagé par un incendie"),
    ("ebola-1", "Une infirmière meurt à Fort Portal"),
    ("ebola-2", "L’Ouganda déclare une épidémie"),
    ("taxe", "Nairobi retire sa taxe sur le pain"),
];

async fn bring(house: &House, articles: &[(&str, &str)], hour: u32) {
    let mut lines = String::new();
    for (name, title) in articles {
        writeln!(
            lines,
            "{{\"url\": \"https://press.example/{name}\", \"title\": \"{title}\", \"summary\": \"\", \
             \"source\": \"Source {name}\", \"language\": \"fr\", \"published_at\": \"2026-10-01T{hour:02}:00:00Z\"}}"
        )
        .unwrap();
    }
    let says = Says { format: Some(Format::JsonLines), ..Says::default() };
    let bytes = import::bytes(lines.into_bytes());
    import::read(&house.db, "test".to_owned(), bytes, &says, house.clock.now()).await.unwrap();
}

/// Refreshes the line-up; each article's story, by the article's name.
async fn refreshed(house: &House) -> BTreeMap<String, String> {
    let newsletter = house.config.newsletters["test"].clone();
    let edition = line_up::open(house, &newsletter, date()).await.unwrap();
    let proposal = line_up::refresh(house, &newsletter, &edition).await.unwrap();
    let all = proposal.chosen.iter().chain(&proposal.reserves).chain(&proposal.left_out);
    all.map(|candidate: &Candidate| {
        let name = candidate.url.rsplit('/').next().unwrap_or_default().to_owned();
        (name, candidate.story.clone())
    })
    .collect()
}

fn date() -> Date {
    "2026-10-02".parse().unwrap()
}

fn urls(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("https://press.example/{name}")).collect()
}

#[tokio::test]
async fn p8_ids_stay_and_what_editors_split_and_joined_stays_so_at_every_refresh() {
    let mut told = Vec::new();
    for test in both().await {
        let clock = Clock::manual("2026-10-01T20:00:00Z".parse().unwrap());
        let house = House::new(config(), test.db, clock, Random::seeded(1));
        let who = Who("Awa".to_owned());
        bring(&house, &FIRST, 10).await;
        let first = refreshed(&house).await;
        let fire = first["lagos-1"].clone();
        assert_eq!([&first["lagos-2"], &first["kano-1"]], [&fire, &fire], "{}", test.name);
        assert_ne!(first["ebola-1"], first["ebola-2"], "{}", test.name);

        let refused = stories::split(&house, &urls(&["taxe"]), &who).await.unwrap().unwrap_err();
        assert!(refused.contains("nothing to split"), "{refused}");
        let refused = stories::join(&house, &urls(&["taxe", "none"]), &who).await.unwrap().unwrap_err();
        assert!(refused.contains("https://press.example/none"), "{refused}");
        assert_eq!(stories::split(&house, &urls(&["kano-1"]), &who).await.unwrap(), Ok(2));
        assert_eq!(stories::join(&house, &urls(&["ebola-1", "ebola-2"]), &who).await.unwrap(), Ok(2));

        let second = refreshed(&house).await;
        assert_eq!([&second["lagos-1"], &second["lagos-2"]], [&fire, &fire], "the id stays: {}", test.name);
        assert_ne!(second["kano-1"], fire, "{}", test.name);
        assert_eq!(second["ebola-1"], second["ebola-2"], "{}", test.name);

        // More arrives, earlier than all of it, and it is refreshed again: nothing that an editor said is undone.
        bring(
            &house,
            &[("lagos-3", "Le marché central ravagé par l’incendie"), ("cable", "Câble sous-marin coupé")],
            8,
        )
        .await;
        let third = refreshed(&house).await;
        for name in ["lagos-1", "lagos-2", "kano-1", "ebola-1", "ebola-2", "taxe"] {
            assert_eq!(third[name], second[name], "{name}: {}", test.name);
        }
        let newsletter = house.config.newsletters["test"].clone();
        let edition = line_up::open(&house, &newsletter, date()).await.unwrap();
        let shown = line_up::shown(&house, &newsletter, &edition).await.unwrap();
        let ebola = shown.items.iter().find(|item| item.story == third["ebola-1"]).unwrap();
        let both = BTreeSet::from([ebola.url.as_str(), ebola.also_in[0].url.as_str()]);
        assert_eq!(both, urls(&["ebola-1", "ebola-2"]).iter().map(String::as_str).collect());
        let said: BTreeSet<(Bond, &str)> =
            shown.said.iter().map(|said| (said.what, said.who.as_str())).collect();
        assert_eq!(said, BTreeSet::from([(Bond::Together, "Awa"), (Bond::Apart, "Awa")]));

        // And an editor may think again.
        stories::join(&house, &urls(&["kano-1", "lagos-1"]), &who).await.unwrap().unwrap();
        let fourth = refreshed(&house).await;
        assert_eq!([&fourth["kano-1"], &fourth["lagos-1"]], [&fire, &fire], "{}", test.name);
        let story = stories::story(&house, &urls(&["kano-1"])[0]).await.unwrap().unwrap();
        assert!(story.articles.len() >= 3, "{story:?}");
        told.push((first, second, third, fourth));
    }
    if let [sqlite, postgres] = told.as_slice() {
        assert_eq!(sqlite, postgres);
    }
}
