//! Relays and providers as people see them: how they are, how fast they go, what they said last.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::limit::{self, Base};
use super::store::{self, Row};
use super::{Limit, Providers};
use crate::clock::{Clock, timestamp};
use crate::config::Relay;
use crate::db::{Conn, Result};
use crate::delivery::shared_clock;

/// One relay and receiving provider; the relay as a whole where `provider` is empty.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// The relay.
    pub relay: String,
    /// The receiving provider.
    pub provider: String,
    /// `good`, `slowed`, `suspended` or `down`, and since or until when.
    pub state: String,
    /// Connections open now, of all daemons; `None` where nobody counts them: all but those to a provider whose limits are
    /// kept.
    pub open: Option<i64>,
    /// How many there may be.
    pub connections: u32,
    /// Messages a second; `None` where nothing limits them.
    pub rate: Option<f64>,
    /// Messages that were taken, tries that were put off, messages that were refused: all in all.
    pub accepted: i64,
    /// Put off.
    pub deferred: i64,
    /// Refused.
    pub rejected: i64,
    /// Of a new identity: how much of today's cap was had, and the cap.
    pub warm_up: Option<(i64, i64)>,
    /// The last reply that was no yes, or why nobody can be reached.
    pub last_reply: Option<String>,
    /// When it came, in milliseconds.
    pub replied_at: Option<i64>,
    /// Whether it takes mail.
    pub takes: bool,
}

/// Everything that is known of a relay's providers, and of the relay's own pace where that is limited.
pub async fn view(conn: &mut Conn, relay: &Relay, providers: &Providers, clock: &Clock) -> Result<Vec<View>> {
    let now = shared_clock(conn, clock).await?;
    let today = clock.civil().to_zoned_datetime(TimeZone::UTC).date().to_string();
    let open = store::connections(conn).await?;
    let warm = store::warm_list(conn, &today).await?;
    let rows = store::list(conn).await?;
    let mut own: Vec<Row> = rows.into_iter().filter(|row| row.relay == relay.name).collect();
    // Whoever had something of today's cap and was not heard of yet.
    for day in warm.iter().filter(|day| day.relay == relay.name) {
        if own.iter().all(|row| row.provider != day.provider) {
            own.push(Row::of_nobody(&day.relay, &day.provider));
        }
    }
    Ok(own
        .into_iter()
        .map(|row| {
            let bears = providers.bears(&row.provider);
            let base = if row.provider.is_empty() {
                Base { connections: relay.connections, interval: relay.rate.map(limit::interval) }
            } else {
                Base { connections: bears.connections, interval: bears.rate.map(limit::interval) }
            };
            let same = |other: (&str, &str)| other == (row.relay.as_str(), row.provider.as_str());
            let counted = relay.providers && !row.provider.is_empty();
            let open = counted.then(|| {
                open.iter().find(|(relay, provider, _)| same((relay, provider))).map_or(0, |open| open.2)
            });
            let warm = warm.iter().find(|warm| same((&warm.relay, &warm.provider)));
            of(row, base, now, open, warm.map(|warm| (warm.taken, warm.cap)))
        })
        .collect())
}

fn of(row: Row, base: Base, now: i64, open: Option<i64>, warm_up: Option<(i64, i64)>) -> View {
    let limit: Limit = row.limit();
    let holds = limit.at(base, now);
    let state = match (holds.suspended_until, row.down_since) {
        (Some(until), _) => format!("suspended until {}", timestamp(until)),
        (None, Some(since)) => format!("down since {}", timestamp(since)),
        (None, None) if holds.limited => "slowed".to_owned(),
        (None, None) => "good".to_owned(),
    };
    let takes = holds.suspended_until.is_none() && row.down_since.is_none();
    // Waits are far below 2^52 microseconds.
    #[expect(clippy::cast_precision_loss, reason = "waits are far below 2^52 microseconds")]
    let rate = holds.interval.map(|wait| 1e6 / wait as f64);
    View {
        relay: row.relay,
        provider: row.provider,
        state,
        open,
        connections: holds.connections,
        rate,
        accepted: row.accepted,
        deferred: row.deferred,
        rejected: row.rejected,
        warm_up,
        last_reply: row.reason.filter(|_| row.down_since.is_some()).or(row.reply),
        replied_at: row.replied_at,
        takes,
    }
}

/// Whether this is the relay as a whole, or a provider that there are rules for: all others are told together.
pub fn stands_alone(provider: &str, providers: &Providers) -> bool {
    provider.is_empty() || providers.knows(provider)
}

