//! `stories` and `pick`: the selection alone, on a file. They need no configuration.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};

use super::candidates::{self, Shown};
use super::{Context, Exit, Misuse, Table};
use crate::articles::formats::{html, record};
use crate::articles::{Article, ArticleId, Defaults, Refused};
use crate::selection::learning::Weights;
use crate::selection::words::Phrases;
use crate::selection::{self, Candidate, Ran, Settings, Standing, stories};

/// What `stories` takes.
#[derive(Debug, clap::Args)]
pub struct StoriesArgs {
    /// Articles, one JSON object a line, with an id of your own; - for standard input
    file: PathBuf,
}

/// What `pick` takes.
#[derive(Debug, clap::Args)]
pub struct PickArgs {
    /// Articles, one JSON object a line, with an id of your own; - for standard input
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

/// A date further ahead than this is a wrong one.
const AHEAD: SignedDuration = SignedDuration::from_hours(366 * 24);

/// One line: an article as the store would keep it, and what the caller calls it.
struct Line {
    id: serde_json::Value,
    article: Article,
}

/// Reads a file of JSON Lines, or standard input; what `article import` would refuse is refused here too, each line with
/// its number and field, and the rest is read on. Gives the lines, and whether one was refused.
fn read(path: &Path, now: Timestamp, cx: &Context) -> anyhow::Result<(Vec<Line>, bool)> {
    let (shown, input): (String, Box<dyn BufRead>) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), Box::new(std::io::stdin().lock()))
    } else {
        let shown = path.display().to_string();
        let file = File::open(path).with_context(|| shown.clone())?;
        (shown, Box::new(BufReader::new(file)))
    };
    let (mut lines, mut faults) = (Vec::new(), false);
    let mut known: HashMap<String, usize> = HashMap::new();
    for (bytes, number) in input.split(b'\n').zip(1..) {
        let bytes = bytes.with_context(|| format!("{shown}:{number}"))?;
        if bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii().is_empty() {
            continue;
        }
        let line = line(&bytes, lines.len(), now).and_then(|line| {
            // Two of one id could not be told apart in the answer.
            match known.insert(line.id.to_string(), number) {
                None => Ok(line),
                Some(first) => {
                    known.insert(line.id.to_string(), first);
                    Err(Refused::new("id", format!("{} stands on line {first} already", line.id)))
                }
            }
        });
        match line {
            Ok(line) => lines.push(line),
            Err(refused) => {
                faults = true;
                super::output::complain(&format!("{shown}:{number}: {refused}"));
            }
        }
    }
    if lines.is_empty() {
        cx.say(&format!("{shown}: no articles"));
    }
    Ok((lines, faults))
}

/// The article of one line; `at` is its place among them.
fn line(bytes: &[u8], at: usize, now: Timestamp) -> Result<Line, Refused> {
    let mut value = record::line(bytes)?;
    // Nothing further down is looked at; thousands of whole texts would be cleaned and held for nothing.
    if let Some(serde_json::Value::String(body)) = value.get_mut("body")
        && !html::looks_like_markup(body)
    {
        body.truncate(selection::head(body).len());
    }
    let mut draft = record::draft(&value)?;
    let id = match value.get("id") {
        Some(id) if id.is_string() || id.is_number() => id.clone(),
        Some(serde_json::Value::Null) | None => return Err(Refused::new("id", "is missing")),
        Some(_) => return Err(Refused::new("id", "must be a text or a number")),
    };
    // A file may tell of another day than today, of a later one too; but one wrong year would make all others old.
    if let Some(at) = draft.published_at.filter(|at| at.duration_since(now) > AHEAD) {
        return Err(Refused::new("published_at", format!("lies more than a year ahead, found {at}")));
    }
    draft.body = draft.body.map(|body| selection::head(&body).to_owned());
    let mut article = draft.check(&Defaults::default())?.article("file", now);
    if !article.summary.is_empty() {
        // Nor anything of it beside a standfirst.
        article.body = String::new();
    }
    Ok(Line { id, article: Article { id: ArticleId(i64::try_from(at).unwrap_or(i64::MAX)), ..article } })
}

/// The cut-off where none was asked for: the newest article's date, or now. What bears no date came in then.
fn newest(lines: &[Line], now: Timestamp) -> Timestamp {
    lines.iter().filter_map(|line| line.article.published_at).max().unwrap_or(now)
}

fn exit(faults: bool) -> Exit {
    if faults { Exit::Failed } else { Exit::Done }
}

pub(super) fn stories(args: &StoriesArgs, cx: &Context) -> anyhow::Result<Exit> {
    let now = cx.clock().now();
    let (lines, faults) = read(&args.file, now, cx)?;
    let newest = newest(&lines, now);
    let pieces: Vec<stories::Piece<'_>> = lines
        .iter()
        .map(|Line { article, .. }| stories::Piece {
            key: &article.url,
            title: &article.title,
            lead: selection::lead(article),
            language: article.language.as_deref(),
            at: article.published_at.unwrap_or(newest).as_millisecond(),
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
            table.row(&[plain(&line.id), story, mark.to_owned(), line.article.title.clone()]);
        }
    }
    if !cx.json {
        out.table(&table)?;
    }
    out.finish()?;
    Ok(exit(faults))
}

pub(super) fn pick(args: &PickArgs, cx: &Context) -> anyhow::Result<Exit> {
    let now = cx.clock().now();
    // Who asks for a later morning means the dates up to it.
    let (lines, faults) = read(&args.file, args.at.map_or(now, |at| at.max(now)), cx)?;
    let cut_off = args.at.unwrap_or_else(|| newest(&lines, now));
    let (ids, articles): (Vec<serde_json::Value>, Vec<Article>) = lines
        .into_iter()
        .map(|Line { id, article }| (id, Article { first_seen_at: cut_off, updated_at: cut_off, ..article }))
        .unzip();
    let settings = settings(args, cx)?;
    let proposal = selection::propose(&articles, &[] as &[Ran], &Standing::default(), &settings, cut_off);
    let mut out = cx.out();
    let line_of =
        |candidate: &Candidate| usize::try_from(candidate.article.0).ok().and_then(|at| ids.get(at));
    if !cx.json {
        let id = |candidate: &Candidate| line_of(candidate).map(plain).unwrap_or_default();
        let shown = Shown { phrases: Phrases::of(&settings.language), id: &id, width: out.width() };
        if args.explain {
            candidates::explain(&shown, &proposal, &mut out)?;
        } else {
            shown.chosen(&proposal, &mut out)?;
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
    // Lines for a program have no place for it.
    for words in proposal.relaxed.iter().map(|relaxed| &relaxed.words).chain(&proposal.short) {
        cx.say(&format!("! {words}"));
    }
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
