//! The mail: what it looks like, how big it gets, and that nothing breaks out of its place.

mod golden;
mod hostile;
mod preflight;
mod properties;
mod samples;
mod signed;
