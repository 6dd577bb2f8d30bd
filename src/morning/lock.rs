//! The lock: the line-up as it stands is frozen as revision 1 and every delivery is planned, in one transaction.

use jiff::Timestamp;

use super::alert::{self, Cause};
use super::{House, Result, content, line_up, links, warm_up};
use crate::clock::Clock;
use crate::config::{Approval, Newsletter};
use crate::delivery::due::Morning;
use crate::delivery::plan::{self, Plan};
use crate::editions::{self, Edition, EditionState, NewRevision, Who};
use crate::mail::preflight::{self, Weight};
use crate::mail::{self, Content, Language, Prepared, Rendered};
use crate::selection::{Proposal, learning};
use crate::{db, delivery};

/// What an event is called that tells of something to be looked at.
pub const WARNED: &str = "warned";

/// What a lock came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// Frozen and planned.
    Done(Frozen),
    /// Too few candidates: there is no edition on this date.
    Skipped(String),
    /// Too few candidates as yet.
    TooFew(String),
    /// What would go out must not.
    Preflight(String),
    /// Nobody has approved it.
    Unapproved,
    /// Somebody else changed it meanwhile; look again.
    Raced,
}

/// An edition that is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The revision.
    pub revision: i64,
    /// How many deliveries were planned.
    pub planned: i64,
    /// What somebody should look at; whoever locked it tells it.
    pub warnings: Vec<String>,
}

/// Locks an edition that is open (or was missed, when somebody wants it all the same), at this civil moment.
///
/// Where too few came in, `decides` says whether that is the last word on the day: it is the clock's, not that of an
/// editor who tries before the hour.
pub async fn lock(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    who: &Who,
    decides: bool,
) -> Result<Locked> {
    if newsletter.approval == Approval::Approve && edition.approved_at.is_none() {
        return Ok(Locked::Unapproved);
    }
    let proposal = {
        let mut conn = house.db.read().await?;
        line_up::propose(&mut conn, newsletter, edition).await?
    };
    let chosen = proposal.chosen.len();
    if chosen < newsletter.minimum_items as usize {
        let s = if chosen == 1 { "" } else { "s" };
        let why =
            format!("{chosen} candidate{s}, and the newsletter's minimum is {}", newsletter.minimum_items);
        return if decides {
            skip(house, newsletter, edition, why, who).await
        } else {
            Ok(Locked::TooFew(why))
        };
    }
    let line_up = line_up::line_up_of(&proposal);
    let content = content::load(house, newsletter, edition, &line_up).await?;
    let (renderings, mut warnings) = match renderings(house, newsletter, &content).await? {
        Ok(made) => made,
        Err(why) => return Ok(Locked::Preflight(why)),
    };
    warnings.extend(links::check(house, newsletter, &content).await?);
    let frozen = freeze(house, newsletter, edition, &proposal, &content, &renderings, who).await?;
    let Some((ref edition, planned)) = frozen else { return Ok(Locked::Raced) };
    let day = house.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    warnings.extend(warm_up::tell(house, newsletter, edition, day, who).await?);
    keep(house, edition, &warnings, who).await?;
    Ok(Locked::Done(Frozen { revision: 1, planned, warnings }))
}

/// Tells the log what should be looked at, where nobody at a terminal is told.
pub(super) fn log(edition: &Edition, warnings: &[String]) {
    for warning in warnings {
        tracing::warn!(
            edition.id = edition.id.0,
            warning,
            "the edition goes out with something to be looked at"
        );
    }
}

