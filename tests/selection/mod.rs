//! Tests of the room `selection`.
mod extract;
mod learning;
mod learning_mornings;
mod pick;
mod places;
mod pools;
mod same_bytes;
mod stories;
mod stories_kept;
