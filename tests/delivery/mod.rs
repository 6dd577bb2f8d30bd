//! Tests of the room `delivery`.

mod daemons;
mod dots;
mod faults;
mod ground;
mod late;
mod mx;
mod outcomes;
mod prune;
mod replies;
