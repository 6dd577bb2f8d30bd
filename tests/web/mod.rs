//! Tests of the room `web`.

mod archive;
