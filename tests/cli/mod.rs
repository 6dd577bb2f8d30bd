//! Tests of the room `cli`.

mod refusals;