/// The relay as a whole and the providers that there are rules for, each for itself; all others together, as `others`.
/// With `each` those of them that are held back stand for themselves instead.
pub fn folded(views: Vec<View>, providers: &Providers, each: bool) -> Vec<View> {
    let own = |view: &View| stands_alone(&view.provider, providers);
    let (mut kept, others): (Vec<View>, Vec<View>) = views.into_iter().partition(own);
    let (held_back, others): (Vec<View>, Vec<View>) =
        others.into_iter().partition(|view| each && view.is_held_back());
    kept.extend(together(&others));
    kept.extend(held_back);
    kept
}

/// All of these as one; `None` where there are none.
fn together(views: &[View]) -> Option<View> {
    let first = views.first()?;
    let sum = |of: fn(&View) -> i64| views.iter().map(of).sum::<i64>();
    let silent = views.iter().filter(|view| !view.takes).count();
    let state = if silent == 0 { "good".to_owned() } else { format!("{silent} of {} silent", views.len()) };
    Some(View {
        provider: "others".to_owned(),
        state,
        open: views.iter().filter_map(|view| view.open).reduce(|one, other| one + other),
        connections: views.iter().map(|view| view.connections).max().unwrap_or(0),
        accepted: sum(|view| view.accepted),
        deferred: sum(|view| view.deferred),
        rejected: sum(|view| view.rejected),
        warm_up: views
            .iter()
            .filter_map(|view| view.warm_up)
            .reduce(|(had, cap), (more, further)| (had + more, cap + further)),
        last_reply: None,
        replied_at: None,
        takes: silent < views.len(),
        ..first.clone()
    })
}

impl View {
    /// Whether it is given less than it might want: it is down, suspended or slowed, has all of its connections, or has had
    /// today's cap.
    fn is_held_back(&self) -> bool {
        let is_full = self.open.is_some_and(|open| open >= i64::from(self.connections));
        let is_spent = self.warm_up.is_some_and(|(had, cap)| had >= cap);
        self.state != "good" || is_full || is_spent
    }

    /// Its pace in a few words: `1 of 5 connections, 100/s`.
    pub fn pace(&self) -> String {
        let rate = self.rate.map_or(String::new(), |rate| {
            if rate >= 1.0 { format!(", {rate:.0}/s") } else { format!(", {:.0}/m", rate * 60.0) }
        });
        let warm = self.warm_up.map_or(String::new(), |(had, cap)| format!(", {had} of today's {cap}"));
        let open = self.open.map_or_else(|| "up to".to_owned(), |open| format!("{open} of"));
        format!("{open} {} connections{rate}{warm}", self.connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Base = Base { connections: 5, interval: None };

    fn provider(name: &str, open: i64, warm_up: Option<(i64, i64)>) -> View {
        of(Row::of_nobody("main", name), BASE, 0, Some(open), warm_up)
    }

    #[test]
    fn every_provider_that_is_held_back_stands_for_itself_and_the_others_together() {
        let mut views = vec![of(Row::of_nobody("main", ""), BASE, 0, None, None)];
        for n in 1..=30 {
            let row =
                Row { suspended_until: Some(1000), ..Row::of_nobody("main", &format!("closed{n}.example")) };
            views.push(of(row, BASE, 0, Some(0), None));
        }
        let slowed =
            Row { gap: Some(1_000_000), holds_until: 1000, ..Row::of_nobody("main", "slowed.example") };
        views.push(of(slowed, BASE, 0, Some(0), None));
        views.push(provider("full.example", 5, None));
        views.push(provider("spent.example", 0, Some((500, 500))));
        views.push(provider("good.example", 4, Some((499, 500))));
        let providers = Providers::load(None).unwrap();
        let names = |each: bool| -> Vec<String> {
            folded(views.clone(), &providers, each).into_iter().map(|view| view.provider).collect()
        };
        assert_eq!(names(false), ["", "others"]);
        let each = names(true);
        assert_eq!(each.len(), 2 + 30 + 3, "{each:?}");
        for held_back in ["closed30.example", "slowed.example", "full.example", "spent.example"] {
            assert!(each.iter().any(|name| name == held_back), "{held_back}: {each:?}");
        }
        let good = folded(views.clone(), &providers, true).remove(1);
        assert_eq!((good.open, good.warm_up, good.state.as_str()), (Some(4), Some((499, 500)), "good"));
        let others = folded(views.clone(), &providers, false).remove(1);
        assert_eq!((others.open, others.warm_up, others.takes), (Some(9), Some((999, 1000)), true));
        assert_eq!(others.state, "30 of 34 silent");
    }

    #[test]
    fn connections_that_nobody_counts_are_no_number() {
        let whole = of(Row::of_nobody("main", ""), BASE, 0, None, None);
        assert_eq!(whole.pace(), "up to 5 connections");
        assert_eq!(provider("google", 0, None).pace(), "0 of 5 connections");
    }
}
