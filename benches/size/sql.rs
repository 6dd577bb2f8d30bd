//! The statements of this benchmark: what a daemon would do one by one, done to a whole edition at once.

use matinale::db::{Db, on};
use matinale::editions::EditionId;
use matinale::morning::stage::NEWSLETTER;

use super::Failure;

const BARE: &str = "
INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at)
SELECT $1, subscription.subscriber, subscription.id, 'planned', 0, $3, 0
FROM subscription
WHERE subscription.newsletter = $2 AND subscription.status = 'active'";

/// Far beyond any morning.
const NEVER: i64 = 9_000_000_000_000;

/// Plans without asking who is due when: what a database needs at the least.
pub(super) async fn plan_barely(db: &Db, edition: EditionId) -> Result<(), Failure> {
    let mut tx = db.write().await?;
    on!(&mut tx, |c| sqlx::query(BARE)
        .bind(edition.0)
        .bind(NEWSLETTER)
        .bind(NEVER)
        .execute(c)
        .await
        .map(drop)?);
    tx.commit().await?;
    Ok(())
}

const SOME: &str = "
INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at)
SELECT $1, subscription.subscriber, subscription.id, 'planned', 0, $3, 0
FROM subscription
WHERE subscription.newsletter = $2 AND subscription.status = 'active'
ORDER BY subscription.subscriber
LIMIT $4";

/// Plans so many.
pub(super) async fn plan_some(db: &Db, edition: EditionId, count: i64) -> Result<(), Failure> {
    let mut tx = db.write().await?;
    on!(&mut tx, |c| sqlx::query(SOME)
        .bind(edition.0)
        .bind(NEWSLETTER)
        .bind(NEVER)
        .bind(count)
        .execute(c)
        .await
        .map(drop)?);
    tx.commit().await?;
    Ok(())
}

// The same three versions of each row, and the same attempt, that a morning leaves behind.
const MORNING: [&str; 3] = [
    "UPDATE delivery SET state = 'claimed', daemon = 1, epoch = 1 WHERE edition = $1 AND state = 'planned'",
    "INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at,
                          date_offset, outcome, code, enhanced, text)
     SELECT delivery.id, 1, 1, 1, delivery.due_at, 'sink', subscriber.address, 1, 'fr', delivery.due_at, 0,
            'accepted', 250, '2.0.0', '2.0.0 taken'
     FROM delivery
     JOIN subscriber ON subscriber.id = delivery.subscriber
     WHERE delivery.edition = $1",
    "UPDATE delivery SET state = 'accepted', tries = 1, daemon = NULL, epoch = NULL, accepted_at = due_at
     WHERE edition = $1 AND state = 'claimed'",
];

/// A morning that went by without trouble, in three statements.
pub(super) async fn as_sent(db: &Db, edition: EditionId) -> Result<(), Failure> {
    for sql in MORNING {
        let mut tx = db.write().await?;
        on!(&mut tx, |c| sqlx::query(sql).bind(edition.0).execute(c).await.map(drop)?);
        tx.commit().await?;
    }
    Ok(())
}

/// The edition's life is over.
pub(super) async fn close(db: &Db, edition: EditionId) -> Result<(), Failure> {
    let mut tx = db.write().await?;
    let sql = "UPDATE edition SET state = 'sent' WHERE id = $1";
    on!(&mut tx, |c| sqlx::query(sql).bind(edition.0).execute(c).await.map(drop)?);
    tx.commit().await?;
    Ok(())
}