/// Keeps with the edition what should be looked at; it goes out all the same.
async fn keep(house: &House, edition: &Edition, warnings: &[String], who: &Who) -> Result<()> {
    if warnings.is_empty() {
        return Ok(());
    }
    let mut tx = house.db.write().await?;
    for warning in warnings {
        editions::store::record(&mut tx, edition.id, house.clock.now(), who, WARNED, warning).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The prepared bytes of a content in each language that its readers read, and what somebody should look at.
type Made = (Vec<(String, Vec<u8>)>, Vec<String>);

/// Renders a content and holds it against the preflight; or says, in lines, what stops it.
async fn renderings(
    house: &House,
    newsletter: &Newsletter,
    content: &Content,
) -> Result<std::result::Result<Made, String>> {
    let mut rendered = Vec::new();
    for tag in content::languages(house, newsletter).await? {
        let language = Language::first_of([tag.as_str()]);
        rendered.push((tag, language, mail::render(content, language)?));
    }
    let each: Vec<(Language, &Rendered)> =
        rendered.iter().map(|(_, language, rendered)| (*language, rendered)).collect();
    let findings = content::findings(house, newsletter, content, &each).await?;
    if preflight::stops(&findings) {
        let errors = findings.iter().filter(|finding| finding.weight == Weight::Error);
        return Ok(Err(errors.map(ToString::to_string).collect::<Vec<_>>().join("\n")));
    }
    let bytes = |(tag, _, rendered): (String, Language, Rendered)| {
        (tag, Prepared::new(&rendered, content).to_bytes())
    };
    let warnings = findings.iter().map(ToString::to_string).collect();
    Ok(Ok((rendered.into_iter().map(bytes).collect(), warnings)))
}

/// Freezes and plans in one transaction, which opens the edition where nobody has; gives it and how many are planned, `None`
/// where somebody changed it meanwhile.
async fn freeze(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    proposal: &Proposal,
    content: &Content,
    renderings: &[(String, Vec<u8>)],
    who: &Who,
) -> Result<Option<(Edition, i64)>> {
    let line_up = &line_up::line_up_of(proposal);
    let now = house.clock.now();
    let civil = house.clock.civil();
    let json = serde_json::to_string(content).map_err(|error| super::Error::Start(error.to_string()))?;
    let mut tx = house.db.write().await?;
    if edition.is_to_come() {
        plan::unseen(&mut tx).await?;
    }
    let current = editions::store::load_or_open(&mut tx, edition, now).await?;
    if current.version != edition.version || current.state != edition.state {
        return Ok(None);
    }
    let edition = &current;
    if !editions::store::set_state(&mut tx, edition, EditionState::Locked, None, who, now).await? {
        return Ok(None);
    }
    editions::store::set_line_up(&mut tx, edition.id, line_up, now).await?;
    learning::store::record_proposal(&mut tx, &newsletter.id, edition.date, proposal, now).await?;
    let revision = NewRevision { number: 1, who, why: "lock", content: &json, renderings };
    editions::store::freeze(&mut tx, edition.id, &revision, now).await?;
    let plan = Plan {
        edition: edition.id,
        newsletter: &newsletter.id,
        morning: morning_of(newsletter, edition, civil),
        hour: newsletter.send_at,
        zone: &newsletter.timezone,
    };
    let planned = plan::plan(&mut tx, &plan).await?;
    tx.notify(delivery::CHANNEL).await?;
    tx.commit().await?;
    tracing::info!(
        newsletter.id = %newsletter.id,
        edition.id = edition.id.0,
        edition.date = %edition.date,
        planned,
        "the edition is locked"
    );
    super::learn::keep(house, newsletter, edition).await;
    Ok(Some((current, planned)))
}

/// The morning of an edition that is locked at this civil moment.
pub(super) fn morning_of(newsletter: &Newsletter, edition: &Edition, lock: Timestamp) -> Morning {
    Morning { date: edition.date, lock, deadline: newsletter.deadline, window: newsletter.window }
}

/// The last word on the day. Its alarm is raised with it: nobody looks at a skipped edition again.
async fn skip(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    why: String,
    who: &Who,
) -> Result<Locked> {
    let now = house.clock.now();
    let mut tx = house.db.write().await?;
    if edition.state == EditionState::Open {
        let current = editions::store::load_or_open(&mut tx, edition, now).await?;
        let (open, to) = (current.state == EditionState::Open, EditionState::Skipped);
        if !open || !editions::store::set_state(&mut tx, &current, to, Some(&why), who, now).await? {
            return Ok(Locked::Raced);
        }
        alert::raise(&mut tx, newsletter, &Cause::Skipped(edition.date, why.clone()), now).await?;
    }
    tx.commit().await?;
    Ok(Locked::Skipped(why))
}

/// Locks, or says in words why not. An edition that nobody has opened is opened where it is locked, and not before.
pub async fn lock_or_refuse(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    who: &Who,
    decides: bool,
) -> Result<std::result::Result<Frozen, String>> {
    let date = edition.date;
    if let Err(error) = edition.state.may_become(EditionState::Locked) {
        return Ok(Err(format!("the edition of {date}: {error}")));
    }
    Ok(match lock(house, newsletter, edition, who, decides).await? {
        Locked::Done(frozen) => Ok(frozen),
        Locked::Skipped(why) => Err(format!("the edition of {date} is skipped: {why}")),
        Locked::TooFew(why) if edition.is_to_come() => Err(format!("no edition of {date} is opened: {why}")),
        Locked::TooFew(why) => Err(format!("the edition of {date} stays {}: {why}", edition.state)),
        Locked::Preflight(why) => Err(format!("the edition of {date} cannot be locked:\n{why}")),
        Locked::Unapproved => Err(format!(
            "the edition of {date} waits for approval: matinale edition approve {} --date {date}",
            newsletter.id
        )),
        Locked::Raced => Err(format!("somebody changed the edition of {date} meanwhile: try again")),
    })
}

/// A correction that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrected {
    /// The revision that deliveries not yet accepted carry.
    pub revision: i64,
    /// What somebody should look at.
    pub warnings: Vec<String>,
}

/// Freezes a new revision from the line-up and words as they are now; deliveries not yet accepted carry it. Links are
/// asked after that: what is wrong keeps going out until it is frozen.
pub async fn correct(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    why: &str,
    who: &Who,
) -> Result<std::result::Result<Corrected, String>> {
    let frozen = matches!(edition.state, EditionState::Locked | EditionState::Sending | EditionState::Held);
    if !frozen {
        let (date, state) = (edition.date, edition.state);
        return Ok(Err(format!(
            "the edition of {date} is {state}: only what is locked and not yet sent can be corrected"
        )));
    }
    let mut conn = house.db.read().await?;
    let line_up = editions::store::line_up(&mut conn, edition.id).await?;
    drop(conn);
    let content = content::load(house, newsletter, edition, &line_up).await?;
    let (renderings, mut warnings) = match renderings(house, newsletter, &content).await? {
        Ok(made) => made,
        Err(why) => return Ok(Err(format!("the correction cannot be frozen:\n{why}"))),
    };
    let json = serde_json::to_string(&content).map_err(|error| super::Error::Start(error.to_string()))?;
    let number = edition.revision + 1;
    let mut tx = house.db.write().await?;
    let revision = NewRevision { number, who, why, content: &json, renderings: &renderings };
    match editions::store::freeze(&mut tx, edition.id, &revision, house.clock.now()).await {
        Ok(()) => {}
        Err(db::Error::Rows { .. }) => {
            return Ok(Err("somebody corrected it meanwhile: look again".to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    editions::store::record(&mut tx, edition.id, house.clock.now(), who, "corrected", why).await?;
    tx.notify(delivery::CHANNEL).await?;
    tx.commit().await?;
    warnings.extend(links::check(house, newsletter, &content).await?);
    keep(house, edition, &warnings, who).await?;
    Ok(Ok(Corrected { revision: number, warnings }))
}

/// Moves an edition by hand; what was not accepted of a cancelled one is withdrawn behind it, by whoever comes to it first.
pub async fn set_state(
    house: &House,
    edition: &Edition,
    to: EditionState,
    why: Option<&str>,
    who: &Who,
) -> Result<bool> {
    let mut tx = house.db.write().await?;
    let moved = editions::store::set_state(&mut tx, edition, to, why, who, house.clock.now()).await?;
    tx.notify(delivery::CHANNEL).await?;
    tx.commit().await?;
    if moved && to == EditionState::Cancelled {
        withdraw(house, edition).await?;
    }
    Ok(moved)
}

/// Withdraws what was not accepted of a cancelled edition.
pub async fn withdraw(house: &House, edition: &Edition) -> Result<()> {
    Ok(delivery::store::withdraw_all(&house.db, edition.id).await?)
}

/// Whether the lock of an edition was missed by more than the newsletter allows.
pub(super) fn is_missed(newsletter: &Newsletter, edition: &Edition, clock: &Clock) -> bool {
    let late = clock.civil().duration_since(edition.lock_at);
    std::time::Duration::try_from(late).is_ok_and(|late| late > newsletter.catch_up)
}
