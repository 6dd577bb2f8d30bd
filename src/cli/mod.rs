//! To be written: the room `cli`.
