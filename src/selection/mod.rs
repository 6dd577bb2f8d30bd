//! To be written: the room `selection`.
