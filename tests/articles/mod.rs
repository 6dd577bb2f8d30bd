//! Tests of the room `articles`.

mod store;
