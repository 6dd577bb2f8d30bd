//! Tests of the room `selection`.
mod learning;
