//! What stands in the way of the morning: faults of the edition, the list and the relays, each with what mends it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::forecast::Pace;
use super::freeze::Frozen;
use super::report::{Fault, RelayFigures, Report, Weight};
use super::store::Unfit;
use crate::clock::timestamp;
use crate::config::{Approval, Newsletter, RelayKind};
use crate::delivery::{self, Counts, probe};
use crate::editions::{Edition, EditionState};
use crate::mail::{Language, preflight};
use crate::morning::{House, Result};

/// Greets each relay of the newsletter; none is given anything.
pub(super) async fn relays(house: &House, newsletter: &Newsletter) -> Result<Vec<RelayFigures>> {
    let mut conn = house.db.read().await?;
    let known = delivery::relay::store::list(&mut conn).await?;
    let now = delivery::shared_clock(&mut conn, &house.clock).await?;
    let civil = house.clock.civil_ms();
    drop(conn);
    let mut out = Vec::new();
    for name in &newsletter.relays {
        let Some(relay) = house.config.relays.get(name) else { continue };
        // The built-in inbox and the receivers' own servers are no place to ask beforehand.
        let answer = if relay.kind == RelayKind::Smtp {
            let helo = relay.helo.clone().unwrap_or_else(delivery::engine::host_name);
            Some(probe::probe(relay, &helo, house.config.delivery.timeouts).await)
        } else {
            None
        };
        let (answer, silent) = match answer {
            Some(Ok(answer)) => (Some(answer), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        out.push(RelayFigures {
            name: name.clone(),
            connections: relay.connections,
            weight: relay.weight,
            rate: relay.rate.map(|rate| f64::from(rate.count) / rate.per.as_secs_f64()),
            round_trip_ms: answer.map(|answer| answer.round_trip.as_secs_f64() * 1000.0),
            wire: answer.map(|answer| answer.at_best(relay.connections)),
            silent,
            paused_until: known
                .iter()
                .find(|known| known.name == *name)
                .and_then(|known| known.paused_until)
                .filter(|until| *until > now)
                .map(|until| timestamp((until - now).saturating_add(civil))),
            held_back: relay.providers || relay.kind == RelayKind::Mx || relay.warm_up.is_some(),
        });
    }
    Ok(out)
}

/// How many messages a second leave at the best from now on, and from the end of each relay's pause on; `now` in civil
/// time.
pub(super) fn paces(relays: &[RelayFigures], machine: f64, now: Timestamp) -> Vec<Pace> {
    let ends = relays.iter().filter_map(|relay| relay.paused_until).filter(|until| *until > now);
    let moments: BTreeSet<Timestamp> = ends.chain([now]).collect();
    moments
        .into_iter()
        .map(|at| Pace { from: at.as_millisecond(), per_second: capacity(relays, machine, at) })
        .collect()
}

/// How many messages a second leave at the best at a moment: what this machine does, or what the relays take. Work is
/// shared by weight, so the relay that is the slowest for its share decides.
fn capacity(relays: &[RelayFigures], machine: f64, at: Timestamp) -> f64 {
    let takes =
        |relay: &&RelayFigures| relay.silent.is_none() && relay.paused_until.is_none_or(|until| until <= at);
    let up: Vec<&RelayFigures> = relays.iter().filter(takes).collect();
    let weighted: Vec<&RelayFigures> = up.iter().filter(|relay| relay.weight > 0).copied().collect();
    let first = if weighted.is_empty() { up } else { weighted };
    let total: f64 = first.iter().map(|relay| f64::from(relay.weight.max(1))).sum();
    first
        .iter()
        .map(|relay| relay.limit() * total / f64::from(relay.weight.max(1)))
        .fold(if first.is_empty() { 0.0 } else { machine }, f64::min)
}

/// Everything that was found, what stops the morning first.
pub(super) fn faults(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    frozen: &Frozen,
    report: &Report,
    counts: &Counts,
    unfit: &[Unfit],
) -> Vec<Fault> {
    let mut out = Vec::new();
    of_edition(newsletter, edition, frozen, &mut out);
    of_list(newsletter, report, counts, unfit, &mut out);
    of_relays(report, &mut out);
    if !report.signed {
        let domain = newsletter.domain();
        out.push(Fault::new(
            Weight::Warning,
            "DKIM",
            format!("there is no key for {domain}: large receivers refuse what nobody signs"),
            format!("[dkim.\"{domain}\"] with selector and key_file, unless the relay signs"),
        ));
    }
    if house.config.delivery.uncertain == crate::config::Uncertain::Hold {
        out.push(Fault::new(
            Weight::Warning,
            "delivery.uncertain",
            "is \"hold\": what a lost connection leaves in doubt waits for somebody",
            "have somebody there in the morning, or \"resend\"",
        ));
    }
    out.sort_by_key(|fault| fault.weight);
    out
}

fn of_edition(newsletter: &Newsletter, edition: &Edition, frozen: &Frozen, out: &mut Vec<Fault>) {
    if edition.state == EditionState::Held {
        let why = edition.reason.as_deref().unwrap_or("somebody held it");
        out.push(Fault::new(
            Weight::Stops,
            "the edition",
            format!("is held: {why}"),
            format!("matinale edition resume {} --date {}", newsletter.id, edition.date),
        ));
    }
    if frozen.candidates.is_some() && frozen.items < newsletter.minimum_items as usize {
        out.push(Fault::new(
            Weight::Stops,
            "the line-up",
            format!("has {} items by now, and the minimum is {}", frozen.items, newsletter.minimum_items),
            "import articles, or look at `matinale feed list`",
        ));
    }
    for finding in &frozen.findings {
        out.push(Fault::new(
            // What is frozen passed its preflight, and goes out.
            match finding.weight {
                preflight::Weight::Error if edition.revision == 0 => Weight::Stops,
                preflight::Weight::Error => Weight::Error,
                preflight::Weight::Warning => Weight::Warning,
            },
            finding.place.clone(),
            format!("{} [{}]", finding.message, finding.rule),
            if finding.place.contains('.') {
                "that key in the configuration".to_owned()
            } else {
                format!("matinale edition edit {} --date {}", newsletter.id, edition.date)
            },
        ));
    }
    let unapproved = edition.state == EditionState::Open && edition.approved_at.is_none();
    if newsletter.approval == Approval::Approve && unapproved {
        out.push(Fault::new(
            Weight::Warning,
            "the edition",
            "waits for an editor's word: it is missed without one",
            format!("matinale edition approve {} --date {}", newsletter.id, edition.date),
        ));
    }
}

fn of_list(newsletter: &Newsletter, report: &Report, counts: &Counts, unfit: &[Unfit], out: &mut Vec<Fault>) {
    if report.readers == 0 {
        out.push(Fault::new(
            Weight::Error,
            "the list",
            format!("has no active reader of {}", newsletter.id),
            "matinale subscriber import FILE.csv",
        ));
    }
    if report.late > 0 {
        out.push(Fault::new(
            Weight::Error,
            "the deadline",
            format!("would pass for {} readers before their mail leaves", report.late),
            "more connections or rate at the relays, an earlier lock, or a later deadline",
        ));
    }
    if let Some(first) = unfit.first() {
        let count = counts.rejected;
        out.push(Fault::new(
            Weight::Warning,
            "the list",
            format!("{count} addresses cannot be written to, {:?} among them: {}", first.address, first.why),
            "mend or erase them: matinale subscriber show ADDRESS",
        ));
    }
    let unspoken: Vec<&str> = report
        .languages
        .iter()
        .filter(|share| Language::of(&share.name).is_none() || !report.renderings.contains(&share.name))
        .map(|share| share.name.as_str())
        .filter(|tag| *tag != newsletter.language)
        .collect();
    if !unspoken.is_empty() {
        let count: i64 = report
            .languages
            .iter()
            .filter(|share| unspoken.contains(&share.name.as_str()))
            .map(|share| share.count)
            .sum();
        out.push(Fault::new(
            Weight::Warning,
            "languages",
            format!(
                "{count} readers of {} get the mail in {}: nothing is rendered in theirs",
                unspoken.join(", "),
                newsletter.language
            ),
            "nothing, if that is what they expect",
        ));
    }
}

fn of_relays(report: &Report, out: &mut Vec<Fault>) {
    for relay in &report.relays {
        if let Some(why) = &relay.silent {
            out.push(Fault::new(
                Weight::Error,
                format!("relay.{}", relay.name),
                format!("does not answer: {why}"),
                "its url, tls, username and password_file; whether it runs",
            ));
        }
        if relay.held_back {
            out.push(Fault::new(
                Weight::Warning,
                format!("relay.{}", relay.name),
                "is held back by the receiving providers' limits or a warm-up: the last delivery may be later",
                "matinale relay list says what each provider is allowed just now",
            ));
        }
        if let Some(until) = &relay.paused_until {
            // Where others take all of it meanwhile, nobody waits for this one.
            let waited_for =
                report.due_at.is_some_and(|due| *until > due) && report.first_at != report.due_at;
            out.push(Fault::new(
                if waited_for { Weight::Error } else { Weight::Warning },
                format!("relay.{}", relay.name),
                if waited_for {
                    format!("is paused until {until}, and nothing leaves when the first is due")
                } else {
                    format!("is paused until {until}")
                },
                format!("matinale relay resume {}", relay.name),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(weight: u32, rate: Option<f64>, wire: Option<f64>, silent: bool) -> RelayFigures {
        RelayFigures {
            name: "main".to_owned(),
            connections: 10,
            weight,
            rate,
            round_trip_ms: None,
            wire,
            silent: silent.then(|| "gone".to_owned()),
            paused_until: None,
            held_back: false,
        }
    }

    #[test]
    fn what_leaves_a_second_is_the_least_of_machine_rate_and_wire() {
        let close = |relays: &[RelayFigures], expected: f64| {
            let got = capacity(relays, 3000.0, Timestamp::UNIX_EPOCH);
            assert!((got - expected).abs() < 1e-6, "{got} for {relays:?}, expected {expected}");
        };
        close(&[relay(1, None, None, false)], 3000.0);
        close(&[relay(1, Some(50.0), Some(400.0), false)], 50.0);
        close(&[relay(1, Some(500.0), Some(400.0), false)], 400.0);
        // Three quarters go to a relay that takes 90 a second: 120 in all, however fast the other is.
        close(&[relay(3, Some(90.0), None, false), relay(1, None, None, false)], 120.0);
        // One that is down, or stands by, has no share.
        close(&[relay(1, Some(10.0), None, true), relay(1, Some(80.0), None, false)], 80.0);
        close(&[relay(0, Some(10.0), None, false), relay(1, Some(80.0), None, false)], 80.0);
        close(&[relay(1, None, None, true)], 0.0);
    }

    #[test]
    fn p5_a_relay_counts_from_the_end_of_its_pause_on() {
        let at = |minute: i64| timestamp(minute * 60_000);
        let paused = RelayFigures { paused_until: Some(at(30)), ..relay(1, Some(80.0), None, false) };
        let told = |relays: &[RelayFigures], now| -> Vec<(i64, String)> {
            let paces = paces(relays, 3000.0, at(now));
            paces.iter().map(|pace| (pace.from / 60_000, pace.per_second.to_string())).collect()
        };
        let step = |minute, per_second: &str| (minute, per_second.to_owned());
        assert_eq!(told(std::slice::from_ref(&paused), 10), [step(10, "0"), step(30, "80")]);
        assert_eq!(told(std::slice::from_ref(&paused), 40), [step(40, "80")], "it is over");
        let other = relay(1, Some(50.0), None, false);
        // Half of a hundred goes to each.
        assert_eq!(told(&[paused, other], 10), [step(10, "50"), step(30, "100")]);
    }
}
