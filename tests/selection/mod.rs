//! Tests of the room `selection`.
mod learning;
mod learning_mornings;
