//! The command line: one file per command, results on standard output, progress and logs on standard error.
//!
//! Exit status: 0 done (or nobody reads the results any more), 1 failed, 2 used wrongly, 3 refused for the state of
//! things. To add a command: a file here with its `Args` and `run`, and an arm in `Command`.

mod article;
mod candidates;
mod check;
mod context;
mod dates;
mod delivery;
mod demo;
mod doctor;
mod drill;
mod edition;
mod feed;
mod init;
mod migrate;
mod output;
mod prune;
mod rehearse;
mod relay;
mod selection;
mod serve;
mod stories;
mod story;
mod subscriber;
mod suppression;
mod token;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use context::Context;
pub use output::{Out, Table};

/// Fills an article store, picks the morning's ten, renders the edition and delivers it to every subscriber.
#[derive(Debug, Parser)]
#[command(name = "matinale", version, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    /// A configuration file; may be repeated, later files win [default: ./matinale.toml, then
    /// /etc/matinale/matinale.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Only errors on standard error
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// More on standard error
    #[arg(long, short, global = true)]
    verbose: bool,
    /// JSON on standard output; JSON Lines where the answer is a list
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A whole morning on sample articles and readers, in under a minute, with an inbox to look at
    Demo(demo::Args),
    /// Write a commented matinale.toml and the keys it needs, and say what to do next
    Init(init::Args),
    /// Read the configuration, say every fault with its key, print the effective values, secrets masked
    Check(check::Args),
    /// Look at everything that a morning hangs on: each thing good, doubtful or bad, with what to do; changes nothing
    Doctor(doctor::Args),
    /// Bring the database to this version
    Migrate(migrate::Args),
    /// The daemon: schedules, fetches, delivers and serves by itself
    Serve(serve::Args),
    /// Editions: build, show, edit, preview, approve, lock, send, hold, resume, cancel, correct
    #[command(subcommand)]
    Edition(edition::Args),
    /// Subscribers: import, export, list, show, erase
    #[command(subcommand)]
    Subscriber(subscriber::Args),
    /// Addresses that must not be written to
    #[command(subcommand)]
    Suppression(suppression::Args),
    /// The ledger: list, export, summary, retry, settle
    #[command(subcommand)]
    Delivery(delivery::Args),
    /// Push tokens for the newsroom's system
    #[command(subcommand)]
    Token(token::Args),
    /// The servers that take mail from us
    #[command(subcommand)]
    Relay(relay::Args),
    /// How the ten are chosen: what was learned from the editors, promote, demote, replay
    #[command(subcommand)]
    Selection(selection::Args),
    /// The editors' word on what reports the same event: show, split, join
    #[command(subcommand)]
    Story(story::Args),
    /// The story of each article of a file
    Stories(stories::StoriesArgs),
    /// The ten of a file, with their points and reasons
    Pick(stories::PickArgs),
    /// A whole morning at full size into a sink: figures, forecast of the last delivery, faults found
    Rehearse(rehearse::Args),
    /// Kill daemons at random moments of a made-up morning, restart them, and count lost and doubled mails
    Drill(drill::Args),
    /// Reduce what is old in the ledger to counts, as [retention] says
    Prune(prune::Args),
    /// The whole story of one delivery, or of why there is none
    Why(why::Args),
    /// The article store: import, list, show, retract
    Article(article::Args),
    /// The feeds: how they are doing, and what one says now
    Feed(feed::Args),
}

/// How a command ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Done,
    /// Something of it failed; what, was said.
    Failed,
    /// Used wrongly.
    Usage,
    /// Refused for the state of things.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
        })
    }
}

/// Says no for the state of things: exit status 3, this text on standard error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Says that the command was used wrongly: exit status 2, this text on standard error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// A PostgreSQL server, as an option names it.
fn postgres_url(text: &str) -> Result<String, String> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        Ok(text.to_owned())
    } else {
        Err("expected postgres://USER@HOST/DATABASE".to_owned())
    }
}

/// Parses the command line and runs one command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // One cryptography provider in the whole process; whoever comes second finds it installed.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&error.to_string());
            return Exit::Failed.into();
        }
    };
    let exit = match runtime.block_on(run(cli)) {
        Ok(exit) => exit,
        Err(error) => report(&error),
    };
    // What still runs writes nothing that counts: a name that is looked up, an answer that is waited for.
    runtime.shutdown_background();
    exit.into()
}

