//! To be written: the room `access`.
