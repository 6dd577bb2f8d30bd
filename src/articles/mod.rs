//! To be written: the room `articles`.
