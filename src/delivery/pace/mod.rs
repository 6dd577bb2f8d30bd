//! Pace: what receiving providers bear, how we slow down at their signals, and limits that all daemons keep together.
//!
//! What is decided stands in `providers` (who bears what), `limit` (how a limit falls and recovers) and `warm_up` (a new
//! identity's caps), all pure; `bucket` is one daemon's part of a limit, and the rows that daemons share stand in
//! `store`. A limit belongs to a relay and a provider, for the provider sees one sender: every daemon's connections and
//! messages count together.

mod bucket;
pub mod limit;
pub mod providers;
pub mod store;
mod view;
pub mod warm_up;

pub use bucket::{Bucket, Start};
pub use limit::{Base, Limit};
pub use providers::{Providers, TlsPolicy};
pub use view::{View, folded, stands_alone, view};
