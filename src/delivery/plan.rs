//! Planning: one delivery for every active, unsuppressed subscription, in one statement; and what a reader's other hour
//! moves afterwards.
//!
//! The clock's arithmetic is done once for each zone and hour that occur, a few hundred at the most, and joined; so
//! a million deliveries are one `INSERT … SELECT`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::due::{self, Instants, Morning};
use super::store::{self, Kept};
use super::{CHANNEL, Result};
use crate::clock::{time_zone, timestamp};
use crate::config::values;
use crate::db::{self, Conn};
use crate::editions::EditionId;
use crate::readers::SubscriberId;

/// What is planned.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The edition.
    pub edition: EditionId,
    /// Its newsletter.
    pub newsletter: &'a str,
    /// Its morning.
    pub morning: Morning,
    /// The hour of those who gave none.
    pub hour: Time,
    /// The zone of those who gave none.
    pub zone: &'a TimeZone,
}

/// To be called first in a transaction that opens an edition and plans it: nobody else sees that one, so nobody's change of
/// hour or zone could wait for it or move what it plans.
pub async fn unseen(conn: &mut Conn) -> Result<()> {
    Ok(store::plans_unseen(conn).await?)
}

/// Plans an edition's deliveries; returns how many. To be called in the transaction that locks it.
pub async fn plan(conn: &mut Conn, plan: &Plan<'_>) -> Result<i64> {
    let mut mornings = Mornings::new(plan.morning, plan.hour, plan.zone.clone());
    let slots = store::slots(conn, plan.newsletter).await?.into_iter().map(|(zone, hour)| {
        let (due, deadline) = mornings.of(zone.as_deref(), hour.as_deref());
        (zone, hour, due, deadline)
    });
    let slots: Vec<_> = slots.collect();
    let planned = store::plan(conn, plan.edition, plan.newsletter, &slots).await?;
    // Whoever changed zone or hour since the slots were read.
    let late = store::nowhere(conn, plan.edition).await?.into_iter().map(|(id, zone, hour)| {
        let (due, deadline) = mornings.of(zone.as_deref(), hour.as_deref());
        (id, due, deadline)
    });
    let late: Vec<_> = late.collect();
    store::place(conn, &late).await?;
    let deadlines = slots.iter().map(|slot| slot.3).chain(late.iter().map(|placed| placed.2));
    let nearest = deadlines.min().unwrap_or(i64::MAX);
    store::keep(conn, plan.edition, &mornings.kept(), nearest).await?;
    Ok(planned)
}

/// Moves what is planned for these readers to the hour and the zone that they have now, where nobody has claimed it (P5);
/// returns how many. To be called in the transaction that changed them. What is due by now leaves soon; what is late by now
/// expires.
///
/// # Errors
/// The store's.
pub async fn move_along(conn: &mut Conn, readers: &[SubscriberId]) -> db::Result<u64> {
    if readers.is_empty() {
        return Ok(0);
    }
    store::wait_for_planning(conn, readers).await?;
    let mut mornings: BTreeMap<i64, Mornings> = BTreeMap::new();
    let mut nearest: BTreeMap<i64, i64> = BTreeMap::new();
    let mut placed = Vec::new();
    for row in store::movable(conn, readers).await? {
        let mornings = match mornings.entry(row.edition) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(Mornings::of_kept(row.edition, &row.kept)?),
        };
        let (due, deadline) = mornings.of(row.reader_zone.as_deref(), row.reader_hour.as_deref());
        if (due, deadline) != (row.due_at, row.late_at) {
            placed.push((row.id, due, deadline));
            let nearest = nearest.entry(row.edition).or_insert(deadline);
            *nearest = deadline.min(*nearest);
        }
    }
    // In order, so that nobody waits for each other.
    placed.sort_unstable();
    let moved = store::place(conn, &placed).await?;
    for (edition, deadline) in nearest {
        store::come_nearer(conn, edition, deadline).await?;
    }
    if moved > 0 {
        conn.notify(CHANNEL).await?;
    }
    Ok(moved)
}

/// What zones and hours mean on an edition's morning.
struct Mornings {
    morning: Morning,
    hour: Time,
    zone: TimeZone,
    zones: BTreeMap<String, TimeZone>,
}

impl Mornings {
    fn new(morning: Morning, hour: Time, zone: TimeZone) -> Self {
        Self { morning, hour, zone, zones: BTreeMap::new() }
    }

    /// The two instants of whoever gave this zone and this hour, in milliseconds.
    fn of(&mut self, zone: Option<&str>, hour: Option<&str>) -> (i64, i64) {
        // A zone that this data does not know (any more) is read as the newsletter's: a wrong hour is better than no mail.
        let zone = match zone {
            Some(name) => self
                .zones
                .entry(name.to_owned())
                .or_insert_with(|| time_zone(name).unwrap_or_else(|| self.zone.clone())),
            None => &self.zone,
        };
        let hour = hour.and_then(|text| values::time_of_day(text).ok()).unwrap_or(self.hour);
        let Instants { due, deadline } = due::instants(&self.morning, zone, hour);
        (due.as_millisecond(), deadline.as_millisecond())
    }

    fn kept(&self) -> Kept {
        Kept {
            date: self.morning.date.to_string(),
            lock_at: self.morning.lock.as_millisecond(),
            deadline: self.morning.deadline.to_string(),
            window_ms: i64::try_from(self.morning.window.as_millis()).unwrap_or(i64::MAX),
            hour: self.hour.to_string(),
            zone: self.zone.iana_name().unwrap_or("UTC").to_owned(),
        }
    }

    fn of_kept(edition: i64, kept: &Kept) -> db::Result<Self> {
        let wrong = |column, value: &str| db::Error::Row {
            table: "plan",
            column,
            id: edition,
            value: value.to_owned(),
        };
        let time = |column, text: &str| text.parse().map_err(|_| wrong(column, text));
        let morning = Morning {
            date: kept.date.parse().map_err(|_| wrong("date", &kept.date))?,
            lock: timestamp(kept.lock_at),
            deadline: time("deadline", &kept.deadline)?,
            window: Duration::from_millis(u64::try_from(kept.window_ms).unwrap_or(0)),
        };
        let zone = time_zone(&kept.zone).ok_or_else(|| wrong("zone", &kept.zone))?;
        Ok(Self::new(morning, time("hour", &kept.hour)?, zone))
    }
}
