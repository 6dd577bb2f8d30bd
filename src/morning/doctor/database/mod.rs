//! The ledger: whether it is there and of this version, what a commit is worth, how much room it has.

mod postgres;
mod sqlite;

use std::io;
use std::path::Path;

use tokio::time::timeout;

use super::finding::{Area, Finding};
use super::{Check, Patient, store};
use crate::db::{Db, Facts, Options, Place, Schema};

const URL: &str = "database.url";
const AREA: Area = Area::Database;

/// Opens the database for looking alone, and says where that fails.
pub(super) async fn open(patient: &Patient) -> (Option<Db>, Vec<Finding>) {
    let options = patient.config.database.options();
    match Db::reach(&options, patient.limits.answer).await {
        Ok(true) => {}
        Ok(false) => return (None, vec![missing(&options).await]),
        Err(error) => return (None, vec![away(&options, &error.to_string())]),
    }
    match Db::open_read_only(&options).await {
        Ok(db) => (Some(db), Vec::new()),
        Err(error) => (None, vec![away(&options, &error.to_string())]),
    }
}

/// There is no file; `migrate` makes one where there is a folder for it.
async fn missing(options: &Options) -> Finding {
    let folder = options.file().ok().flatten().and_then(|file| file.parent().map(Path::to_owned));
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| ".".into());
    let shown = folder.display().to_string();
    let is_there = tokio::task::spawn_blocking(move || folder.is_dir()).await;
    if is_there.unwrap_or(true) {
        return Finding::bad(
            AREA,
            URL,
            "There is no such file yet.",
            "Run `matinale migrate`: it makes the database.",
        );
    }
    Finding::bad(
        AREA,
        URL,
        format!("There is no such file, and no folder {shown} for it."),
        "Make that folder, for the user that the daemon has, then run `matinale migrate`; or mend database.url.",
    )
}

fn away(options: &Options, why: &str) -> Finding {
    let told = format!("The database cannot be opened: {why}.");
    let Ok(Some(file)) = options.file() else {
        return Finding::bad(AREA, URL, told, "Mend database.url (or its url_file), or start the server.");
    };
    let file = file.display();
    let advice = format!(
        "See first to what is bad about its file and disk here, if anything is; if not, see who holds it (fuser -v \
         {file}), or restore the newest copy, or mend database.url."
    );
    Finding::bad(AREA, URL, told, advice)
}

/// It did not answer.
pub(super) fn silent(patient: &Patient) -> Finding {
    let within = format!("no answer within {} s", patient.limits.check.as_secs());
    away(&patient.config.database.options(), &within)
}

/// It could not even be tried.
pub(super) fn broken(patient: &Patient, why: &str) -> Finding {
    away(&patient.config.database.options(), &format!("the attempt broke ({why})"))
}

/// Of SQLite's file, which needs no database that opens: where none does, the reason is mostly here.
pub(super) fn check_file(patient: &Patient) -> Option<Check> {
    let options = patient.config.database.options();
    let file = options.file().ok().flatten()?;
    // Aside: a disk that is away keeps a thread waiting, and not this check.
    let place = async move {
        let shown = file.display().to_string();
        match tokio::task::spawn_blocking(move || Place::of(&file)).await {
            Ok(Ok(place)) => sqlite::judge_place(&shown, &place, crate::config::values::us()),
            // That is told of the database.
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Ok(Err(error)) => vec![Finding::bad(
                AREA,
                "file",
                format!("{shown} cannot be looked at: {error}."),
                "Run this as the user that the daemon has, or open the folders above the file to this one.",
            )],
            Err(error) => vec![away(&options, &error.to_string())],
        }
    };
    Some(Check::start(patient, AREA, "file", place))
}

/// The checks of a database that is there.
pub(super) fn checks(patient: &Patient, db: Option<&Db>) -> Vec<Check> {
    let Some(db) = db else { return Vec::new() };
    let engine = {
        let (patient, db) = (patient.clone(), db.clone());
        async move { look(&patient, &db).await }
    };
    let schema = {
        let (db, config) = (db.clone(), patient.config.database.clone());
        async move {
            match db.schema().await {
                Ok(schema) => vec![judge_schema(&schema, !config.migrate)],
                Err(error) => vec![away(&config.options(), &error.to_string())],
            }
        }
    };
    vec![Check::start(patient, AREA, URL, engine), Check::start(patient, AREA, "schema", schema)]
}

async fn look(patient: &Patient, db: &Db) -> Vec<Finding> {
    let config = &patient.config.database;
    match db.look().await {
        Err(error) => vec![away(&config.options(), &error.to_string())],
        Ok(Facts::Sqlite(facts)) => sqlite::judge(&facts, config.synchronous),
        Ok(Facts::Postgres(facts)) => {
            // Where the schema is older than this question, or somebody holds the table, the engine's own answers stand all
            // the same.
            let asked = async { store::daemons(&mut db.read().await?).await };
            let daemons = timeout(patient.limits.answer, asked).await.map_or(0, Result::unwrap_or_default);
            postgres::judge(&facts, config.synchronous, config.connections, daemons)
        }
    }
}

/// How the schema stands to this version's.
fn judge_schema(schema: &Schema, manual: bool) -> Finding {
    let list = |versions: &[i64]| versions.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let subject = "schema";
    if let Some(step) = schema.broken {
        return Finding::bad(
            AREA,
            subject,
            format!("Migration {step} broke off half-way."),
            "Restore the newest copy of the database, then run `matinale migrate`.",
        );
    }
    if !schema.unknown.is_empty() {
        return Finding::bad(
            AREA,
            subject,
            format!(
                "It is newer than this program: migrations it does not know are applied ({}).",
                list(&schema.unknown)
            ),
            "Start the newer program, or restore a copy from before it; this one leaves the database alone.",
        );
    }
    if !schema.changed.is_empty() {
        return Finding::bad(
            AREA,
            subject,
            format!("Migrations read otherwise than when they were applied ({}).", list(&schema.changed)),
            "Use a released program: this one was built of other migrations than the database.",
        );
    }
    let pending = match schema.pending.len() {
        1 => "1 migration".to_owned(),
        several => format!("{several} migrations"),
    };
    match (schema.pending.len(), schema.newest, manual) {
        (0, newest, _) => Finding::good(
            AREA,
            subject,
            format!("It is at this version (migration {}).", newest.unwrap_or_default()),
        ),
        (_, _, true) => Finding::bad(
            AREA,
            subject,
            format!("It is older than this program by {pending}, and database.migrate is \"manual\"."),
            "Run `matinale migrate` (--dry-run shows what it would do).",
        ),
        _ => Finding::doubtful(
            AREA,
            subject,
            format!("It is older than this program by {pending}, which `matinale serve` will apply."),
            "Run `matinale migrate` at an hour that suits you, with a copy at hand.",
        ),
    }
}

fn doubtful_commits() -> Finding {
    Finding::doubtful(
        AREA,
        "database.synchronous",
        "\"normal\": a commit survives a killed process, and not a power cut; after one, readers whose mail was \
         accepted in the last moments are written to again, and P2 does not hold.",
        "Set database.synchronous = \"full\", which is the default.",
    )
}

#[cfg(test)]
mod tests;
