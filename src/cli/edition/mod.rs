//! `edition`: what the desk does, for scripts.

mod list;
mod show;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;

pub(super) use show::explain;
use show::{build, edit, show};

use super::dates::DateArg;
use super::{Context, Exit, Misuse, Refusal};
use crate::config::Newsletter;
use crate::editions::{self, Edition, EditionState, Who};
use crate::morning::{self, House};
use crate::readers::Address;

/// What `edition` takes.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// List editions, newest first, and the next locks; with --date that one alone
    List(list::Args),
    /// Propose or refresh the line-up
    Build(Build),
    /// Show the line-up, its reasons and where the deliveries stand
    Show(Which),
    /// Give the edition as a JSON document, or take one: order, pins, words, subject
    Edit(Edit),
    /// Show the mail: as HTML, as text, or the bytes of the wire
    Preview(Preview),
    /// Say that it may go out
    Approve(Which),
    /// Freeze the line-up and plan the deliveries, now
    Lock(Which),
    /// Deliver it in this process, and return when every delivery is final
    Send(Send),
    /// Stop everything that is not already on the wire
    Hold(Reason),
    /// Go on after a hold
    Resume(Which),
    /// End it: what was not accepted is withdrawn
    Cancel(Cancel),
    /// Freeze a new revision from the line-up and words as they are now
    Correct(Reason),
}

impl Args {
    /// Whether it delivers as a daemon does.
    pub(super) fn delivers(&self) -> bool {
        matches!(self, Self::Send(send) if send.to.is_none())
    }
}

/// Which edition.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The newsletter's id
    newsletter: String,
    /// The date it bears: ISO 8601, today, tomorrow or yesterday in the newsletter's zone [default: today]
    #[arg(long)]
    date: Option<DateArg>,
}

/// What `edition build` takes.
#[derive(Debug, clap::Args)]
pub struct Build {
    #[command(flatten)]
    which: Which,
    /// Every candidate with its points, and what stopped those left out
    #[arg(long)]
    explain: bool,
}

/// What `edition edit` takes.
#[derive(Debug, clap::Args)]
pub struct Edit {
    #[command(flatten)]
    which: Which,
    /// The document to take: a file, or - for standard input; without it the document is given
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What `edition preview` takes.
#[derive(Debug, clap::Args)]
pub struct Preview {
    #[command(flatten)]
    which: Which,
    /// The HTML part
    #[arg(long, group = "part")]
    html: bool,
    /// The text part
    #[arg(long, group = "part")]
    text: bool,
    /// The whole mail as it goes over the wire
    #[arg(long, group = "part")]
    eml: bool,
    /// As this reader gets it; a sample reader otherwise
    #[arg(long, value_name = "ADDRESS")]
    r#as: Option<String>,
}

/// An edition, and why.
#[derive(Debug, clap::Args)]
pub struct Reason {
    #[command(flatten)]
    which: Which,
    /// Why, for those who look at it later
    #[arg(long)]
    why: Option<String>,
}

/// What `edition cancel` takes.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    #[command(flatten)]
    reason: Reason,
    /// Does not ask, where somebody could be asked
    #[arg(long)]
    yes: bool,
}

/// What `edition send` takes.
#[derive(Debug, clap::Args)]
pub struct Send {
    #[command(flatten)]
    which: Which,
    /// Return after one pass over what is due
    #[arg(long)]
    no_wait: bool,
    /// Ignore due times; deadlines hold
    #[arg(long)]
    now: bool,
    /// Send it although it was missed
    #[arg(long)]
    late: bool,
    /// Send a marked test copy to this address instead, outside the ledger
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Start the civil clock (lock, due, deadline) at this instant; it runs on, and jumps to the next due time
    /// when nothing is on the wire. Refused while another daemon is alive
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
}

/// The house, a newsletter and the date that was meant.
struct Place<'a> {
    house: House,
    newsletter: &'a Newsletter,
    date: Date,
}

impl Which {
    async fn place<'a>(&self, cx: &'a Context) -> anyhow::Result<Place<'a>> {
        let newsletter = cx.newsletter(&self.newsletter)?;
        let date =
            self.date.unwrap_or(DateArg::Relative(0)).resolve(cx.clock().civil(), &newsletter.timezone)?;
        Ok(Place { house: cx.house().await?, newsletter, date })
    }
}

