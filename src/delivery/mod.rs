//! To be written: the room `delivery`.
