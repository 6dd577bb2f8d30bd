//! To be written: the room `feedback`.
