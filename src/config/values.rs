//! What the texts of the configuration mean: lengths of time, sizes, rates, hours, zones, secrets.

use std::path::Path;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use secrecy::SecretString;

/// A century: longer means never, and no clock could be set by it.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// `90s`, `10m`, `3h`, `36h`, `1h 30m`: a length of time, not negative and not longer than a century.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    match parsed {
        Some(length) if length <= LONGEST => Ok(length),
        Some(_) => Err(format!("a length of time of more than a century: {text:?}")),
        None => Err(format!("expected a length of time such as \"90s\", \"10m\" or \"3h\", found {text:?}")),
    }
}

/// `512KiB`, `8MiB`, `1000`: a number of bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1_u64 << 30,
        _ => return Err(format!("expected a size such as \"512KiB\" or \"8MiB\", found {text:?}")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| format!("expected a size such as \"512KiB\" or \"8MiB\", found {text:?}"))
}

/// So many in a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

/// `1000/s`, `60/m`, `5000/h`.
pub fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("expected a rate such as \"1000/s\", \"60/m\" or \"5000/h\", found {text:?}");
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    match count.trim().parse::<u32>() {
        Ok(count) if count > 0 => Ok(Rate { count, per: Duration::from_secs(seconds) }),
        _ => Err(wrong()),
    }
}

/// `06:30`: an hour of the day.
pub fn time_of_day(text: &str) -> Result<Time, String> {
    let wrong = || format!("expected an hour such as \"06:30\", found {text:?}");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    if hour.is_empty() || hour.len() > 2 || minute.len() != 2 {
        return Err(wrong());
    }
    match (hour.parse::<i8>(), minute.parse::<i8>()) {
        (Ok(hour), Ok(minute)) => Time::new(hour, minute, 0, 0).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

/// An IANA time zone, such as `Africa/Abidjan`.
pub fn timezone(text: &str) -> Result<TimeZone, String> {
    crate::clock::time_zone(text)
        .ok_or_else(|| format!("expected a time zone such as \"Africa/Abidjan\", found {text:?}"))
}

/// Whether nobody reads a file of this mode whom its owner did not mean to: the rule of PostgreSQL for its key. Ours is
/// ours alone. One that root gives to another user may be read by its group: systemd (`LoadCredential=`) and Kubernetes
/// hand secrets over so.
fn is_kept(mode: u32, owner: u32, us: Option<u32>) -> bool {
    mode & if is_given(owner, us) { 0o037 } else { 0o077 } == 0
}

fn is_given(owner: u32, us: Option<u32>) -> bool {
    owner == 0 && us.is_some_and(|us| us != 0)
}

/// The user whose rights this process has.
pub(crate) fn us() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    // Real, effective, saved, of the file system.
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The content of a file that is kept from others, without the newline at its end; where there is no such file, these
/// words say so.
pub fn read_secret(path: &Path, missing: &str) -> Result<SecretString, String> {
    use std::os::unix::fs::MetadataExt as _;
    let shown = path.display();
    let about = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{shown}: {missing}"),
        _ => format!("{shown}: {error}"),
    };
    let file = std::fs::metadata(path).map_err(about)?;
    if !is_kept(file.mode(), file.uid(), us()) {
        let most = if is_given(file.uid(), us()) { "640" } else { "600" };
        return Err(format!(
            "{shown}: others can read it (mode {:o}); mend with: chmod {most} {shown}",
            file.mode() & 0o777
        ));
    }
    let mut text = std::fs::read_to_string(path).map_err(about)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(format!("{shown}: is empty"));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_secret_that_others_can_read_is_refused_and_one_that_root_hands_over_is_not() {
        let (root, matinale, other) = (0, 990, 1000);
        for (mode, owner, us, kept) in [
            (0o600, matinale, Some(matinale), true),
            (0o400, matinale, Some(matinale), true),
            (0o640, matinale, Some(matinale), false),
            (0o604, matinale, Some(matinale), false),
            // systemd's LoadCredential=, Kubernetes with fsGroup.
            (0o440, root, Some(matinale), true),
            (0o640, root, Some(matinale), true),
            (0o660, root, Some(matinale), false),
            (0o444, root, Some(matinale), false),
            (0o640, root, Some(root), false),
            (0o600, root, Some(root), true),
            // Root at the command line of a daemon of its own user.
            (0o600, matinale, Some(root), true),
            (0o640, matinale, Some(root), false),
            (0o640, other, Some(matinale), false),
            (0o640, root, None, false),
        ] {
            assert_eq!(is_kept(0o100_000 | mode, owner, us), kept, "{mode:o} of {owner}, read by {us:?}");
        }
    }

    #[test]
    fn p10_the_user_whose_rights_we_have_is_the_owner_of_what_we_make() {
        use std::os::unix::fs::MetadataExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(us(), Some(file.as_file().metadata().unwrap().uid()));
    }

    #[test]
    fn lengths_sizes_rates_and_hours_are_read_or_refused_in_words() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("-3h").is_err());
        assert!(duration("2562047788015215h").unwrap_err().contains("century"));
        assert!(duration("soon").unwrap_err().contains("\"soon\""));
        assert_eq!(size("8MiB"), Ok(8 << 20));
        assert!(size("eight").is_err());
        assert_eq!(rate("1000/s"), Ok(Rate { count: 1000, per: Duration::from_secs(1) }));
        assert!(rate("0/s").is_err());
        assert_eq!(time_of_day("06:30").unwrap().to_string(), "06:30:00");
        assert!(time_of_day("25:00").is_err());
        assert!(time_of_day("6h30").is_err());
        assert!(timezone("Africa/Abidjan").is_ok());
        assert!(timezone("Africa/Atlantis").is_err());
    }
}