impl Place<'_> {
    /// The edition as it is or would begin; none is opened before something is done with it.
    async fn look(&self) -> anyhow::Result<Edition> {
        Ok(morning::line_up::look(&self.house, self.newsletter, self.date).await?)
    }

    /// The edition, opened where there is none yet and its date is to have one; `None` where it is not.
    async fn due(&self) -> anyhow::Result<Option<Edition>> {
        let known = self.known().await?;
        if known.is_none() && editions::schedule::is_due(self.newsletter, self.date)? {
            return Ok(Some(morning::line_up::open(&self.house, self.newsletter, self.date).await?));
        }
        Ok(known)
    }

    /// The edition, where there is one.
    async fn known(&self) -> anyhow::Result<Option<Edition>> {
        let mut conn = self.house.db.read().await?;
        Ok(editions::store::find(&mut conn, &self.newsletter.id, self.date).await?)
    }

    /// The edition that must be there.
    async fn find(&self) -> anyhow::Result<Edition> {
        if let Some(edition) = self.known().await? {
            return Ok(edition);
        }
        let (id, date) = (&self.newsletter.id, self.date);
        let told = if editions::schedule::is_due(self.newsletter, date)? {
            format!("{id} has no edition of {date}; make one: matinale edition build {id} --date {date}")
        } else {
            self.has_none()
        };
        Err(Refusal(told).into())
    }

    /// That its date has no edition, and who opens one all the same.
    fn has_none(&self) -> String {
        let (id, date) = (&self.newsletter.id, self.date);
        let why = if self.newsletter.days_off.contains(&date) {
            "it is a day off".to_owned()
        } else {
            format!("`newsletter.{id}.lock` leaves it out")
        };
        format!(
            "{id} has no edition of {date}: {why}. To have one all the same: matinale edition approve {id} --date \
             {date}, or edition edit with --file"
        )
    }

    /// Keeps that this edition may go out, which opens it where nobody has; returns it as it stands now.
    async fn approve(&self, looked_at: &Edition) -> anyhow::Result<Edition> {
        let now = self.house.clock.now();
        let mut tx = self.house.db.write().await?;
        let id = editions::store::load_or_open(&mut tx, looked_at, now).await?.id;
        let approved = editions::store::approve(&mut tx, id, &Who::command_line(), now).await?;
        // After the word: from now on nobody else moves it.
        let edition = editions::store::load(&mut tx, id).await?;
        if !approved {
            let (date, state) = (edition.date, edition.state);
            let told = format!("the edition of {date} is {state}: approving comes before the lock");
            return Err(Refusal(told).into());
        }
        tx.commit().await?;
        Ok(edition)
    }

    /// Moves the edition to where `to` says for it as it stands, or says why that cannot be; returns where it went.
    async fn set_state(
        &self,
        mut edition: Edition,
        to: impl Fn(&Edition) -> Result<EditionState, Refusal>,
        why: Option<&str>,
    ) -> anyhow::Result<EditionState> {
        loop {
            let next = to(&edition)?;
            edition.state.may_become(next).map_err(|error| Refusal(error.to_string()))?;
            if morning::lock::set_state(&self.house, &edition, next, why, &Who::command_line()).await? {
                return Ok(next);
            }
            // The clock or another hand moved it since it was read. Every round is another move of an edition's life, so
            // this ends.
            edition = self.find().await?;
        }
    }
}

/// Where an edition goes on that is held.
fn resumed(edition: &Edition) -> Result<EditionState, Refusal> {
    let held = edition.held_from.filter(|_| edition.state == EditionState::Held);
    held.ok_or_else(|| Refusal(format!("the edition of {} is {}, not held", edition.date, edition.state)))
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    match args {
        Args::List(args) => list::list(args, cx).await,
        Args::Build(args) => build(args, cx).await,
        Args::Show(which) => {
            let place = which.place(cx).await?;
            let edition = place.find().await?;
            show(&place, &edition, cx).await
        }
        Args::Edit(args) => edit(args, cx).await,
        Args::Preview(args) => preview(args, cx).await,
        Args::Approve(which) => approve(which, cx).await,
        Args::Lock(which) => {
            let place = which.place(cx).await?;
            let edition = place.look().await?;
            lock(&place, &edition, cx).await
        }
        Args::Send(args) => send(args, cx).await,
        Args::Hold(args) => {
            let place = args.which.place(cx).await?;
            let edition = place.find().await?;
            place.set_state(edition, |_| Ok(EditionState::Held), args.why.as_deref()).await?;
            cx.say("Held: nothing leaves until `edition resume`.");
            Ok(Exit::Done)
        }
        Args::Resume(which) => {
            let place = which.place(cx).await?;
            let edition = place.find().await?;
            let back = place.set_state(edition, resumed, None).await?;
            cx.say(&format!("It goes on: {back}."));
            Ok(Exit::Done)
        }
        Args::Cancel(Cancel { reason, yes }) => {
            let place = reason.which.place(cx).await?;
            let edition = place.find().await?;
            if !yes && std::io::stdin().is_terminal() {
                crate::cli::output::say(&format!("Cancel the edition of {} for good? [y/N] ", edition.date));
                let mut answer = String::new();
                std::io::stdin().read_line(&mut answer)?;
                if !matches!(answer.trim(), "y" | "Y" | "yes") {
                    return Err(Refusal("nothing was cancelled".to_owned()).into());
                }
            }
            if edition.state == EditionState::Cancelled {
                // The command that did it may have been interrupted.
                morning::lock::withdraw(&place.house, &edition).await?;
            }
            place.set_state(edition, |_| Ok(EditionState::Cancelled), reason.why.as_deref()).await?;
            cx.say("Cancelled: what was not accepted yet is withdrawn.");
            Ok(Exit::Done)
        }
        Args::Correct(args) => correct(args, cx).await,
    }
}

