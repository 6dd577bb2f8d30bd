//! What a rehearsal found, as figures and as lines for one screen.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use sqlx::FromRow;

use crate::clock::time_zone;
use crate::editions::EditionState;
use crate::morning::words;

/// The most lines that are printed; what does not fit is counted.
const LINES: usize = 24;
const RELAYS: usize = 4;

/// How many readers have this in common.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub struct Share {
    /// A language, a zone, a domain.
    pub name: String,
    /// How many.
    pub count: i64,
}

/// A relay as it is configured and as it answered.
#[derive(Clone, Debug, Serialize)]
pub struct RelayFigures {
    /// Its name.
    pub name: String,
    /// The connections that it gets.
    pub connections: u32,
    /// Its share beside others.
    pub weight: u32,
    /// Messages a second that its configured rate allows.
    pub rate: Option<f64>,
    /// The way there and back.
    pub round_trip_ms: Option<f64>,
    /// Messages a second that its connections can carry at the best.
    pub wire: Option<f64>,
    /// Why it did not answer.
    pub silent: Option<String>,
    /// Until when an operator, or its own replies, paused it, in civil time.
    pub paused_until: Option<Timestamp>,
    /// Whether the receiving providers' limits or a warm-up hold it back, which no forecast knows.
    pub held_back: bool,
}

impl RelayFigures {
    /// Messages a second at the best, without a bound where none is known.
    pub(super) fn limit(&self) -> f64 {
        self.rate.unwrap_or(f64::INFINITY).min(self.wire.unwrap_or(f64::INFINITY))
    }

    fn line(&self) -> String {
        let rate =
            self.rate.map_or_else(|| "no rate set".to_owned(), |rate| format!("rate {}/s", figure(rate)));
        let answer = match (&self.silent, self.round_trip_ms, self.wire) {
            (Some(_), ..) => "does not answer".to_owned(),
            (None, Some(ms), Some(wire)) => format!("{ms:.1} ms away: {}/s at the best", figure(wire)),
            _ => "not asked".to_owned(),
        };
        format!("{}: {} connections, {rate}, {answer}", self.name, self.connections)
    }
}

/// How much a fault matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Nothing would go out at all.
    Stops,
    /// Somebody would go without.
    Error,
    /// Somebody should look at it.
    Warning,
}

/// One thing that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// How much it matters.
    pub weight: Weight,
    /// What it is about.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What mends it.
    pub mend: String,
}

impl Fault {
    pub(super) fn new(
        weight: Weight,
        place: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { weight, place: place.into(), what: what.into(), mend: mend.into() }
    }
}

/// What a rehearsal found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The newsletter's name.
    pub newsletter: String,
    /// The edition's date.
    pub date: String,
    /// Where the real edition stands.
    pub state: EditionState,
    /// When it locks, or did.
    pub lock_at: String,
    /// The newsletter's zone.
    pub zone: String,
    /// How many items it has.
    pub items: usize,
    /// How many articles could have been chosen; `None` once it is locked.
    pub candidates: Option<usize>,
    /// The languages that it is rendered in.
    pub renderings: Vec<String>,
    /// Whether the readers are made up.
    pub made_up: bool,
    /// How many readers are owed a delivery.
    pub readers: i64,
    /// How many of an edition that is locked have theirs already, or will not have it.
    pub served: i64,
    /// In which languages they read.
    pub languages: Vec<Share>,
    /// Where they live.
    pub zones: Vec<Share>,
    /// Where most of them have their addresses.
    pub providers: Vec<Share>,
    /// The smallest mail.
    pub bytes_least: u64,
    /// The mean.
    pub bytes_mean: u64,
    /// The largest.
    pub bytes_most: u64,
    /// Whether they are signed.
    pub signed: bool,
    /// How long planning took.
    pub plan_seconds: f64,
    /// How many mails the sink had.
    pub sent: u64,
    /// How long sending took.
    pub send_seconds: f64,
    /// Mails a second, the sink on the same machine.
    pub rate: f64,
    /// The most memory of this process, the sink included, in bytes.
    pub peak_memory: u64,
    /// The newsletter's relays.
    pub relays: Vec<RelayFigures>,
    /// Mails a second that may be expected in earnest, at the best.
    pub capacity: f64,
    /// When the first is due, or now where that has passed; in civil time.
    pub due_at: Option<Timestamp>,
    /// When the first leaves.
    pub first_at: Option<Timestamp>,
    /// When the last has left.
    pub last_at: Option<Timestamp>,
    /// How many would find their deadline passed.
    pub late: i64,
    /// What stands in the way, the worst first.
    pub faults: Vec<Fault>,
}

