//! Tests of the room `cli`.

mod doctor;
mod drill;
mod editions;
mod files;
mod refusals;
mod relay;
mod said;
mod signals;
