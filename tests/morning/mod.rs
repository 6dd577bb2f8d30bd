//! Tests of the room `morning`.
