//! Tests of the room `editions`.
