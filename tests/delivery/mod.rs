//! Tests of the room `delivery`.

mod daemons;
mod faults;
mod ground;
mod mx;
mod outcomes;
mod prune;
mod replies;
