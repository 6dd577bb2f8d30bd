//! Tests of the room `cli`.

mod drill;
mod files;
mod refusals;
mod relay;
mod signals;
