//! How results look: aligned tables for people, JSON for machines.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation as _;

/// Nobody reads standard output any more; the database's own broken pipes are another matter.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the results any more")]
pub(super) struct Closed;

impl Closed {
    /// Whether this is why something could not be written.
    pub(super) fn is_behind(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(inner) if inner.is::<Self>())
    }
}

/// Standard output, whose broken pipe is known as such.
struct Results(io::Stdout);

impl Results {
    fn told(error: io::Error) -> io::Error {
        let closed = error.kind() == io::ErrorKind::BrokenPipe;
        if closed { io::Error::new(io::ErrorKind::BrokenPipe, Closed) } else { error }
    }
}

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(Self::told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(Self::told)
    }
}

/// Where a command's results go.
pub struct Out {
    writer: Box<dyn Write + Send>,
    /// Whether results are JSON.
    pub json: bool,
    colour: bool,
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Out {
    /// Standard output, buffered.
    pub fn stdout(json: bool) -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { writer: Box::new(io::BufWriter::new(Results(io::stdout()))), json, colour }
    }

    /// One line of text.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.writer, "{text}")
    }

    /// One JSON document on one line.
    pub fn json<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.writer, value)?;
        writeln!(self.writer)
    }

    /// Raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// A table, aligned.
    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        table.write(&mut self.writer, self.colour)
    }

    /// How wide a line may be: what `COLUMNS` says, eighty on any other terminal; as wide as it likes in a file.
    pub fn width(&self) -> Option<usize> {
        let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        said.or_else(|| io::stdout().is_terminal().then_some(80))
    }

    /// Everything is written.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Rows under headings, aligned; numbers to the right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|text| (*text).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells may not hold line breaks and tabs, which become spaces.
    pub fn row<S: AsRef<str>>(&mut self, cells: &[S]) {
        self.rows.push(cells.iter().map(|cell| cell.as_ref().replace(['\n', '\r', '\t'], " ")).collect());
    }

    /// How many columns a text takes.
    pub fn width(text: &str) -> usize {
        width(text)
    }

    /// A text of at most so many columns; what is cut ends in an ellipsis.
    pub fn cut(text: &str, columns: usize) -> String {
        if width(text) <= columns {
            return text.to_owned();
        }
        let kept: String = text.graphemes(true).take(columns.saturating_sub(1)).collect();
        format!("{}…", kept.trim_end())
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn write(&self, out: &mut dyn Write, colour: bool) -> io::Result<()> {
        let columns = self.head.len();
        let mut widths: Vec<usize> = self.head.iter().map(|text| width(text)).collect();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate().take(columns) {
                widths[column] = widths[column].max(width(cell));
            }
        }
        let numeric: Vec<bool> = (0..columns)
            .map(|column| {
                !self.rows.is_empty()
                    && self.rows.iter().all(|row| {
                        row.get(column).is_some_and(|cell| {
                            cell.is_empty()
                                || cell.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'+')
                        })
                    })
            })
            .collect();
        let line = |cells: &[String]| {
            let mut text = String::new();
            for (column, cell) in cells.iter().enumerate().take(columns) {
                if column > 0 {
                    text.push_str("  ");
                }
                let pad = " ".repeat(widths[column].saturating_sub(width(cell)));
                if numeric[column] {
                    text.push_str(&pad);
                    text.push_str(cell);
                } else {
                    text.push_str(cell);
                    text.push_str(&pad);
                }
            }
            text.trim_end().to_owned()
        };
        if self.head.iter().any(|text| !text.is_empty()) {
            let head = line(&self.head);
            if colour { writeln!(out, "\x1b[1m{head}\x1b[0m")? } else { writeln!(out, "{head}")? }
        }
        for row in &self.rows {
            writeln!(out, "{}", line(row))?;
        }
        Ok(())
    }
}

fn width(text: &str) -> usize {
    text.graphemes(true).count()
}

/// Says something on standard error.
pub(super) fn say(text: &str) {
    // Standard error may be closed; there is nobody to tell that.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Says on standard error what went wrong.
pub(super) fn complain(text: &str) {
    say(&format!("matinale: {text}"));
}
