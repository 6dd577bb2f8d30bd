//! Lists of rows that a statement joins with: as many parameters on SQLite, an array for each column on PostgreSQL.
//!
//! Not JSON: taking one apart costs SQLite more than the tables that it is joined with.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, Sqlite};

/// A named column, top to bottom.
#[derive(Debug)]
pub(super) enum Column<'a> {
    Numbers(&'static str, Vec<Option<i64>>),
    Texts(&'static str, Vec<Option<&'a str>>),
}

impl Column<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Numbers(name, _) | Self::Texts(name, _) => name,
        }
    }
}

/// The columns of one list, each as long as the others.
#[derive(Debug)]
pub(super) struct Rows<'a>(pub(super) Vec<Column<'a>>);

impl<'a> Rows<'a> {
    /// `(a, b) AS (VALUES (?, ?), …)` with so many rows.
    ///
    /// Without numbers: SQLite looks for a numbered parameter among all of them, each time one is bound.
    pub(super) fn as_values(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.0.len()].join(", "));
        format!("({}) AS MATERIALIZED (VALUES {})", self.names(), vec![row.as_str(); rows].join(", "))
    }

    /// `(a, b) AS (SELECT * FROM UNNEST($4, $5))`; the first parameter has this number.
    pub(super) fn as_arrays(&self, first: usize) -> String {
        let places: Vec<String> = self
            .0
            .iter()
            .enumerate()
            .map(|(at, column)| match column {
                Column::Numbers(..) => format!("CAST(${} AS BIGINT[])", first + at),
                Column::Texts(..) => format!("CAST(${} AS TEXT[])", first + at),
            })
            .collect();
        format!("({}) AS MATERIALIZED (SELECT * FROM UNNEST({}))", self.names(), places.join(", "))
    }

    /// How many columns, and so parameters, it has.
    pub(super) fn width(&self) -> usize {
        self.0.len()
    }

    fn names(&self) -> String {
        self.0.iter().map(Column::name).collect::<Vec<_>>().join(", ")
    }

    /// Binds so many rows, one after the other; those that there are none of are NULL and match nothing.
    pub(super) fn bind_values<'q>(
        &self,
        mut query: Query<'q, Sqlite, SqliteArguments>,
        rows: usize,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        for row in 0..rows {
            for column in &self.0 {
                query = match column {
                    Column::Numbers(_, values) => query.bind(values.get(row).copied().flatten()),
                    Column::Texts(_, values) => {
                        query.bind(values.get(row).copied().flatten().map(str::to_owned))
                    }
                };
            }
        }
        query
    }

    /// Binds each column as an array.
    pub(super) fn bind_arrays<'q>(
        self,
        mut query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments>
    where
        'a: 'q,
    {
        for column in self.0 {
            query = match column {
                Column::Numbers(_, values) => query.bind(values),
                Column::Texts(_, values) => query.bind(values),
            };
        }
        query
    }
}