impl Report {
    /// The worst that was found.
    pub fn worst(&self) -> Option<Weight> {
        self.faults.iter().map(|fault| fault.weight).min()
    }

    /// The report for a screen: at most 24 lines, the last of which says what to do.
    pub fn lines(&self) -> Vec<String> {
        let zone = time_zone(&self.zone).unwrap_or(TimeZone::UTC);
        let civil =
            |at: &str| at.parse::<Timestamp>().map_or_else(|_| at.to_owned(), |at| words::instant(at, &zone));
        let candidates = self
            .candidates
            .map_or_else(String::new, |count| format!(" of {} candidates", grouped(count as u64)));
        let mut out = vec![
            format!(
                "{}, edition of {}: {}, lock {}",
                self.newsletter,
                self.date,
                self.state,
                civil(&self.lock_at)
            ),
            format!(
                "line-up    {} items{candidates}; rendered in {}",
                self.items,
                self.renderings.join(", ")
            ),
            format!(
                "readers    {}{}{}: {}",
                grouped(self.readers.unsigned_abs()),
                if self.made_up { ", made up" } else { "" },
                if self.served > 0 {
                    format!(", {} served already", grouped(self.served.unsigned_abs()))
                } else {
                    String::new()
                },
                shares(&self.languages, self.readers)
            ),
            format!("zones      {}", shares(&self.zones, self.readers)),
            format!("providers  {}", shares(&self.providers, self.readers)),
            format!(
                "mail       {} on the wire ({} to {}), {}",
                bytes(self.bytes_mean),
                bytes(self.bytes_least),
                bytes(self.bytes_most),
                if self.signed { "signed" } else { "not signed" }
            ),
            format!("planned    in {:.2} s", self.plan_seconds),
            format!(
                "sent       {} in {:.1} s: {}/s into a sink on this machine",
                grouped(self.sent),
                self.send_seconds,
                figure(self.rate)
            ),
            format!("memory     {} at the most, the sink included", bytes(self.peak_memory)),
        ];
        out.extend(self.relays.iter().take(RELAYS).map(|relay| format!("relay      {}", relay.line())));
        if self.relays.len() > RELAYS {
            out.push(format!("           and {} relays more", self.relays.len() - RELAYS));
        }
        let at =
            |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| words::instant(at, &zone));
        out.push(format!("first      {}", at(self.first_at)));
        out.push(format!(
            "last       {}, at {}/s; {} past their deadline",
            at(self.last_at),
            figure(self.capacity),
            grouped(self.late.unsigned_abs())
        ));
        self.told_faults(&mut out);
        out.push(self.to_do());
        out
    }

    fn told_faults(&self, out: &mut Vec<String>) {
        // One line for what is left out, one for what to do.
        let room = LINES.saturating_sub(out.len() + 2);
        for fault in self.faults.iter().take(room) {
            let weight = match fault.weight {
                Weight::Stops => "stops",
                Weight::Error => "error",
                Weight::Warning => "warning",
            };
            out.push(format!("{weight:<10} {}: {}", fault.place, fault.what.replace(['\n', '\r'], " ")));
        }
        if self.faults.len() > room {
            out.push(format!("           and {} more: --json tells all of them", self.faults.len() - room));
        }
    }

    fn to_do(&self) -> String {
        match self.faults.first() {
            None => "Nothing to do: the morning can come.".to_owned(),
            Some(first) if first.weight == Weight::Warning => {
                format!("Nothing must be done. Worth a look: {}: {}.", first.place, first.mend)
            }
            Some(first) => format!("To do first: {}: {}.", first.place, first.mend),
        }
    }
}

