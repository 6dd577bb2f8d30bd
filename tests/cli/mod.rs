//! Tests of the room `cli`.

mod doctor;
mod files;
mod refusals;
mod relay;
mod signals;
