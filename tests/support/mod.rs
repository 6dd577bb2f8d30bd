//! What tests of several rooms share.

pub mod databases;
pub mod smtp;
