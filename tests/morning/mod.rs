//! Tests of the room `morning`.

mod clock;
mod links;
mod rehearse;
mod why;
