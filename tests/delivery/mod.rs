//! Tests of the room `delivery`.

mod daemons;
mod dots;
mod faults;
pub(crate) mod ground;
mod late;
mod mx;
mod outcomes;
mod prune;
mod relays;
mod replies;
