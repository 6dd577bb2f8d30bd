//! `stories` and `pick`: the selection alone, on a file. They need no configuration.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

use super::candidates::{self, Shown};
use super::{Context, Exit, Misuse, Table};
use crate::articles::{Article, ArticleId, Lifetime};
use crate::selection::learning::Weights;
use crate::selection::words::Phrases;
use crate::selection::{self, Candidate, Ran, Settings, Standing, stories};

/// What `stories` takes.
#[derive(Debug, clap::Args)]
pub struct StoriesArgs {
    /// Articles, one JSON object a line, with an id of your own
    file: PathBuf,
}

/// What `pick` takes.
#[derive(Debug, clap::Args)]
pub struct PickArgs {
    /// Articles, one JSON object a line, with an id of your own
    file: PathBuf,
    /// The cut-off [default: the newest article's date, or now]
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
    /// Choose as this newsletter of the configuration that `--config` names; needed where that has several
    #[arg(long, value_name = "ID")]
    newsletter: Option<String>,
    /// The others too: those in reserve, those left out, and what stopped each
    #[arg(long)]
    explain: bool,
}

/// One line; fields that the selection does not read are passed over.
#[derive(Deserialize)]
struct Line {
    id: serde_json::Value,
    url: String,
    title: String,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    section: Option<String>,
    #[serde(default)]
    countries: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    embargo_until: Option<Timestamp>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    published_at: Option<Timestamp>,
    #[serde(default)]
    value: Option<u8>,
    #[serde(default)]
    lifetime: Option<Lifetime>,
}

fn read(path: &Path, cx: &Context) -> anyhow::Result<(Vec<Line>, bool)> {
    let shown = path.display().to_string();
    let file = File::open(path).with_context(|| shown.clone())?;
    let (mut lines, mut faults) = (Vec::new(), false);
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("{shown}:{}", number + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Line>(&line) {
            Ok(line) => lines.push(line),
            Err(error) => {
                faults = true;
                cx.say(&format!("{shown}:{}: {error}", number + 1));
            }
        }
    }
    Ok((lines, faults))
}

fn exit(faults: bool) -> Exit {
    if faults { Exit::Failed } else { Exit::Done }
}

pub(super) fn stories(args: &StoriesArgs, cx: &Context) -> anyhow::Result<Exit> {
    let (lines, faults) = read(&args.file, cx)?;
    let pieces: Vec<stories::Piece<'_>> = lines
        .iter()
        .map(|line| stories::Piece {
            key: &line.url,
            title: &line.title,
            lead: line
                .summary
                .as_deref()
                .filter(|text| !text.is_empty())
                .or(line.body.as_deref())
                .unwrap_or_default(),
            language: line.language.as_deref(),
            at: line.published_at.map_or(0, Timestamp::as_millisecond),
        })
        .collect();
    let found = stories::find(&pieces);
    let mut out = cx.out();
    let mut table = Table::new(&["id", "story", "", "title"]);
    let ids = found.ids(&pieces, |_| None);
    for (at, (line, story)) in lines.iter().zip(ids).enumerate() {
        let leads = found.lead[at] == at;
        if cx.json {
            out.json(&serde_json::json!({ "id": line.id, "story": story, "leads": leads }))?;
        } else {
            let mark = if leads { "leads" } else { "" };
            table.row(&[plain(&line.id), story, mark.to_owned(), line.title.clone()]);
        }
    }
    if !cx.json {
        out.table(&table)?;
    }
    out.finish()?;
    Ok(exit(faults))
}

pub(super) fn pick(args: &PickArgs, cx: &Context) -> anyhow::Result<Exit> {
    let (lines, faults) = read(&args.file, cx)?;
    let newest = lines.iter().filter_map(|line| line.published_at).max();
    let cut_off = args.at.or(newest).unwrap_or_else(|| cx.clock().now());
    let articles: Vec<Article> = lines.iter().zip(0..).map(|(line, at)| article(line, at, cut_off)).collect();
    let settings = settings(args, cx)?;
    let proposal = selection::propose(&articles, &[] as &[Ran], &Standing::default(), &settings, cut_off);
    let mut out = cx.out();
    let line_of = |candidate: &Candidate| {
        usize::try_from(candidate.article.0).ok().and_then(|at| lines.get(at)).map(|line| &line.id)
    };
    if !cx.json {
        let id = |candidate: &Candidate| line_of(candidate).map(plain).unwrap_or_default();
        let shown = Shown { phrases: Phrases::of(&settings.language), id: &id, width: out.width() };
        if args.explain {
            candidates::explain(&shown, &proposal, &mut out)?;
        } else {
            shown.chosen(&proposal, &mut out)?;
            for relaxed in &proposal.relaxed {
                out.line(&format!("! {relaxed}"))?;
            }
        }
        out.finish()?;
        return Ok(exit(faults));
    }
    for (candidate, position) in proposal.chosen.iter().zip(1..) {
        out.json(&serde_json::json!({
            "id": line_of(candidate), "position": position, "points": candidate.points,
            "reasons": candidate.reasons, "story": candidate.story,
        }))?;
    }
    if args.explain {
        for candidate in proposal.reserves.iter().chain(&proposal.left_out) {
            out.json(&serde_json::json!({
                "id": line_of(candidate), "position": null, "points": candidate.points,
                "reasons": candidate.reasons, "story": candidate.story, "stopped": candidate.stopped,
            }))?;
        }
    }
    out.finish()?;
    Ok(exit(faults))
}

/// As the newsletter of a configuration has them, where `--config` named one; without learned weights, for those
/// stand in a database.
fn settings(args: &PickArgs, cx: &Context) -> anyhow::Result<Settings> {
    let of = |newsletter| Settings::of(newsletter, Weights::default());
    let Some(config) = cx.named_config()? else {
        return match &args.newsletter {
            None => Ok(Settings::default()),
            Some(_) => {
                Err(Misuse("--newsletter stands in a configuration: name it by --config".to_owned()).into())
            }
        };
    };
    if let Some(id) = &args.newsletter {
        return cx.newsletter(id).map(of);
    }
    let mut all = config.newsletters.values();
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(of(only)),
        (None, _) => Ok(Settings::default()),
        (Some(_), Some(_)) => {
            let known: Vec<&str> = config.newsletters.keys().map(String::as_str).collect();
            Err(Misuse(format!("--newsletter: which of {}?", known.join(", "))).into())
        }
    }
}

fn plain(id: &serde_json::Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

fn article(line: &Line, at: i64, cut_off: Timestamp) -> Article {
    Article {
        id: ArticleId(at),
        url: line.url.clone(),
        url_key: line.url.clone(),
        title: line.title.clone(),
        title_key: String::new(),
        summary: line.summary.clone().unwrap_or_default(),
        body: line.body.clone().unwrap_or_default(),
        language: line.language.clone(),
        section: line.section.clone(),
        countries: line.countries.clone(),
        tags: line.tags.clone(),
        author: line.author.clone(),
        source: line.source.clone().unwrap_or_else(|| "?".to_owned()),
        published_at: line.published_at,
        image_url: None,
        image_alt: None,
        image_credit: None,
        value: line.value,
        lifetime: line.lifetime,
        embargo_until: line.embargo_until,
        origin: "file".to_owned(),
        fingerprint: String::new(),
        first_seen_at: cut_off,
        updated_at: cut_off,
        retracted_at: None,
        retracted_why: None,
    }
}
