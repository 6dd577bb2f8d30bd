//! Planning: one delivery for every active, unsuppressed subscription, in one statement.
//!
//! The clock's arithmetic is done once for each zone and hour that occur, a few hundred at the most, and joined; so
//! a million deliveries are one `INSERT … SELECT`.

use std::collections::BTreeMap;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::due::{self, Morning};
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
    let mut slots = Vec::new();
    let mut zones: BTreeMap<String, TimeZone> = BTreeMap::new();
    for (zone_name, hour_text) in store::slots(conn, plan.newsletter).await? {
        // A zone that this data does not know (any more) is read as the newsletter's: a wrong hour is better than no mail.
        let zone = match &zone_name {
            Some(name) => zones
                .entry(name.clone())
                .or_insert_with(|| time_zone(name).unwrap_or_else(|| plan.zone.clone()))
                .clone(),
            None => plan.zone.clone(),
        };
        let hour = hour_text.as_deref().and_then(|text| values::time_of_day(text).ok()).unwrap_or(plan.hour);
        let instants = due::instants(&plan.morning, &zone, hour);
        slots.push((zone_name, hour_text, instants.due.as_millisecond(), instants.deadline.as_millisecond()));
    }
    store::plan(conn, plan.edition, plan.newsletter, &slots).await
}
