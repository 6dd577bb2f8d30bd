//! To be written: the room `mail`.
