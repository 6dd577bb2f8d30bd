//! Tests of the room `delivery`.

mod calls;
mod connections;
mod daemons;
mod dead;
mod dots;
mod ends;
mod failover;
mod faults;
mod gate;
mod given_up;
mod greetings;
pub(crate) mod ground;
mod keys;
mod late;
mod limits;
mod lives;
mod making;
mod mx;
mod outcomes;
mod pieces;
mod planning;
mod prune;
mod refusals;
mod relays;
mod replies;
mod resolver;
mod warm_up;
