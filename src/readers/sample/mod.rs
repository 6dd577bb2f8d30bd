//! Made-up readers, as many as wanted, for rehearsals: never beside real ones.

pub mod store;
