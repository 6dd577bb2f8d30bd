//! Tests of the room `cli`.

mod files;
mod refusals;
mod relay;
mod signals;
