//! Planning: one delivery for every active, unsuppressed subscription, in one statement.
//!
//! The clock's arithmetic is done once for each zone and hour that occur, a few hundred at the most, and joined; so
//! a million deliveries are one `INSERT … SELECT`.

use std::collections::BTreeMap;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::due::{self, Instants, Morning};
use super::{Result, store};
use crate::clock::time_zone;
use crate::config::values;
use crate::db::Conn;
use crate::editions::EditionId;

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

/// Plans an edition's deliveries; returns how many. To be called in the transaction that locks it.
pub async fn plan(conn: &mut Conn, plan: &Plan<'_>) -> Result<i64> {
    let mut mornings = Mornings { plan, zones: BTreeMap::new() };
    let slots = store::slots(conn, plan.newsletter).await?.into_iter().map(|(zone, hour)| {
        let Instants { due, deadline } = mornings.of(zone.as_deref(), hour.as_deref());
        (zone, hour, due.as_millisecond(), deadline.as_millisecond())
    });
    let slots: Vec<_> = slots.collect();
    let planned = store::plan(conn, plan.edition, plan.newsletter, &slots).await?;
    // Whoever changed zone or hour since the slots were read.
    let late = store::nowhere(conn, plan.edition).await?.into_iter().map(|(id, zone, hour)| {
        let Instants { due, deadline } = mornings.of(zone.as_deref(), hour.as_deref());
        (id, due.as_millisecond(), deadline.as_millisecond())
    });
    let late: Vec<_> = late.collect();
    store::place(conn, &late).await?;
    Ok(planned)
}

/// What zones and hours mean on a morning.
struct Mornings<'a> {
    plan: &'a Plan<'a>,
    zones: BTreeMap<String, TimeZone>,
}

impl Mornings<'_> {
    fn of(&mut self, zone: Option<&str>, hour: Option<&str>) -> Instants {
        // A zone that this data does not know (any more) is read as the newsletter's: a wrong hour is better than no mail.
        let zone = match zone {
            Some(name) => self
                .zones
                .entry(name.to_owned())
                .or_insert_with(|| time_zone(name).unwrap_or_else(|| self.plan.zone.clone())),
            None => self.plan.zone,
        };
        let hour = hour.and_then(|text| values::time_of_day(text).ok()).unwrap_or(self.plan.hour);
        due::instants(&self.plan.morning, zone, hour)
    }
}
