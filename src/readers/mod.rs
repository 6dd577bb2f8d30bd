//! To be written: the room `readers`.
