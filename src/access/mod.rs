//! Who may do what: push tokens for the newsroom's system.
//!
//! Owns the tables `editor`, `token` and `fact`. Of a token only its SHA-256 is kept: whoever reads the database
//! cannot push.

pub mod tokens;