/// The largest shares, and how many have none of them.
fn shares(shares: &[Share], total: i64) -> String {
    const TOLD: usize = 5;
    let mut parts: Vec<String> = shares
        .iter()
        .take(TOLD)
        .map(|share| format!("{} {}", share.name, grouped(share.count.unsigned_abs())))
        .collect();
    let rest = total - shares.iter().take(TOLD).map(|share| share.count).sum::<i64>();
    if rest > 0 {
        parts.push(format!("others {}", grouped(rest.unsigned_abs())));
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `2,941`, or `0.5` where it is small.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, never negative")]
fn figure(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { grouped(rate.round() as u64) }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} KB", count as f64 / 1e3),
        _ => format!("{:.0} MB", count as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(faults: usize, relays: usize) -> Report {
        let share = |name: &str, count| Share { name: name.to_owned(), count };
        Report {
            newsletter: "La Matinale".to_owned(),
            date: "2026-11-24".to_owned(),
            state: EditionState::Open,
            lock_at: "2026-11-24T05:00:00Z".to_owned(),
            zone: "Africa/Abidjan".to_owned(),
            items: 10,
            candidates: Some(143),
            renderings: vec!["fr".to_owned(), "en".to_owned()],
            made_up: false,
            readers: 12_345,
            served: 0,
            languages: vec![share("fr", 12_000), share("en", 345)],
            zones: (0..9).map(|n| share(&format!("Africa/Zone{n}"), 1000)).collect(),
            providers: vec![share("mail.example", 9)],
            bytes_least: 60_200,
            bytes_mean: 61_000,
            bytes_most: 61_900,
            signed: true,
            plan_seconds: 0.12,
            sent: 12_345,
            send_seconds: 4.2,
            rate: 2941.4,
            peak_memory: 61_000_000,
            relays: (0..relays)
                .map(|n| RelayFigures {
                    name: format!("r{n}"),
                    connections: 10,
                    weight: 1,
                    rate: Some(50.0),
                    round_trip_ms: Some(24.0),
                    wire: Some(416.6),
                    silent: None,
                    paused_until: None,
                    held_back: false,
                })
                .collect(),
            capacity: 50.0,
            due_at: Some("2026-11-24T06:30:00Z".parse().unwrap()),
            first_at: Some("2026-11-24T06:30:00Z".parse().unwrap()),
            last_at: Some("2026-11-24T06:34:07Z".parse().unwrap()),
            late: 0,
            faults: (0..faults)
                .map(|n| Fault::new(Weight::Error, format!("item {n}"), "is\nodd", "edit it"))
                .collect(),
        }
    }

    #[test]
    fn a_report_fits_a_screen_and_ends_with_what_to_do() {
        for (faults, relays) in [(0, 1), (3, 2), (9, 4), (80, 30)] {
            let lines = report(faults, relays).lines();
            assert!(lines.len() <= 24, "{}", lines.join("\n"));
            let last = lines.last().unwrap();
            assert!(
                last.starts_with(if faults == 0 { "Nothing to do" } else { "To do first: item 0" }),
                "{last}"
            );
            assert!(lines.iter().all(|line| !line.contains('\n')));
        }
        let lines = report(80, 1).lines();
        assert!(lines[22].contains("and "), "{}", lines.join("\n"));
    }

    #[test]
    fn figures_are_for_people() {
        let lines = report(0, 1).lines();
        assert_eq!(lines[2], "readers    12,345: fr 12,000, en 345");
        assert!(lines[3].ends_with("Africa/Zone4 1,000, others 7,345"), "{}", lines[3]);
        assert_eq!(lines[9], "relay      r0: 10 connections, rate 50/s, 24.0 ms away: 417/s at the best");
        assert_eq!(lines[11], "last       2026-11-24 06:34 (Africa/Abidjan), at 50/s; 0 past their deadline");
    }
}
