//! Subscribers from a CSV file: each line is checked alone, a bad one is told with its number and stops nothing.
//!
//! The file is read record by record in bounded memory, however long a line is. What the file says of consent is
//! kept with it. Nobody who said goodbye, was erased or is suppressed comes back this way (P4).

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io::{BufRead, Read as _};

use jiff::Timestamp;
use serde::Serialize;

use super::links::Links;
use super::store::{self, Change, NewSubscriber, NewSubscription};
use super::{Address, Status, SubscriberId};
use crate::clock::time_zone;
use crate::config::values;
use crate::db::{Conn, Db};

/// No line of a person is longer.
const LONGEST_RECORD: usize = 64 * 1024;
/// A quoted field goes on for at most so many lines.
const LONGEST_FIELD: usize = 20;
/// Records in one transaction: short enough that nobody else waits long for the writer.
const BATCH: usize = 2000;

/// A line that was not taken.
#[derive(Clone, Debug, Serialize)]
pub struct Reject {
    /// Its number in the file, 1 for the header.
    pub line: u64,
    /// Why.
    pub reason: String,
    /// What it said, cut where it is very long.
    pub text: String,
}

/// What became of a file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// People not known before.
    pub new: u64,
    /// People about whom something is different now.
    pub updated: u64,
    /// People about whom nothing is.
    pub unchanged: u64,
    /// Lines that were not taken.
    pub refused: u64,
}

/// How a file is to be read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The newsletters that exist.
    pub newsletters: BTreeSet<String>,
    /// For which newsletter lines are that do not say.
    pub newsletter: Option<String>,
    /// The words that the readers agreed to.
    pub consent: Option<String>,
}

/// Why a file cannot be read at all; nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The store; what came before is kept, and the same file may be imported again.
    #[error(transparent)]
    Db(#[from] crate::db::Error),
    /// Another encoding.
    #[error("line 1: the file is UTF-16; save it as UTF-8 and import it again")]
    Utf16,
    /// No header, or not this one.
    #[error("line 1: {0}")]
    Header(String),
}

const COLUMNS: [&str; 9] = [
    "email",
    "name",
    "language",
    "timezone",
    "send_at",
    "newsletters",
    "status",
    "consented_at",
    "consent_source",
];

struct Header {
    separator: u8,
    /// Which column each field is.
    columns: Vec<&'static str>,
}

/// One line, checked.
struct Line {
    number: u64,
    text: String,
    person: NewSubscriber,
    newsletters: Vec<String>,
    status: Status,
    consented_at: Option<String>,
    consent_source: Option<String>,
}

/// Takes a file's people in; rejected lines go to `reject` one by one, and people about whom something is different to
/// `changed`, in the transaction that keeps it.
pub async fn import(
    db: &Db,
    links: &Links,
    reader: impl BufRead,
    options: &Options,
    now: Timestamp,
    mut reject: impl FnMut(&Reject) -> std::io::Result<()>,
    changed: impl AsyncFn(&mut Conn, &[SubscriberId]) -> crate::db::Result<()>,
) -> Result<Summary, Unreadable> {
    let mut records = Records::new(reader)?;
    let header = match records.next()? {
        None => {
            return Err(Unreadable::Header("the file is empty; its first line names the columns".to_owned()));
        }
        Some((_, Err(reason))) => return Err(Unreadable::Header(reason)),
        Some((_, Ok(record))) => header(&record).map_err(Unreadable::Header)?,
    };
    let mut summary = Summary::default();
    let mut batch = Vec::new();
    let mut seen = HashSet::new();
    let mut in_batch: HashSet<String> = HashSet::new();
    loop {
        let record = records.next()?;
        let over = record.is_none();
        if let Some((number, record)) = record {
            let text = record
                .as_ref()
                .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(bytes).into_owned());
            if text.trim().is_empty() && record.is_ok() {
                continue;
            }
            let line = record.and_then(|bytes| check(number, &bytes, &header, links, options));
            let line = line.and_then(|line| {
                let wish = (line.person.key_hash.clone(), line.status.as_str(), line.newsletters.clone());
                if seen.insert(wish) { Ok(line) } else { Err("stands in the file before".to_owned()) }
            });
            match line {
                Ok(line) => {
                    // One person twice (a line for each status, as the export has it): one after the other.
                    if !in_batch.insert(line.person.key.clone()) {
                        take(
                            db,
                            std::mem::take(&mut batch),
                            options,
                            now,
                            &mut summary,
                            (&mut reject, &changed),
                        )
                        .await?;
                        in_batch = HashSet::from([line.person.key.clone()]);
                    }
                    batch.push(line);
                }
                Err(reason) => {
                    summary.refused += 1;
                    reject(&Reject { line: number, reason, text: cut(&text) })?;
                }
            }
        }
        if batch.len() >= BATCH || (over && !batch.is_empty()) {
            take(db, std::mem::take(&mut batch), options, now, &mut summary, (&mut reject, &changed)).await?;
            in_batch.clear();
        }
        if over {
            return Ok(summary);
        }
    }
}

