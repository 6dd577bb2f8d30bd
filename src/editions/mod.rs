//! To be written: the room `editions`.
