//! What tests of several rooms share.

pub mod databases;
pub mod disk;
pub mod faulty;
pub mod lossy;
pub mod names;
pub mod readers;
pub mod smtp;
pub mod standby;
