//! To be written: the room `web`.
