//! Tests of the room `delivery`.

mod calls;
mod connections;
mod daemons;
mod dots;
mod ends;
mod faults;
mod gate;
pub(crate) mod ground;
mod keys;
mod late;
mod mx;
mod outcomes;
mod prune;
mod relays;
mod replies;
