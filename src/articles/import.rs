//! Files and standard input into the store.
//!
//! JSON Lines are read line by line, of any length of file; every other document is read whole, up to
//! [`MAX_BYTES`]. A refused article does not stop the rest, a file that fails whole does not stop the other files,
//! and what was imported once is unchanged the second time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use url::Url;

use super::draft::{Defaults, Draft, Refused};
use super::formats::{Format, Found, Place, decode, feed, page, plain, record};
use super::guard::guarded;
use super::ingest::{self, Tally, keep};
use crate::db::{self, Db};

/// The largest document that is read whole.
pub const MAX_BYTES: u64 = 64 << 20;
/// The longest line of JSON Lines; a longer one is refused and passed over without being held.
pub const MAX_LINE_BYTES: usize = 8 << 20;
/// Long work says how far it is, every so many lines.
const SAID_EVERY: usize = 20_000;
/// Lines parsed and kept together.
const LINES: usize = 200;

/// What the caller says of the documents.
#[derive(Clone, Debug, Default)]
pub struct Says {
    /// The link of the only article, or where a feed was read from.
    pub url: Option<Url>,
    /// The source of all articles.
    pub source: Option<String>,
    /// Their language where they do not say.
    pub language: Option<String>,
    /// What the documents are; by name and content otherwise.
    pub format: Option<Format>,
}

/// One article that was not kept.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// Where it stood.
    pub place: Place,
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// What became of one file.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name as given.
    pub file: String,
    /// What it was taken for, `RSS 2` or `JSON Lines`.
    pub format: Option<&'static str>,
    /// How many became what.
    #[serde(flatten)]
    pub tally: Tally,
    /// What was not kept, and why.
    pub refusals: Vec<Refusal>,
    /// Why nothing of it could be read.
    pub failed: Option<String>,
}

/// Imports a file.
pub async fn file(db: &Db, path: &Path, says: &Says, now: Timestamp) -> db::Result<Report> {
    let name = path.display().to_string();
    let opened = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() { Err(io::Error::other("is a folder")) } else { Ok(file) }
    });
    match opened {
        Ok(file) => read(db, name, Box::new(file), says, now).await,
        Err(error) => Ok(Importer::new(db, name, says, now).failed(error.to_string())),
    }
}

/// Imports what comes on standard input.
pub async fn stdin(db: &Db, says: &Says, now: Timestamp) -> db::Result<Report> {
    read(db, "-".to_owned(), Box::new(io::stdin()), says, now).await
}

/// Imports what a reader gives, under the name of a file.
pub async fn read(
    db: &Db,
    name: String,
    input: Box<dyn Read + Send>,
    says: &Says,
    now: Timestamp,
) -> db::Result<Report> {
    let format = says.format.or_else(|| Format::of_name(&name));
    let importer = Importer::new(db, name, says, now);
    let input: Input = BufReader::with_capacity(1 << 16, input);
    let (input, head) = match blocking(move || peek(input)).await {
        Ok(peeked) => peeked,
        Err(error) => return Ok(importer.failed(error.to_string())),
    };
    if let Some(what) = decode::binary(&head) {
        return Ok(importer.failed(what.to_owned()));
    }
    let wide = matches!(head.as_slice(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, ..] | [_, 0, ..]);
    let sniffed = || Format::of_text(&decode::decode(&head, None));
    if !wide && format.unwrap_or_else(sniffed) == Format::JsonLines {
        return importer.lines(input).await;
    }
    let bytes = match blocking(move || whole(input)).await {
        Ok(bytes) => bytes,
        Err(error) => return Ok(importer.failed(error.to_string())),
    };
    importer.document(bytes, format).await
}

type Input = BufReader<Box<dyn Read + Send>>;

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn peek(mut input: Input) -> io::Result<(Input, Vec<u8>)> {
    let head = input.fill_buf()?.to_vec();
    Ok((input, head))
}

