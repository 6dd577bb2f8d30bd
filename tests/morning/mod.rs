//! Tests of the room `morning`.

mod clock;
mod day_off;
mod dead;
mod doctor;
mod links;
mod preview;
mod rehearse;
mod retry;
mod test_copy;
mod troubles;
mod why;
