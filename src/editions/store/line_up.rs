//! The table `item`: the line-up as it stands.

use jiff::Timestamp;
use sqlx::FromRow;

use super::{json, parse_json};
use crate::articles::ArticleId;
use crate::db::{Conn, Result, on};
use crate::editions::{EditionId, Item, LineUp, Place};

#[derive(FromRow)]
struct ItemRow {
    place: String,
    position: i64,
    article: i64,
    story: String,
    points: i64,
    reasons: String,
}

const LINE_UP: &str = "
SELECT place, position, article, story, points, reasons
FROM item
WHERE edition = $1
ORDER BY place, position";

/// The line-up as it stands.
pub async fn line_up(conn: &mut Conn, id: EditionId) -> Result<LineUp> {
    let rows: Vec<ItemRow> = on!(conn, |c| sqlx::query_as(LINE_UP).bind(id.0).fetch_all(c).await?);
    let mut line_up = LineUp::default();
    for row in rows {
        let place = if row.place == Place::Chosen.as_str() { Place::Chosen } else { Place::Reserve };
        let item = Item {
            place,
            position: row.position,
            article: ArticleId(row.article),
            story: row.story,
            points: row.points,
            reasons: parse_json("item", "reasons", row.article, &row.reasons)?,
        };
        match place {
            Place::Chosen => line_up.chosen.push(item),
            Place::Reserve => line_up.reserves.push(item),
        }
    }
    Ok(line_up)
}

const CLEAR_LINE_UP: &str = "
DELETE FROM item
WHERE edition = $1";

const ADD_ITEM: &str = "
INSERT INTO item (edition, place, position, article, story, points, reasons)
VALUES ($1, $2, $3, $4, $5, $6, $7)";

const REFRESHED: &str = "
UPDATE edition
SET refreshed_at = $2, version = version + CASE WHEN $3 = 1 THEN 1 ELSE 0 END
WHERE id = $1";

/// Puts this line-up in the place of the one that stood there; the version rises only when it differs.
pub async fn set_line_up(conn: &mut Conn, id: EditionId, new: &LineUp, at: Timestamp) -> Result<bool> {
    let changed = line_up(conn, id).await? != *new;
    if changed {
        on!(conn, |c| sqlx::query(CLEAR_LINE_UP).bind(id.0).execute(c).await.map(drop)?);
        for item in new.chosen.iter().chain(&new.reserves) {
            let reasons = json(&item.reasons);
            on!(conn, |c| sqlx::query(ADD_ITEM)
                .bind(id.0)
                .bind(item.place.as_str())
                .bind(item.position)
                .bind(item.article.0)
                .bind(&item.story)
                .bind(item.points)
                .bind(reasons)
                .execute(c)
                .await
                .map(drop)?);
        }
    }
    on!(conn, |c| sqlx::query(REFRESHED)
        .bind(id.0)
        .bind(at.as_millisecond())
        .bind(i64::from(changed))
        .execute(c)
        .await
        .map(drop)?);
    Ok(changed)
}