fn report(error: &anyhow::Error) -> Exit {
    // `head` closed the pipe: nobody is left to be told.
    if error.chain().any(|cause| cause.downcast_ref().is_some_and(output::Closed::is_behind)) {
        return Exit::Done;
    }
    output::complain(&told(error));
    if error.downcast_ref::<Refusal>().is_some() {
        Exit::Refused
    } else if error.downcast_ref::<Misuse>().is_some() {
        Exit::Usage
    } else {
        Exit::Failed
    }
}

/// An error and what caused it, each once: some say their cause in their own words.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let cx = Context::new(cli.config, cli.json, cli.quiet, cli.verbose);
    let done = tokio::select! {
        result = command(&cli.command, &cx) => result?,
        () = cx.stopped() => Exit::Done,
        error = cx.lost(), if !outlasts(&cli.command) => {
            return Err(anyhow::Error::from(error).context("what was under way may be done, or not: look"));
        }
    };
    // Also where it let go in time: it was told to leave things as they were.
    if done == Exit::Done && cx.is_stopping() {
        anyhow::bail!(
            "stopped at once; what was open is uncertain, and the next daemon on this host says so"
        );
    }
    Ok(done)
}

/// Whether it has limits of its own for a server that is silent, or asks another one.
fn outlasts(command: &Command) -> bool {
    match command {
        Command::Serve(_) | Command::Rehearse(_) | Command::Drill(_) => true,
        Command::Edition(args) => args.delivers(),
        _ => false,
    }
}

async fn command(command: &Command, cx: &Context) -> anyhow::Result<Exit> {
    match command {
        Command::Demo(args) => demo::run(args, cx).await,
        Command::Init(args) => init::run(args, cx),
        Command::Check(args) => check::run(args, cx),
        Command::Doctor(args) => doctor::run(args, cx).await,
        Command::Migrate(args) => migrate::run(args, cx).await,
        Command::Serve(args) => serve::run(args, cx).await,
        Command::Edition(args) => edition::run(args, cx).await,
        Command::Subscriber(args) => subscriber::run(args, cx).await,
        Command::Suppression(args) => suppression::run(args, cx).await,
        Command::Delivery(args) => delivery::run(args, cx).await,
        Command::Token(args) => token::run(args, cx).await,
        Command::Relay(args) => relay::run(args, cx).await,
        Command::Selection(args) => selection::run(args, cx).await,
        Command::Story(args) => story::run(args, cx).await,
        Command::Stories(args) => stories::stories(args, cx),
        Command::Pick(args) => stories::pick(args, cx),
        Command::Rehearse(args) => rehearse::run(args, cx).await,
        Command::Drill(args) => drill::run(args, cx).await,
        Command::Prune(args) => prune::run(args, cx).await,
        Command::Why(args) => why::run(args, cx).await,
        Command::Article(args) => article::run(args, cx).await,
        Command::Feed(args) => feed::run(args, cx).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let refused = std::io::Error::other("refused");
        let error = anyhow::Error::from(crate::db::Error::Sqlx(sqlx::Error::Io(refused)));
        assert_eq!(told(&error), "the database cannot be reached: refused");
        assert_eq!(
            told(&error.context("it cannot start")),
            "it cannot start: the database cannot be reached: refused"
        );
    }

    #[test]
    fn every_command_in_an_alarm_runs_as_it_is_pasted() {
        let config = "approval = \"approve\"";
        let newsletter = crate::editions::schedule::tests::newsletter("UTC", "0 0 5 * * *", config);
        let mut commands = 0;
        for body in crate::morning::alert::tests::bodies(&newsletter) {
            for line in body.lines() {
                if let Some(command) = line.strip_prefix("  ") {
                    let parsed = Cli::try_parse_from(command.split_whitespace());
                    assert!(parsed.is_ok(), "{body}: {parsed:?}");
                    assert!(
                        command.contains(" test --date 2026-11-24") || command.ends_with(" list"),
                        "{body}"
                    );
                    commands += 1;
                } else {
                    assert!(!line.contains("matinale ") && !line.contains(" desk"), "{body}");
                }
            }
            assert!(!body.ends_with(':'), "{body}");
        }
        assert!(commands > 15, "{commands}");
    }

    #[test]
    fn p2_a_connection_that_broke_is_a_failure_and_not_the_end_of_a_pipe() {
        let broken = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let database = anyhow::Error::from(crate::db::Error::from(sqlx::Error::Io(broken())));
        assert_eq!(report(&database), Exit::Failed);
        assert_eq!(report(&broken().into()), Exit::Failed);
        let head = std::io::Error::new(std::io::ErrorKind::BrokenPipe, output::Closed);
        assert_eq!(report(&head.into()), Exit::Done);
    }
}
