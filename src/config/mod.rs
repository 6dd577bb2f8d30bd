//! The configuration: read once at the start, checked whole, passed down as plain structs.
//!
//! Layers: the defaults compiled in from `config/default.toml`, files, `MATINALE__SECTION__KEY` variables; later
//! ones win. Every fault is found at once and names its file and key. To add a key: a line with its meaning in
//! `config/default.toml`, a field in its section here. What a key *means* to a room is the room's matter.

mod database;
mod delivery;
mod feed;
mod layers;
pub mod masked;
mod newsletter;
mod reader;
mod relay;
mod retention;
pub mod selection;
pub mod theme;
pub mod values;
mod web;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Map, Value, ValueKind};
use secrecy::SecretString;

pub use database::Database;
pub use delivery::{Bounces, Delivery, Dkim, Notices, Timeouts, Uncertain, domain};
pub use feed::Feed;
pub use newsletter::{Alert, Approval, ForDay, Images, Newsletter};
pub use reader::{DEFAULTS, Fault, Section};
pub use relay::{Relay, RelayKind, Tls, WarmUp};
pub use retention::Retention;
pub use selection::{Limit, Selection};
pub use values::Rate;
pub use web::{Fetch, Log, LogFormat, Web};

use reader::Faults;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[database]`.
    pub database: Database,
    /// `[web]`.
    pub web: Web,
    /// What signs links: the content of `keys.secret_file`.
    pub secret: SecretString,
    /// `[log]`.
    pub log: Log,
    /// `[fetch]`.
    pub fetch: Fetch,
    /// `[delivery]`.
    pub delivery: Delivery,
    /// `[bounces]`.
    pub bounces: Bounces,
    /// `[notices]`.
    pub notices: Notices,
    /// `[retention]`.
    pub retention: Retention,
    /// `[feed.NAME]`, by name.
    pub feeds: BTreeMap<String, Feed>,
    /// `[relay.NAME]`, by name.
    pub relays: BTreeMap<String, Relay>,
    /// `[dkim."DOMAIN"]`, by domain.
    pub dkim: BTreeMap<String, Dkim>,
    /// `[newsletter.NAME]`, by name.
    pub newsletters: BTreeMap<String, Newsletter>,
    /// The effective values as text, secrets masked: what `check` prints.
    pub effective: Vec<Effective>,
}

/// One effective value.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Effective {
    /// The key's path.
    pub key: String,
    /// Its value, masked where it is secret.
    pub value: String,
    /// The file or variable that it comes from.
    pub origin: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// The faults, in the order of reading.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the configuration has {} fault{}",
            self.faults.len(),
            if self.faults.len() == 1 { "" } else { "s" }
        )?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Config {
    /// Reads these files over the defaults, and this environment over them.
    ///
    /// # Errors
    /// [`Invalid`] with every fault; nothing is half-read.
    pub fn load(files: &[PathBuf], environment: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        Self::load_for(files, environment, false)
    }

    /// Like [`Config::load`]; `rehearsal` admits the built-in inbox as a relay, for `demo` and `rehearse` alone.
    pub fn load_for(
        files: &[PathBuf],
        environment: &BTreeMap<String, String>,
        rehearsal: bool,
    ) -> Result<Self, Invalid> {
        let faults = Faults::default();
        let tree = layers::merge(files, environment, &faults);
        let effective = effective(&tree);
        let origin =
            files.last().map_or_else(|| "configuration".to_owned(), |path| path.display().to_string());
        let config = Self::read(tree, &origin, effective, rehearsal, &faults);
        let faults = faults.take();
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(Invalid { faults }),
        }
    }

    /// The files to read when none is named on the command line: the first of the usual places that exists.
    pub fn usual_files() -> Vec<PathBuf> {
        Self::first_of(&["matinale.toml", "/etc/matinale/matinale.toml"].map(PathBuf::from))
    }

    /// The first that exists; where none is seen, one in a folder that this user may not look into: whoever has not the
    /// rights is to be told that, and not that nothing is configured.
    fn first_of(places: &[PathBuf; 2]) -> Vec<PathBuf> {
        let seen = places.iter().find(|path| Path::exists(path));
        let hidden = || places.iter().rev().find(|path| path.try_exists().is_err());
        seen.or_else(hidden).cloned().into_iter().collect()
    }

    fn read(
        tree: Map<String, Value>,
        origin: &str,
        effective: Vec<Effective>,
        rehearsal: bool,
        faults: &Faults,
    ) -> Option<Self> {
        let root = Section::new(String::new(), tree, Map::new(), origin, faults);
        let each = root.section("each");
        let keys = root.section("keys");
        let secret = keys.secret_file("secret_file");
        let relays: BTreeMap<String, Relay> = root
            .named("relay", &each)
            .into_iter()
            .filter_map(|(name, section)| {
                let relay = Relay::read(&name, &section)?;
                if relay.kind == RelayKind::Inbox && !rehearsal {
                    section.fault(
                        "url",
                        "the built-in inbox is for `demo` and `rehearse`: no reader would ever get this mail",
                    );
                }
                Some((name, relay))
            })
            .collect();
        let sections = root.named("newsletter", &each);
        let ids: Vec<String> = sections.iter().map(|(id, _)| id.clone()).collect();
        let newsletters = sections
            .into_iter()
            .filter_map(|(id, section)| {
                let newsletter = Newsletter::read(&id, &section);
                for name in
                    section.list("translations").iter().filter(|name| **name == id || !ids.contains(name))
                {
                    section.fault("translations", format!("there is no other [newsletter.{name}]"));
                }
                for name in section.list("relays").iter().filter(|name| !relays.contains_key(*name)) {
                    section.fault("relays", format!("there is no [relay.{name}]"));
                }
                Some((id, newsletter?))
            })
            .collect();
        let notices = root.section("notices");
        let read_notices = Notices::read(&notices);
        if let Some(name) = read_notices.relay.as_ref().filter(|name| !relays.contains_key(*name)) {
            notices.fault("relay", format!("there is no [relay.{name}]"));
        }
        Some(Self {
            database: Database::read(&root.section("database")),
            web: Web::read(&root.section("web")),
            log: Log::read(&root.section("log")),
            fetch: Fetch::read(&root.section("fetch")),
            delivery: Delivery::read(&root.section("delivery")),
            bounces: Bounces::read(&root.section("bounces")),
            notices: read_notices,
            retention: Retention::read(&root.section("retention")),
            feeds: root
                .named("feed", &each)
                .into_iter()
                .filter_map(|(name, section)| Some((name.clone(), Feed::read(&name, &section)?)))
                .collect(),
            dkim: root
                .named("dkim", &each)
                .into_iter()
                .filter_map(|(name, section)| {
                    Dkim::read(&name, &section).map(|dkim| (dkim.domain.clone(), dkim))
                })
                .collect(),
            relays,
            newsletters,
            secret: secret?,
            effective,
        })
    }
}

/// Whether this is a rule that editions can lock by.
pub(crate) fn check_cron(text: &str) -> Result<(), String> {
    use std::str::FromStr as _;
    let fields: Vec<&str> = text.split_whitespace().collect();
    let weekdays = match fields.len() {
        5 => fields.get(4),
        6 | 7 => fields.get(5),
        _ => {
            return Err(format!(
                "expected six fields, seconds first, such as \"0 0 5 * * Mon-Fri\", found {text:?}"
            ));
        }
    };
    if weekdays.is_some_and(|field| field.bytes().any(|b| b.is_ascii_digit())) {
        return Err("weekdays are written by name, such as Mon-Fri: numbers mean different days to different programs".to_owned());
    }
    let six = if fields.len() == 5 { format!("0 {text}") } else { text.to_owned() };
    cron::Schedule::from_str(&six).map(|_| ()).map_err(|error| format!("{text:?}: {error}"))
}

/// The tree as lines of key and value, in the order of their keys.
fn effective(tree: &Map<String, Value>) -> Vec<Effective> {
    let mut out = Vec::new();
    flatten("", tree, &mut out);
    out.sort_by(|a, b| a.key.cmp(&b.key));
    out
}

fn flatten(path: &str, table: &Map<String, Value>, out: &mut Vec<Effective>) {
    for (name, value) in table {
        let name = if name.contains('.') { format!("{name:?}") } else { name.clone() };
        let key = if path.is_empty() { name } else { format!("{path}.{name}") };
        match &value.kind {
            ValueKind::Table(inner) => flatten(&key, inner, out),
            kind => out.push(Effective {
                value: masked::value(&key, kind),
                origin: value.origin().unwrap_or(DEFAULTS).to_owned(),
                key,
            }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes a configuration with a good key file beside it and reads it.
    pub(crate) fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("matinale.toml");
        std::fs::write(&file, text).unwrap();
        let key = folder.path().join("secret.key");
        std::fs::write(&key, "a-secret-of-some-length\n").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let environment: BTreeMap<String, String> = [("MATINALE__KEYS__SECRET_FILE", key.to_str().unwrap())]
            .iter()
            .chain(environment)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::load(&[file], &environment).map_err(|invalid| {
            let folder = format!("{}/", folder.path().display());
            invalid.faults.iter().map(|fault| fault.to_string().replace(&folder, "")).collect()
        })
    }

    pub(crate) const GOOD: &str = r#"
[relay.main]
url = "smtp://127.0.0.1:25"
[dkim."news.example.org"]
selector = "m1"
key_file = "missing.pem"
[newsletter.la-matinale]
name = "La Matinale"
from = "La Matinale <matinale@news.example.org>"
lock = "0 0 5 * * Mon-Fri"
send_at = "06:30"
relays = ["main"]
"#;

    #[test]
    fn p10_every_fault_is_told_at_once_with_file_and_key() {
        let faults = load(
            &format!("{GOOD}\nitems = \"ten\"\ncolour = \"red\"\n[web]\nlisten = \"everywhere\"\n[notices]\nfrom = \"us\"\n[nonsense]\na = 1\n"),
            &[],
        )
        .unwrap_err();
        let text = faults.join("\n");
        for expected in [
            "matinale.toml: newsletter.la-matinale.items: expected a whole number, found the text \"ten\"",
            "matinale.toml: newsletter.la-matinale.colour: unknown key; known here:",
            "matinale.toml: web.listen: expected an address such as",
            "matinale.toml: notices.from: expected an address such as \"La Matinale <matinale@example.org>\", found \"us\"",
            "matinale.toml: nonsense: unknown key",
            "matinale.toml: dkim.news.example.org.key_file: missing.pem: no such file",
        ] {
            assert!(text.contains(expected), "{expected}\n-- not in --\n{text}");
        }
        assert_eq!(faults.len(), 6, "{text}");
    }

    #[test]
    fn a_file_that_is_seen_comes_before_one_that_is_hidden_and_that_before_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("seen"), "").unwrap();
        // Root looks into every folder; behind a file nobody sees anything.
        let (seen, hidden, absent) = (file("seen"), file("seen/matinale.toml"), file("absent"));
        for (places, expected) in [
            ([&absent, &seen], Some(&seen)),
            ([&hidden, &seen], Some(&seen)),
            ([&hidden, &absent], Some(&hidden)),
            ([&absent, &absent], None),
        ] {
            assert_eq!(Config::first_of(&places.map(Clone::clone)).first(), expected, "{places:?}");
        }
    }

    #[test]
    fn p10_a_configuration_that_is_not_there_is_told_by_its_name() {
        let invalid = Config::load(&["/nowhere/matinale.toml".into()], &BTreeMap::new()).unwrap_err();
        assert_eq!(
            invalid.faults[0].to_string(),
            "/nowhere/matinale.toml: no such file; `matinale init` writes one"
        );
    }

    #[test]
    fn p10_a_secret_that_is_not_there_is_told_with_what_makes_one() {
        // `init` refuses a folder that has a configuration.
        let faults = load("", &[("MATINALE__KEYS__SECRET_FILE", "/nowhere/secret.key")]).unwrap_err();
        let [fault] = &faults[..] else { panic!("{faults:?}") };
        assert!(fault.ends_with("(umask 077; openssl rand -hex 32 > /nowhere/secret.key)"), "{fault}");
    }

    #[test]
    fn the_environment_wins_and_finds_names_written_with_underscores() {
        let good =
            GOOD.replace("[dkim.\"news.example.org\"]\nselector = \"m1\"\nkey_file = \"missing.pem\"\n", "");
        let config = load(
            &good,
            &[
                ("MATINALE__NEWSLETTER__LA_MATINALE__ITEMS", "7"),
                ("MATINALE__RELAY__MAIN__URL", "smtps://mx.example.org"),
                ("MATINALE_SERVICE_HOST", "10.0.0.1"),
            ],
        )
        .unwrap();
        let newsletter = &config.newsletters["la-matinale"];
        assert_eq!(newsletter.items, 7);
        assert_eq!(newsletter.list_id, "la-matinale.news.example.org");
        assert_eq!(newsletter.deadline.to_string(), "12:00:00");
        assert_eq!(config.relays["main"].tls, Tls::Implicit);
    }

    #[test]
    fn a_newsletter_looks_like_itself_without_recompiling() {
        let good =
            GOOD.replace("[dkim.\"news.example.org\"]\nselector = \"m1\"\nkey_file = \"missing.pem\"\n", "");
        let theme = r##"
[newsletter.la-matinale.theme]
text_font = "Verdana, sans-serif"
footer = "Gratuite."
[newsletter.la-matinale.theme.light]
accent = "#0B5394"
[newsletter.la-matinale.theme.logo]
url = "https://news.example.org/logo.png"
alt = "La Matinale"
[newsletter.la-matinale.theme.social]
"Mastodon, en français" = "https://social.example.org/@matinale"
[newsletter.la-matinale.theme.sections]
ECONOMIE = "Économie"
"##;
        let config = load(&format!("{good}{theme}"), &[]).unwrap();
        let read = &config.newsletters["la-matinale"].theme;
        assert_eq!(read.light.accent.to_string(), "#0B5394");
        assert_eq!(read.light.ink, theme::Palette::LIGHT.ink);
        assert_eq!(read.text_font, "Verdana, sans-serif");
        assert_eq!(read.logo.as_ref().map(|logo| logo.width), Some(200));
        assert_eq!(read.social[0].name, "Mastodon, en français");
        assert_eq!(read.sections["ECONOMIE"], "Économie");
        let plain = &load(&good, &[]).unwrap().newsletters["la-matinale"].theme;
        assert_eq!(*plain, theme::Theme::default());
    }

    #[test]
    fn m5_a_theme_that_cannot_be_read_is_refused_with_its_key() {
        let good =
            GOOD.replace("[dkim.\"news.example.org\"]\nselector = \"m1\"\nkey_file = \"missing.pem\"\n", "");
        let theme = r##"
[newsletter.la-matinale.theme]
title_font = "x;color:red"
[newsletter.la-matinale.theme.light]
accent = "#FFB27A"
paper = "beige"
gold = "#FFFFFF"
[newsletter.la-matinale.theme.logo]
url = "https://news.example.org/logo.svg"
[newsletter.la-matinale.theme.social]
Mastodon = "http://social.example.org/"
"##;
        let text = load(&format!("{good}{theme}"), &[]).unwrap_err().join("\n");
        for expected in [
            "matinale.toml: newsletter.la-matinale.theme.title_font: a font stack is",
            "matinale.toml: newsletter.la-matinale.theme.light.accent: #FFB27A on paper #FBF8F2 has a contrast of 1.7:1",
            "matinale.toml: newsletter.la-matinale.theme.light.paper: expected a colour such as",
            "matinale.toml: newsletter.la-matinale.theme.light.gold: unknown key",
            "matinale.toml: newsletter.la-matinale.theme.logo.url: a mail shows PNG",
            "matinale.toml: newsletter.la-matinale.theme.logo.alt: say in words",
            "matinale.toml: newsletter.la-matinale.theme.social.Mastodon: expected an https URL",
        ] {
            assert!(text.contains(expected), "{expected}\n-- not in --\n{text}");
        }
    }

    #[test]
    fn an_environment_name_that_could_mean_two_tables_is_an_error() {
        let text = "[relay.a-b]\nurl = \"smtp://h\"\n[relay.\"a.b\"]\nurl = \"smtp://h\"\n";
        let faults = load(text, &[("MATINALE__RELAY__A_B__URL", "smtp://x")]).unwrap_err();
        assert!(faults[0].contains("could mean each of"), "{faults:?}");
    }

    #[test]
    fn the_built_in_inbox_is_refused_outside_demo_and_rehearse() {
        let faults = load("[relay.main]\nurl = \"inbox://127.0.0.1:2525\"\n", &[]).unwrap_err();
        assert!(
            faults[0].contains("relay.main.url: the built-in inbox is for `demo` and `rehearse`"),
            "{faults:?}"
        );
    }

    #[test]
    fn weekdays_by_number_are_refused_because_programs_disagree_on_them() {
        assert!(check_cron("0 0 5 * * Mon-Fri").is_ok());
        assert!(check_cron("0 5 * * Mon-Fri").is_ok());
        assert!(check_cron("0 0 5 * * 1-5").unwrap_err().contains("by name"));
        assert!(check_cron("every morning").is_err());
    }
}
