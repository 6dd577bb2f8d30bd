//! Tests of the room `delivery`.

mod calls;
mod connections;
mod daemons;
mod dots;
mod ends;
mod failover;
mod faults;
mod gate;
mod given_up;
pub(crate) mod ground;
mod keys;
mod late;
mod limits;
mod lives;
mod making;
mod mx;
mod outcomes;
mod prune;
mod relays;
mod replies;
mod resolver;
mod warm_up;