fn whole(input: Input) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("is larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(bytes)
}

struct Importer<'a> {
    db: &'a Db,
    says: &'a Says,
    now: Timestamp,
    report: Report,
}

impl<'a> Importer<'a> {
    fn new(db: &'a Db, file: String, says: &'a Says, now: Timestamp) -> Self {
        let report =
            Report { file, format: None, tally: Tally::default(), refusals: Vec::new(), failed: None };
        Self { db, says, now, report }
    }

    fn failed(mut self, why: String) -> Report {
        self.report.failed = Some(why);
        self.report
    }

    async fn lines(mut self, mut input: Input) -> db::Result<Report> {
        self.report.format = Some(Format::JsonLines.name());
        let mut number = 0;
        loop {
            let (rest, lines) = match blocking(move || some_lines(input)).await {
                Ok(read) => read,
                Err(error) => return Ok(self.failed(format!("after line {number}: {error}"))),
            };
            input = rest;
            if lines.is_empty() {
                return Ok(self.report);
            }
            let first = number + 1;
            number += lines.len();
            if number / SAID_EVERY > first / SAID_EVERY {
                tracing::info!(file = %self.report.file, lines = number, "importing");
            }
            match guarded(move || objects(lines, first)).await {
                Ok(drafts) => self.keep(Found { drafts, ..Found::default() }).await?,
                Err(stopped) => self.report.refusals.push(Refusal {
                    place: Place::Line(first),
                    field: "line",
                    why: format!("and up to {} after it: {stopped}", LINES - 1),
                }),
            }
        }
    }

    async fn document(mut self, bytes: Vec<u8>, format: Option<Format>) -> db::Result<Report> {
        let base = self.says.url.clone();
        let parsed = guarded(move || parse(&bytes, format, base.as_ref())).await;
        match parsed {
            Ok((name, Ok(mut found))) => {
                self.report.format = Some(found.kind.unwrap_or(name));
                if found.kind.is_some() {
                    ingest::disbelieve_future(&mut found, self.now);
                }
                self.keep(found).await?;
                Ok(self.report)
            }
            Ok((name, Err(why))) => {
                self.report.format = Some(name);
                Ok(self.failed(why))
            }
            Err(stopped) => {
                self.report.format = format.map(Format::name);
                Ok(self.failed(stopped.to_string()))
            }
        }
    }

    async fn keep(&mut self, mut found: Found) -> db::Result<()> {
        let mut defaults =
            Defaults { base: self.says.url.clone().or(found.defaults.base.take()), ..found.defaults };
        if let Some(source) = &self.says.source {
            defaults.source = Some(source.clone());
        }
        defaults.language = defaults.language.or_else(|| self.says.language.clone());
        if let (Some(url), [(Place::Whole, Ok(draft))]) = (&self.says.url, found.drafts.as_mut_slice()) {
            draft.url = url.to_string();
        }
        let kept = keep(self.db, found.drafts, &defaults, "import", self.now).await?;
        self.report.tally = self.report.tally.plus(Tally::of(&kept));
        self.report.refusals.extend(kept.into_iter().filter_map(|one| {
            let refused = one.result.err()?;
            Some(Refusal { place: one.place, field: refused.field, why: refused.why })
        }));
        Ok(())
    }
}

/// Parses a document that is read whole; gives what it was taken for, too.
fn parse(bytes: &[u8], format: Option<Format>, base: Option<&Url>) -> (&'static str, Result<Found, String>) {
    let text = decode::decode(bytes, None);
    let format = format.unwrap_or_else(|| Format::of_text(&text));
    if text.trim().is_empty() {
        return (format.name(), Err("is empty".to_owned()));
    }
    // A byte that is no text in any encoding tells a program or a picture.
    if text.contains('\0') {
        return (format.name(), Err("is no text".to_owned()));
    }
    let found = match format {
        Format::Feed => feed::read(&text, base),
        Format::Html => Ok(page::read(&text, base)),
        Format::Text => Ok(plain::read(&text)),
        Format::JsonLines => Ok(lines_of(&text)),
        Format::Json => match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
            Ok(value) if record::is_json_feed(&value) => feed::read_json(&value, base),
            Ok(value) => record::objects(&value),
            // JSON Lines under another name.
            Err(_) if Format::of_text(&text) == Format::JsonLines => Ok(lines_of(&text)),
            Err(error) => Err(format!("is no JSON: {error}")),
        },
    };
    (format.name(), found)
}

