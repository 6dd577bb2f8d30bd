//! What readers prefer: where it is kept, what is planned for them moves with it, in one transaction (P5).

use std::io::{self, BufRead};

use jiff::Timestamp;

use super::House;
use crate::db::{self, Conn};
use crate::delivery::plan;
use crate::readers::import::{self, Options, Reject, Summary, Unreadable};
use crate::readers::{SubscriberId, store};

/// Keeps what a reader chose on their own page.
///
/// # Errors
/// The store's.
pub async fn prefer(
    conn: &mut Conn,
    id: SubscriberId,
    language: Option<&str>,
    timezone: Option<&str>,
    send_at: Option<&str>,
    now: Timestamp,
) -> db::Result<()> {
    store::prefer(conn, id, language, timezone, send_at, now).await?;
    plan::move_along(conn, &[id]).await.map(drop)
}

/// Takes a file's people in; rejected lines go to `reject` one by one.
///
/// # Errors
/// As [`import::import`].
pub async fn import(
    house: &House,
    reader: impl BufRead,
    options: &Options,
    now: Timestamp,
    reject: impl FnMut(&Reject) -> io::Result<()>,
) -> Result<Summary, Unreadable> {
    let changed = async |conn: &mut Conn, ids: &[SubscriberId]| plan::move_along(conn, ids).await.map(drop);
    import::import(&house.db, &house.links, reader, options, now, reject, changed).await
}
