//! Tests of the room `delivery`.


mod faults;
mod ground;
mod outcomes;
mod prune;
mod replies;