fn lines_of(text: &str) -> Found {
    let lines = text.lines().map(|line| Line::Whole(line.as_bytes().to_vec())).collect();
    Found { drafts: objects(lines, 1), ..Found::default() }
}

fn objects(lines: Vec<Line>, first: usize) -> Vec<(Place, Result<Draft, Refused>)> {
    lines
        .into_iter()
        .enumerate()
        .filter_map(|(at, line)| {
            let draft = match line {
                Line::TooLong(bytes) => Err(Refused::new(
                    "line",
                    format!("is longer than {} MiB ({bytes} bytes)", MAX_LINE_BYTES >> 20),
                )),
                Line::Whole(bytes) => {
                    if bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii().is_empty() {
                        return None;
                    }
                    record::line(&bytes).and_then(|value| record::draft(&value))
                }
            };
            Some((Place::Line(first + at), draft))
        })
        .collect()
}

/// A line as it was read.
enum Line {
    Whole(Vec<u8>),
    /// So many bytes, none of them kept.
    TooLong(u64),
}

fn some_lines(mut input: Input) -> io::Result<(Input, Vec<Line>)> {
    let mut lines = Vec::new();
    let mut bytes = 0;
    while lines.len() < LINES && bytes < MAX_LINE_BYTES {
        match next_line(&mut input)? {
            None => break,
            Some(line) => {
                if let Line::Whole(line) = &line {
                    bytes += line.len();
                }
                lines.push(line);
            }
        }
    }
    Ok((input, lines))
}

fn next_line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let mut total = 0_u64;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        let end = buffer.iter().position(|b| *b == b'\n');
        let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        total += piece.len() as u64;
        if line.len() + piece.len() <= MAX_LINE_BYTES && total <= MAX_LINE_BYTES as u64 {
            line.extend_from_slice(piece);
        } else {
            line = Vec::new();
        }
        let consumed = piece.len() + usize::from(end.is_some());
        input.consume(consumed);
        if end.is_some() {
            return Ok(Some(if total > MAX_LINE_BYTES as u64 {
                Line::TooLong(total)
            } else {
                Line::Whole(line)
            }));
        }
    }
    match total {
        0 => Ok(None),
        total if total > MAX_LINE_BYTES as u64 => Ok(Some(Line::TooLong(total))),
        _ => Ok(Some(Line::Whole(line))),
    }
}

/// Parses a feed's answer, guarded; used by whoever fetched it.
///
/// # Errors
/// Why it holds no articles at all.
pub async fn parse_feed(
    bytes: Vec<u8>,
    content_type: Option<String>,
    base: Url,
    now: Timestamp,
) -> Result<Found, String> {
    let parsed = guarded(move || {
        let text = decode::decode(&bytes, content_type.as_deref());
        let head = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
        if head.starts_with('{') {
            let value = serde_json::from_str(head).map_err(|error| format!("is no JSON: {error}"))?;
            return feed::read_json(&value, Some(&base));
        }
        feed::read(&text, Some(&base))
    });
    let mut found = parsed.await.map_err(|stopped| stopped.to_string())??;
    ingest::disbelieve_future(&mut found, now);
    Ok(found)
}

/// A reader over bytes, for tests and for callers that have them.
pub fn bytes(bytes: Vec<u8>) -> Box<dyn Read + Send> {
    Box::new(Cursor::new(bytes))
}
