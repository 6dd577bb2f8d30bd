//! `[retention]`: how long the ledger keeps what.

use super::reader::Section;

/// The `[retention]` section, in days; `None` keeps for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The relays' words, and the addresses that they were about.
    pub words: Option<u32>,
    /// Deliveries and attempts; counts stay.
    pub deliveries: Option<u32>,
}

impl Retention {
    pub(super) fn read(section: &Section) -> Self {
        let words = section.parse("words", days).unwrap_or(None);
        let deliveries = section.parse("deliveries", days).unwrap_or(None);
        Self { words, deliveries }
    }
}

/// `400d` or `forever`. A week is the least: feedback and readers' questions come for days.
fn days(text: &str) -> Result<Option<u32>, String> {
    if text == "forever" {
        return Ok(None);
    }
    match text.strip_suffix('d').and_then(|days| days.trim().parse::<u32>().ok()) {
        Some(days @ 7..=36_500) => Ok(Some(days)),
        _ => Err(format!("expected days such as \"400d\", at least \"7d\", or \"forever\", found {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_time_that_is_too_short_or_no_time_is_refused() {
        assert_eq!(days("400d"), Ok(Some(400)));
        assert_eq!(days("forever"), Ok(None));
        for wrong in ["6d", "0d", "-7d", "400", "1y", "ever", ""] {
            assert!(days(wrong).unwrap_err().contains("400d"), "{wrong}");
        }
    }
}
