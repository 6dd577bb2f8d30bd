//! Matinale, a morning in ten lines.
//!
//! Articles arrive ([`articles`]); the best ten are proposed and explained ([`selection`]); editors have
//! the last word and the edition is locked ([`editions`]); every reader who said yes and not yet no is
//! known ([`readers`]); the mail is written once per revision ([`mail`]); one delivery per reader is
//! planned, claimed, released and recorded ([`delivery`]); what comes back is understood ([`feedback`]);
//! and [`morning`] joins the rooms, day after day. People come in by the doors: [`web`] and [`cli`].
//!
//! A room calls only rooms that stand earlier in this list, and writes only its own tables. What happens in
//! an earlier room reaches a later one by being read. `tests/layering.rs` holds the house to it.

/// glibc's took a tenth of the processor time of a delivery.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// Ground floor: holds no rule of the newsletter.
pub mod access;
pub mod clock;
pub mod config;
pub mod db;
pub mod lifecycle;
pub mod telemetry;
pub mod world;

// The morning.
pub mod articles;
pub mod delivery;
pub mod editions;
pub mod feedback;
pub mod mail;
pub mod morning;
pub mod readers;
pub mod selection;

// Doors.
pub mod cli;
pub mod web;
