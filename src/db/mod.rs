//! To be written: the room `db`.
