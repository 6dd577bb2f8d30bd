//! To be written: the room `morning`.
