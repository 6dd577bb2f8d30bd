//! The edition as an editor reads it: the line-up with its reasons, every candidate with what stopped it; and the
//! document that gives all of it and takes what an editor wants otherwise.

use std::io::Read as _;

use anyhow::Context as _;

use super::{Build, Edit, Place};
use crate::cli::candidates::{self, Shown};
use crate::cli::{Context, Exit, Out, Refusal, Table};
use crate::config::Newsletter;
use crate::editions::{Document, Edition, EditionState, Who};
use crate::morning;
use crate::morning::line_up::ShownItem;
use crate::selection::words::{Phrases, put};
use crate::selection::{Proposal, is_drawn};

pub(super) async fn build(args: &Build, cx: &Context) -> anyhow::Result<Exit> {
    let place = args.which.place(cx).await?;
    let Some(edition) = place.due().await? else { return build_none(&place, args, cx).await };
    if !matches!(edition.state, EditionState::Open | EditionState::Missed | EditionState::Skipped) {
        return Err(Refusal(format!(
            "the edition of {} is {}: its line-up is frozen",
            edition.date, edition.state
        ))
        .into());
    }
    let proposal = morning::line_up::refresh(&place.house, place.newsletter, &edition).await?;
    if args.explain {
        return explained(&place, &proposal, cx).await;
    }
    let edition = place.find().await?;
    show(&place, &edition, cx).await
}

/// The line-up of a date that has no edition, as it would be: one that was opened would leave at its hour.
async fn build_none(place: &Place<'_>, args: &Build, cx: &Context) -> anyhow::Result<Exit> {
    let edition = morning::line_up::look(&place.house, place.newsletter, place.date).await?;
    if args.explain {
        let proposal = morning::line_up::proposal(&place.house, place.newsletter, &edition).await?;
        explained(place, &proposal, cx).await?;
    } else {
        show(place, &edition, cx).await?;
    }
    cx.say(&place.has_none());
    Ok(Exit::Done)
}

