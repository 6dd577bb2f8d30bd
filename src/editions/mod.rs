//! Editions and their states, the line-up, what was frozen and when.

pub mod schedule;
