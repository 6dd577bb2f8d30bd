//! What a look of the clock could not do: one step of many, or nothing at all.

use std::fmt::Display;

use crate::db;
use crate::morning::Error;

/// A step that failed.
#[derive(Debug)]
pub struct Failure {
    /// Whose step it is; `None` where it is the whole house's.
    pub newsletter: Option<String>,
    /// What it was about.
    pub about: String,
    /// Why.
    pub error: Error,
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { newsletter, about, error } = self;
        match newsletter {
            Some(id) => write!(f, "{id}: {about}: {error}"),
            None => write!(f, "{about}: {error}"),
        }
    }
}

/// Why a look did not do everything that was due.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    /// The database is away: nothing more was tried, and nobody's newsletter is to blame.
    #[error(transparent)]
    Away(#[from] Error),
    /// These steps failed; every other was done.
    #[error("{}", lines(.0))]
    Steps(Vec<Failure>),
}

impl From<db::Error> for Undone {
    fn from(error: db::Error) -> Self {
        Self::Away(error.into())
    }
}

/// Failures, one a line.
pub(super) fn lines<'a>(failures: impl IntoIterator<Item = &'a Failure>) -> String {
    failures.into_iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The steps of one look.
#[derive(Debug, Default)]
pub(super) struct Steps {
    failures: Vec<Failure>,
    wrote: bool,
}

impl Steps {
    /// Keeps how a step went, and goes on.
    ///
    /// # Errors
    /// [`Undone::Away`]: no other step would fare better, and each would wait for the database anew.
    pub(super) fn took<T>(
        &mut self,
        newsletter: Option<&str>,
        about: impl Display,
        result: Result<T, impl Into<Error>>,
    ) -> Result<Option<T>, Undone> {
        match result.map_err(Into::into) {
            Ok(done) => Ok(Some(done)),
            Err(Error::Db(error)) if error.is_away() => Err(error.into()),
            Err(error) => {
                let newsletter = newsletter.map(ToOwned::to_owned);
                self.failures.push(Failure { newsletter, about: about.to_string(), error });
                Ok(None)
            }
        }
    }

    /// Something was written: the database is there, whatever else fails.
    pub(super) fn wrote(&mut self) {
        self.wrote = true;
    }

    /// What all of it came to.
    pub(super) fn end(mut self) -> Result<(), Undone> {
        // A full disk answers every question, and refuses every write.
        let refused = |failure: &Failure| matches!(&failure.error, Error::Db(error) if error.may_pass());
        if self.failures.is_empty() {
            Ok(())
        } else if !self.wrote && self.failures.iter().all(refused) {
            Err(Undone::Away(self.failures.swap_remove(0).error))
        } else {
            Err(Undone::Steps(self.failures))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a look ends whose steps all failed with this error of the database.
    fn look(error: impl Fn() -> db::Error, wrote: bool) -> Result<(), Undone> {
        let mut steps = Steps::default();
        if wrote {
            steps.wrote();
        }
        for id in ["a", "b"] {
            steps.took(Some(id), "the next editions", Err::<(), _>(error()))?;
        }
        steps.end()
    }

    /// What SQLite says of a write that it has no room for.
    async fn full() -> db::Error {
        let pool = sqlx::sqlite::SqlitePoolOptions::new()
            .max_connections(1)
            .connect("sqlite::memory:")
            .await
            .unwrap();
        sqlx::query("PRAGMA max_page_count = 1").execute(&pool).await.unwrap();
        sqlx::query("CREATE TABLE one (a TEXT)").execute(&pool).await.unwrap_err().into()
    }

    #[tokio::test]
    async fn p1_a_database_that_is_away_is_one_trouble_and_an_odd_row_is_its_newsletters_own() {
        let silent = || db::Error::Silent(std::time::Duration::from_secs(60));
        assert!(matches!(look(silent, true), Err(Undone::Away(_))), "nobody waits for it once more");
        let (one, other) = (full().await, full().await);
        let refused = std::cell::RefCell::new(vec![one, other]);
        let refused = || refused.borrow_mut().pop().expect("one for each step");
        assert!(matches!(look(refused, false), Err(Undone::Away(_))), "it takes no writes");
        let odd = || db::Error::Row { table: "edition", column: "words", id: 7, value: "?".to_owned() };
        assert!(matches!(look(odd, false), Err(Undone::Steps(failures)) if failures.len() == 2));
        let wrong = || db::Error::Sqlx(sqlx::Error::RowNotFound);
        assert!(
            matches!(look(wrong, false), Err(Undone::Steps(failures)) if failures.len() == 2),
            "a fault of ours"
        );
    }
}