async fn explained(place: &Place<'_>, proposal: &Proposal, cx: &Context) -> anyhow::Result<Exit> {
    let mut out = cx.out();
    explain(proposal, place.newsletter, &mut out)?;
    if !cx.json {
        let phrases = Phrases::of(&place.newsletter.language);
        for said in &morning::stories::said_of(&place.house, proposal).await? {
            out.line(&crate::cli::story::in_words(said, phrases, &place.newsletter.timezone))?;
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// Every candidate with its points, and what stopped those left out.
pub(in crate::cli) fn explain(
    proposal: &Proposal,
    newsletter: &Newsletter,
    out: &mut Out,
) -> std::io::Result<()> {
    if out.json {
        let lists =
            [("chosen", &proposal.chosen), ("reserve", &proposal.reserves), ("left out", &proposal.left_out)];
        for (place, candidates) in lists {
            for candidate in candidates {
                out.json(&serde_json::json!({ "place": place, "candidate": candidate }))?;
            }
        }
        for barred in &proposal.barred {
            out.json(&serde_json::json!({ "place": "barred", "candidate": barred }))?;
        }
        for relaxed in &proposal.relaxed {
            out.json(&serde_json::json!({ "relaxed": relaxed }))?;
        }
        return out.json(&serde_json::json!({ "inputs": proposal.inputs }));
    }
    let shown =
        Shown { phrases: Phrases::of(&newsletter.language), id: &|_| String::new(), width: out.width() };
    candidates::explain(&shown, proposal, out)
}

pub(super) async fn show(place: &Place<'_>, edition: &Edition, cx: &Context) -> anyhow::Result<Exit> {
    let shown = morning::line_up::shown(&place.house, place.newsletter, edition).await?;
    let mut out = cx.out();
    if cx.json {
        out.json(&shown)?;
    } else {
        let phrases = Phrases::of(&place.newsletter.language);
        let (date, state) = (edition.date.to_string(), edition.state.to_string());
        let head = [("name", place.newsletter.name.as_str()), ("date", &date), ("state", &state)];
        out.line(&put(phrases.edition, &head))?;
        if let Some(reason) = &edition.reason {
            out.line(reason)?;
        }
        out.line(&put(phrases.subject, &[("subject", &shown.subject)]))?;
        out.line("")?;
        out.table(&items(&shown.items, phrases))?;
        let record = morning::learn::record(&place.house, place.newsletter, edition.date).await?;
        for words in record.iter().filter(|record| is_of(record, &shown.items)).flat_map(candidates::broken) {
            out.line(&words)?;
        }
        if !shown.reserves.is_empty() {
            out.line("")?;
            out.line(phrases.in_reserve)?;
            out.table(&items(&shown.reserves, phrases))?;
        }
        for said in &shown.said {
            out.line(&crate::cli::story::in_words(said, phrases, &place.newsletter.timezone))?;
        }
        if let Some(agreed) = morning::learn::agreed(&place.house, place.newsletter).await? {
            let near =
                |share: i64| format!("{}{}{:03}", share / 10_000, phrases.decimal, share % 10_000 / 10);
            let count = agreed.mornings.to_string();
            let (given, learned) = (near(agreed.given), near(agreed.learned));
            let named = [("count", count.as_str()), ("given", &given), ("learned", &learned)];
            out.line("")?;
            out.line(&put(phrases.agreed, &named))?;
        }
        if edition.revision > 0 {
            out.line("")?;
            out.line(&format!("Deliveries: {}", shown.counts.in_words()))?;
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// Whether this proposal is the line-up that is shown: only then it tells what of its limits gave way.
fn is_of(proposal: &Proposal, items: &[ShownItem]) -> bool {
    proposal.chosen.iter().map(|one| one.url.as_str()).eq(items.iter().map(|item| item.url.as_str()))
}

/// Items as an editor reads them, in the newsletter's language.
fn items(items: &[ShownItem], phrases: &Phrases) -> Table {
    let mut table = Table::new(&["", phrases.points, phrases.title, phrases.why]);
    for item in items {
        let pin = if item.pinned { format!("{}; ", phrases.pinned) } else { String::new() };
        let lot = if is_drawn(&item.reasons) { format!("{}; ", phrases.by_lot) } else { String::new() };
        table.row(&[
            item.position.to_string(),
            item.points.to_string(),
            item.title.clone(),
            format!("{pin}{lot}{}", item.why(phrases)),
        ]);
        if !item.also_in.is_empty() {
            let others: Vec<&str> = item.also_in.iter().map(|other| other.source.as_str()).collect();
            let others = put(phrases.also_in, &[("name", &others.join(", "))]);
            table.row(&[String::new(), String::new(), format!("  {others}"), String::new()]);
        }
    }
    table
}

pub(super) async fn edit(args: &Edit, cx: &Context) -> anyhow::Result<Exit> {
    let place = args.which.place(cx).await?;
    let Some(file) = &args.file else {
        let edition = place.look().await?;
        let document = morning::line_up::document(&place.house, place.newsletter, &edition).await?;
        let mut out = cx.out();
        out.line(&serde_json::to_string_pretty(&document)?)?;
        out.finish()?;
        return Ok(Exit::Done);
    };
    let name = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| name.clone())?;
    }
    let document = parse(&text).map_err(|wrong| Refusal(format!("{name}: {wrong}")))?;
    let edition = place.look().await?;
    let who = Who::command_line();
    morning::line_up::edit(&place.house, place.newsletter, &edition, &document, &who)
        .await?
        .map_err(|refused| Refusal(format!("{name}: {refused}")))?;
    let edition = place.find().await?;
    show(&place, &edition, cx).await
}

/// The document of this text, or what of it cannot be: with its field, or its line where it is no JSON.
fn parse(text: &str) -> Result<Document, String> {
    let json = &mut serde_json::Deserializer::from_str(text);
    let document: Document = serde_path_to_error::deserialize(&mut *json).map_err(|error| {
        let field = error.path().to_string();
        let why = error.into_inner();
        if why.is_data() { format!("{field}: {why}") } else { format!("is no JSON: {why}") }
    })?;
    json.end().map_err(|error| format!("is no JSON: {error}"))?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_document_that_cannot_be_is_told_with_its_field_or_its_line() {
        let wrong = |text: &str| parse(text).unwrap_err();
        assert_eq!(
            wrong("{\"items\": [{\"url\": \"https://a.example/1\", \"pinned\": \"yes\"}]}"),
            "items[0].pinned: invalid type: string \"yes\", expected a boolean at line 1 column 57"
        );
        assert!(wrong("{\"items\": [{\"title\": \"x\"}]}").starts_with("items[0]: missing field `url`"));
        assert!(wrong("{\"subjet\": \"x\"}").starts_with("subjet: unknown field `subjet`, expected one of"));
        assert!(wrong("{\"values\": [{\"url\": \"x\", \"value\": 900}]}").starts_with("values[0].value: "));
        assert_eq!(wrong("{"), "is no JSON: EOF while parsing an object at line 1 column 1");
        assert_eq!(wrong("{} x"), "is no JSON: trailing characters at line 1 column 4");
        assert!(parse("{}").is_ok());
    }
}