async fn preview(args: &Preview, cx: &Context) -> anyhow::Result<Exit> {
    let place = args.which.place(cx).await?;
    let edition = place.look().await?;
    let preview = morning::preview::preview(&place.house, place.newsletter, &edition, args.r#as.as_deref())
        .await?
        .map_err(Misuse)?;
    let mut out = cx.out();
    if args.eml {
        out.bytes(&preview.eml)?;
    } else if args.html {
        out.line(&preview.html)?;
    } else if args.text {
        out.line(&preview.text)?;
    } else {
        out.line(&format!("Subject: {}", preview.subject))?;
        out.line("")?;
        out.line(&preview.text)?;
    }
    out.finish()?;
    for finding in &preview.findings {
        cx.say(&finding.to_string());
    }
    Ok(Exit::Done)
}

async fn approve(which: &Which, cx: &Context) -> anyhow::Result<Exit> {
    let place = which.place(cx).await?;
    let edition = place.approve(&place.look().await?).await?;
    if edition.state == EditionState::Open {
        let at = morning::words::instant(edition.lock_at, &place.newsletter.timezone);
        cx.say(&format!("Approved. It locks at {at}."));
    } else {
        let (id, date, state) = (&place.newsletter.id, edition.date, edition.state);
        cx.say(&format!(
            "Approved. It stays {state} until somebody sends it: matinale edition send {id} --date {date} --late"
        ));
    }
    Ok(Exit::Done)
}

async fn lock(place: &Place<'_>, edition: &Edition, cx: &Context) -> anyhow::Result<Exit> {
    let frozen =
        morning::lock::lock_or_refuse(&place.house, place.newsletter, edition, &Who::command_line(), false)
            .await?
            .map_err(Refusal)?;
    cx.say(&format!("Locked: revision {}, {} deliveries planned.", frozen.revision, frozen.planned));
    for warning in &frozen.warnings {
        cx.say(warning);
    }
    Ok(Exit::Done)
}

async fn correct(args: &Reason, cx: &Context) -> anyhow::Result<Exit> {
    let place = args.which.place(cx).await?;
    let edition = place.find().await?;
    let why = args.why.as_deref().unwrap_or("corrected");
    let corrected =
        morning::lock::correct(&place.house, place.newsletter, &edition, why, &Who::command_line())
            .await?
            .map_err(Refusal)?;
    cx.say(&format!("Revision {}: deliveries not yet accepted carry it from now on.", corrected.revision));
    for warning in &corrected.warnings {
        cx.say(warning);
    }
    Ok(Exit::Done)
}

async fn send(args: &Send, cx: &Context) -> anyhow::Result<Exit> {
    if let Some(at) = args.at {
        cx.clock().set_civil(at);
    }
    if let Some(address) = &args.to {
        return test_copy(&args.which, address, cx).await;
    }
    // Before the database is opened, which may be away or take its time to migrate.
    let shutdown = cx.shutdown()?;
    let place = tokio::select! {
        place = args.which.place(cx) => place?,
        () = shutdown.draining() => {
            cx.say("Interrupted: nothing was begun.");
            return Ok(Exit::Failed);
        }
    };
    let how =
        morning::send::How { wait: !args.no_wait, now: args.now, late: args.late, civil: args.at.is_some() };
    let counts = morning::send::send(&place.house, place.newsletter, place.date, how, &shutdown)
        .await?
        .map_err(Refusal)?;
    let mut out = cx.out();
    if cx.json {
        out.json(&counts)?;
    } else {
        out.line(&counts.in_words())?;
    }
    out.finish()?;
    if !how.wait && !counts.all_final() {
        // Nobody waits for it here: whoever asked for one pass is told what stood in its way.
        let waits = morning::waits::relays(&place.house, place.newsletter, None, &place.newsletter.timezone);
        for told in place.house.db.answered(waits).await? {
            cx.say(&told);
        }
    }
    if how.wait && !counts.all_final() {
        let edition = place.house.db.unless_lost(place.find()).await?;
        if edition.state == EditionState::Sending {
            cx.say("Interrupted: nothing is lost; the same command goes on.");
            return Ok(Exit::Failed);
        }
        return Err(Refusal(format!("the edition of {} is {}", edition.date, edition.state)).into());
    }
    Ok(Exit::Done)
}

async fn test_copy(which: &Which, address: &str, cx: &Context) -> anyhow::Result<Exit> {
    if let Err(error) = address.parse::<Address>() {
        return Err(Misuse(format!("{address:?} {error}")).into());
    }
    let place = which.place(cx).await?;
    let edition = place.look().await?;
    morning::send::test_copy(&place.house, place.newsletter, &edition, address)
        .await?
        .map_err(|error| anyhow::anyhow!("the test copy was not taken: {error}"))?;
    cx.say("The test copy was accepted.");
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Random};
    use crate::config;
    use crate::db::{Db, Options};

    async fn house() -> (House, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        let db = Db::open(&Options::new(&url)).await.unwrap();
        db.migrate().await.unwrap();
        let text = "[relay.main]\nurl = \"smtp://127.0.0.1:25\"\n[newsletter.test]\nname = \"Test\"\n\
                    from = \"test@example.org\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\nrelays = [\"main\"]";
        let config = config::tests::load(text, &[]).unwrap();
        let now: Timestamp = "2026-11-24T05:00:00Z".parse().unwrap();
        (House::new(config, db, Clock::manual(now), Random::seeded(1)), folder)
    }

    #[tokio::test]
    async fn p5_an_approval_opens_its_edition_and_speaks_of_it_as_it_stands_by_then() {
        let (house, _folder) = house().await;
        let newsletter = house.config.newsletters["test"].clone();
        let place = Place { house, newsletter: &newsletter, date: "2026-11-24".parse().unwrap() };
        let looked_at = place.look().await.unwrap();
        let opened = place.approve(&looked_at).await.unwrap();
        assert!(!opened.is_to_come() && opened.approved_at.is_some(), "{opened:?}");
        let moved = async |edition: &Edition, to| {
            let who = Who::command_line();
            assert!(morning::lock::set_state(&place.house, edition, to, None, &who).await.unwrap());
        };
        // The clock missed it after each of these looks.
        moved(&opened, EditionState::Missed).await;
        for looked_at in [&looked_at, &opened] {
            let approved = place.approve(looked_at).await.unwrap();
            assert_eq!((approved.id, approved.state), (opened.id, EditionState::Missed));
        }
        moved(&place.find().await.unwrap(), EditionState::Locked).await;
        let late = place.approve(&opened).await.unwrap_err();
        let told = late.downcast::<Refusal>().unwrap().0;
        assert_eq!(told, "the edition of 2026-11-24 is locked: approving comes before the lock");
    }

    #[tokio::test]
    async fn p4_an_edition_that_moved_since_it_was_read_is_held_all_the_same_or_the_hold_is_refused() {
        let (house, _folder) = house().await;
        let (newsletter, now) = (house.config.newsletters["test"].clone(), house.clock.now());
        let place = Place { house, newsletter: &newsletter, date: "2026-11-24".parse().unwrap() };
        let moved = async |edition: &Edition, to| {
            let who = Who::command_line();
            assert!(morning::lock::set_state(&place.house, edition, to, None, &who).await.unwrap());
            place.find().await.unwrap()
        };
        let hold = async |edition: Edition| place.set_state(edition, |_| Ok(EditionState::Held), None).await;

        let mut tx = place.house.db.write().await.unwrap();
        let opened = editions::store::open(&mut tx, "test", place.date, now, now).await.unwrap();
        tx.commit().await.unwrap();
        let locked = moved(&opened, EditionState::Locked).await;
        let sending = moved(&locked, EditionState::Sending).await;
        // The command saw it locked; the clock began to send it meanwhile.
        assert_eq!(hold(locked).await.unwrap(), EditionState::Held);
        let held = place.find().await.unwrap();
        assert_eq!((held.state, held.held_from), (EditionState::Held, Some(EditionState::Sending)));

        assert_eq!(place.set_state(held.clone(), resumed, None).await.unwrap(), EditionState::Sending);
        let twice = place.set_state(held, resumed, None).await.unwrap_err();
        assert_eq!(twice.downcast::<Refusal>().unwrap().0, "the edition of 2026-11-24 is sending, not held");

        let sent = moved(&sending, EditionState::Sent).await;
        let late = hold(sending).await.unwrap_err();
        assert_eq!(late.downcast::<Refusal>().unwrap().0, "an edition that is sent cannot become held");
        assert_eq!(place.find().await.unwrap().state, sent.state);
    }
}
