//! Tests of the room `delivery`.

mod outcomes;