async fn take(
    db: &Db,
    batch: Vec<Line>,
    options: &Options,
    now: Timestamp,
    summary: &mut Summary,
    (reject, changed): (
        &mut impl FnMut(&Reject) -> std::io::Result<()>,
        &impl AsyncFn(&mut Conn, &[SubscriberId]) -> crate::db::Result<()>,
    ),
) -> Result<(), Unreadable> {
    let mut tx = db.write().await?;
    let people: Vec<NewSubscriber> = batch.iter().map(|line| line.person.clone()).collect();
    let suppressed = store::suppressed(&mut tx, &people).await?;
    let mut refused = Vec::new();
    let (taken, away): (Vec<Line>, Vec<Line>) =
        batch.into_iter().partition(|line| !suppressed.contains(&line.person.key_hash));
    refused.extend(
        away.into_iter()
            .map(|line| (line, "is suppressed: nobody is added again who must not be written to")),
    );
    let people: Vec<NewSubscriber> = taken.iter().map(|line| line.person.clone()).collect();
    let changes = store::upsert(&mut tx, &people, now).await?;
    let mut wishes = Vec::new();
    for line in &taken {
        let Some((id, _)) = changes.get(&line.person.key) else { continue };
        for newsletter in &line.newsletters {
            wishes.push(NewSubscription {
                subscriber: id.0,
                newsletter: newsletter.clone(),
                status: line.status.as_str(),
                consented_at: line.consented_at.clone(),
                consent_source: line.consent_source.clone(),
                consent_text: options.consent.clone(),
            });
        }
    }
    let standing = store::standing(&mut tx, &wishes).await?;
    store::subscribe(&mut tx, &wishes, now).await?;
    let updated = changes.values().filter(|(_, change)| *change == Change::Updated).map(|(id, _)| *id);
    changed(&mut tx, &updated.collect::<Vec<_>>()).await?;
    tx.commit().await?;
    for line in taken {
        let Some((id, change)) = changes.get(&line.person.key).copied() else { continue };
        let before = |newsletter: &String| standing.get(&(id.0, newsletter.clone())).map(String::as_str);
        let ended = line.newsletters.iter().any(|newsletter| before(newsletter) == Some("ended"));
        if ended && line.status != Status::Ended {
            refused.push((line, "has said goodbye: only the reader can come back"));
            continue;
        }
        let wish_differs =
            line.newsletters.iter().any(|newsletter| before(newsletter) != Some(line.status.as_str()));
        match change {
            Change::New => summary.new += 1,
            Change::Unchanged if !wish_differs => summary.unchanged += 1,
            Change::Updated | Change::Unchanged => summary.updated += 1,
        }
    }
    for (line, reason) in refused {
        summary.refused += 1;
        reject(&Reject { line: line.number, reason: reason.to_owned(), text: cut(&line.text) })?;
    }
    Ok(())
}

fn header(record: &[u8]) -> Result<Header, String> {
    let text = std::str::from_utf8(record).map_err(|_| "is not UTF-8 text".to_owned())?;
    let separator = if text.matches(';').count() > text.matches(',').count() { b';' } else { b',' };
    let mut columns = Vec::new();
    for name in fields(record, separator)? {
        let name = name.trim().to_ascii_lowercase();
        match COLUMNS.iter().find(|known| **known == name) {
            Some(known) if columns.contains(known) => {
                return Err(format!("the column {name:?} stands twice"));
            }
            Some(known) => columns.push(*known),
            None => return Err(format!("unknown column {name:?}; known: {}", COLUMNS.join(", "))),
        }
    }
    if !columns.contains(&"email") {
        return Err("there is no column email".to_owned());
    }
    Ok(Header { separator, columns })
}

