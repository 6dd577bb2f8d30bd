//! The mail: what it looks like, how big it gets, and that nothing breaks out of its place.

mod golden;
mod properties;
mod samples;
