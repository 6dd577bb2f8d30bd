//! The countries of the world: which there are, in which region, and what each is called in the four languages.
//!
//! One table, `countries.txt`, for everybody who names a country: a newsletter's configuration, the reasons of the
//! selection, the kickers of a mail. How a country is *recognised* in a text is the selection's matter.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The regions, as a configuration names them. Those of Africa are the African Union's.
pub const REGIONS: [&str; 11] = [
    "north-africa",
    "west-africa",
    "central-africa",
    "east-africa",
    "southern-africa",
    "europe",
    "north-america",
    "latin-america",
    "middle-east",
    "asia",
    "oceania",
];

/// The languages that the table names countries in, in the order of its columns.
const LANGUAGES: [&str; 4] = ["fr", "en", "ar", "pt"];

#[derive(Debug)]
struct Country {
    region: Option<&'static str>,
    names: [&'static str; LANGUAGES.len()],
}

static COUNTRIES: LazyLock<BTreeMap<&'static str, Country>> = LazyLock::new(|| {
    include_str!("countries.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| {
            let mut fields = line.split('|').map(str::trim);
            let (code, region) = (fields.next()?, fields.next()?);
            let region = REGIONS.into_iter().find(|known| *known == region);
            let names = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
            Some((code, Country { region, names }))
        })
        .collect()
});

/// Every code of the table, in order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    COUNTRIES.keys().copied()
}

/// Whether the table has this code, in capitals.
pub fn is_country(code: &str) -> bool {
    COUNTRIES.contains_key(code)
}

/// The region that a country lies in.
pub fn region(code: &str) -> Option<&'static str> {
    COUNTRIES.get(code)?.region
}

/// What a country is called in this language (`fr`, `en`, `ar`, `pt`).
pub fn name(code: &str, language: &str) -> Option<&'static str> {
    let column = LANGUAGES.iter().position(|known| *known == language)?;
    Some(COUNTRIES.get(code)?.names[column])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_has_a_region_and_four_names() {
        let lines: Vec<&str> = include_str!("countries.txt")
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .collect();
        assert_eq!(lines.len(), COUNTRIES.len(), "each code stands once, with all its fields");
        for (code, country) in COUNTRIES.iter() {
            assert!(code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()), "{code}");
            assert!(country.region.is_some() || *code == "UN", "{code}");
            assert!(country.names.iter().all(|name| !name.is_empty()), "{code}");
        }
    }

    #[test]
    fn each_region_of_africa_has_its_countries() {
        let count = |region: &str| codes().filter(|code| super::region(code) == Some(region)).count();
        let africa = ["north-africa", "west-africa", "central-africa", "east-africa", "southern-africa"];
        assert_eq!(africa.map(count), [7, 15, 9, 14, 10], "the members of the African Union");
        assert_eq!((name("CI", "fr"), name("CI", "pt")), (Some("Côte d’Ivoire"), Some("Costa do Marfim")));
        assert_eq!((name("XX", "fr"), region("UN"), is_country("ci")), (None, None, false));
    }
}