fn fields(record: &[u8], separator: u8) -> Result<Vec<String>, String> {
    if record.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err("a quote is opened and never closed".to_owned());
    }
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(record);
    let mut out = csv::StringRecord::new();
    match reader.read_record(&mut out) {
        Ok(_) => Ok(out.iter().map(str::to_owned).collect()),
        Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
            Err("is not UTF-8 text".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn check(
    number: u64,
    record: &[u8],
    header: &Header,
    links: &Links,
    options: &Options,
) -> Result<Line, String> {
    let values = fields(record, header.separator)?;
    if values.len() != header.columns.len() {
        return Err(format!("has {} fields, the header {}", values.len(), header.columns.len()));
    }
    let row: HashMap<&str, &str> = header
        .columns
        .iter()
        .copied()
        .zip(values.iter().map(|value| value.trim()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let email = row.get("email").ok_or("email: is empty")?;
    let address: Address = email.parse().map_err(|error| format!("email: {error}"))?;
    let text = |column: &str| -> Result<Option<String>, String> {
        match row.get(column) {
            Some(value) if value.chars().any(char::is_control) => {
                Err(format!("{column}: holds control characters"))
            }
            Some(value) if value.len() > 1000 => Err(format!("{column}: is too long")),
            value => Ok(value.map(|value| (*value).to_owned())),
        }
    };
    let timezone = row
        .get("timezone")
        .map(|name| {
            time_zone(name)
                .and_then(|zone| zone.iana_name().map(str::to_owned))
                .ok_or_else(|| format!("timezone: {name:?} is no time zone such as Africa/Abidjan"))
        })
        .transpose()?;
    let send_at = row
        .get("send_at")
        .map(|hour| {
            values::time_of_day(hour)
                .map(|time| time.strftime("%H:%M").to_string())
                .map_err(|error| format!("send_at: {error}"))
        })
        .transpose()?;
    let language = row
        .get("language")
        .map(|code| {
            let code = code.to_ascii_lowercase();
            let good =
                (2..=8).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if good { Ok(code) } else { Err(format!("language: {code:?} is no language such as fr")) }
        })
        .transpose()?;
    let newsletters: Vec<String> = match row.get("newsletters") {
        Some(list) => list.split(';').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect(),
        None => options.newsletter.iter().cloned().collect(),
    };
    if newsletters.is_empty() {
        return Err("newsletters: is empty, and --newsletter names none".to_owned());
    }
    if let Some(unknown) = newsletters.iter().find(|id| !options.newsletters.contains(*id)) {
        return Err(format!("newsletters: there is no newsletter {unknown:?}"));
    }
    let status = match row.get("status").map(|status| status.to_ascii_lowercase()).as_deref() {
        None | Some("active" | "confirmed" | "subscribed" | "enabled") => Status::Active,
        Some("pending" | "unconfirmed") => Status::Pending,
        Some("ended" | "unsubscribed") => Status::Ended,
        Some(other) => return Err(format!("status: {other:?} is none of active, pending, ended")),
    };
    Ok(Line {
        number,
        text: String::from_utf8_lossy(record).into_owned(),
        person: NewSubscriber {
            key: address.key().to_owned(),
            key_hash: links.key_hash(address.key()),
            address: address.as_str().to_owned(),
            name: text("name")?,
            language,
            timezone,
            send_at,
        },
        newsletters,
        status,
        consented_at: text("consented_at")?,
        consent_source: text("consent_source")?,
    })
}

fn cut(text: &str) -> String {
    text.trim_end().chars().take(500).collect()
}

/// The records of a file with the numbers of their first lines, in bounded memory.
struct Records<R> {
    reader: R,
    line: u64,
    /// Lines read ahead for a quote that was never closed: they are records of their own.
    ahead: VecDeque<Result<Vec<u8>, String>>,
}

type Record = (u64, Result<Vec<u8>, String>);

impl<R: BufRead> Records<R> {
    fn new(mut reader: R) -> Result<Self, Unreadable> {
        let start = reader.fill_buf()?;
        if start.starts_with(&[0xFF, 0xFE])
            || start.starts_with(&[0xFE, 0xFF])
            || start.iter().take(4).any(|b| *b == 0)
        {
            return Err(Unreadable::Utf16);
        }
        let mark = if start.starts_with(&[0xEF, 0xBB, 0xBF]) { 3 } else { 0 };
        reader.consume(mark);
        Ok(Self { reader, line: 0, ahead: VecDeque::new() })
    }

    /// The next record: up to a line break outside quotes. Where a quote is never closed, its line alone is bad.
    fn next(&mut self) -> std::io::Result<Option<Record>> {
        let Some(line) = self.read_line()? else { return Ok(None) };
        self.line += 1;
        let first = self.line;
        let mut record = match line {
            Ok(line) => line,
            Err(reason) => return Ok(Some((first, Err(reason)))),
        };
        let open = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        let mut read: Vec<Result<Vec<u8>, String>> = Vec::new();
        while open(&record) {
            let next = if read.len() < LONGEST_FIELD { self.read_line()? } else { None };
            if let Some(Ok(line)) = next {
                record.extend_from_slice(&line);
                read.push(Ok(line));
            } else {
                // What was read ahead stands for itself, a line that is too long among it.
                read.extend(next);
                for line in read.into_iter().rev() {
                    self.ahead.push_front(line);
                }
                return Ok(Some((first, Err("a quote is opened and never closed".to_owned()))));
            }
        }
        self.line += read.len() as u64;
        Ok(Some((first, Ok(record))))
    }

    fn read_line(&mut self) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
        if let Some(line) = self.ahead.pop_front() {
            return Ok(Some(line));
        }
        let mut line = Vec::new();
        let read = (&mut self.reader).take(LONGEST_RECORD as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.len() >= LONGEST_RECORD && !line.ends_with(b"\n") {
            self.skip_line()?;
            return Ok(Some(Err(format!("is longer than {} KiB", LONGEST_RECORD / 1024))));
        }
        Ok(Some(Ok(line)))
    }

    fn skip_line(&mut self) -> std::io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            if let Some(at) = buffer.iter().position(|byte| *byte == b'\n') {
                self.reader.consume(at + 1);
                return Ok(());
            }
            let length = buffer.len();
            self.reader.consume(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bytes: &[u8]) -> Vec<(u64, Result<String, String>)> {
        let mut records = Records::new(std::io::BufReader::with_capacity(1024, bytes)).unwrap();
        let mut out = Vec::new();
        while let Some((line, record)) = records.next().unwrap() {
            out.push((line, record.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned())));
        }
        out
    }

    #[test]
    fn p10_a_quoted_line_break_is_one_record_and_an_endless_line_is_one_refusal() {
        let mut file = b"email,name\r\na@example.org,\"two\nlines\"\n".to_vec();
        file.extend(std::iter::repeat_n(b'x', 300_000));
        file.extend_from_slice(b"\nb@example.org,B");
        let records = records(&file);
        assert_eq!(records[1], (2, Ok("a@example.org,\"two\nlines\"".to_owned())));
        assert_eq!(records[2], (4, Err("is longer than 64 KiB".to_owned())));
        assert_eq!(records[3], (5, Ok("b@example.org,B".to_owned())));
    }

    #[test]
    fn p10_a_quote_that_is_never_closed_spoils_its_own_line_only() {
        let records = records(b"email\n\"a@example.org\nb@example.org\nc@example.org\n");
        assert_eq!(records[1], (2, Err("a quote is opened and never closed".to_owned())));
        assert_eq!(records[2], (3, Ok("b@example.org".to_owned())));
        assert_eq!(records[3], (4, Ok("c@example.org".to_owned())));
    }

    #[test]
    fn p10_a_line_that_is_too_long_behind_an_open_quote_is_told_too() {
        let mut file = b"email\n\"a@example.org\n".to_vec();
        file.extend(std::iter::repeat_n(b'x', 100_000));
        file.extend_from_slice(b"\nb@example.org\n");
        let records = records(&file);
        assert_eq!(records[1], (2, Err("a quote is opened and never closed".to_owned())));
        assert_eq!(records[2], (3, Err("is longer than 64 KiB".to_owned())));
        assert_eq!(records[3], (4, Ok("b@example.org".to_owned())));
    }

    #[test]
    fn p10_utf16_is_told_as_such() {
        assert!(matches!(Records::new(&[0xFF, 0xFE, b'e', 0][..]), Err(Unreadable::Utf16)));
    }
}
