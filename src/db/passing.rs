//! Which of the database's errors pass by themselves.
//!
//! Whoever goes on trying after any other tries for ever: it takes somebody to mend something.

use super::Error;

/// The length of an SQLSTATE; SQLite's codes are shorter.
const SQLSTATE: usize = 5;
/// What SQLSTATEs that pass begin with: connections, what is read-only meanwhile, transactions that met another, room,
/// locks, operators, the system (appendix A of PostgreSQL's manual).
const PASSING: [&str; 7] = ["08", "25006", "40", "53", "55", "57", "58"];
/// SQLite's codes that pass: busy, locked, no memory, an I/O error, a full disk, a file that cannot be opened
/// (sqlite.org/rescode.html). Extended ones have them in their last byte.
const PASSING_SQLITE: [u32; 6] = [5, 6, 7, 10, 13, 14];

impl Error {
    /// Whether the database itself is out of reach: whatever else it is asked now fares no better.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Silent(_) | Self::Restarted => true,
            Self::Sqlx(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
            Self::Url(_) | Self::Migrate(_) | Self::Rows { .. } | Self::Row { .. } => false,
        }
    }

    /// Whether it may take the same thing later, with nothing mended: it was away, had no room, or was asked at a bad
    /// moment.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Sqlx(sqlx::Error::Database(error)) => error.code().is_some_and(|code| passes(&code)),
            error => error.is_away(),
        }
    }
}

fn passes(code: &str) -> bool {
    if code.len() == SQLSTATE {
        PASSING.iter().any(|passing| code.starts_with(passing))
    } else {
        code.parse().is_ok_and(|code: u32| PASSING_SQLITE.contains(&(code & 0xff)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_what_passes_is_told_from_what_somebody_must_mend() {
        for away in ["57P01", "57P03", "53300", "53100", "08006", "40001", "25006", "5", "13", "778", "517"] {
            assert!(passes(away), "{away}");
        }
        for wrong in ["42P01", "42501", "23505", "28P01", "3D000", "1", "8", "11", "19", "1555"] {
            assert!(!passes(wrong), "{wrong}");
        }
        assert!(Error::Restarted.may_pass());
        assert!(!Error::Rows { statement: "one", expected: 1, actual: 0 }.may_pass());
    }
}
