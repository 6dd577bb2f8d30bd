//! To be written: the room `config`.
