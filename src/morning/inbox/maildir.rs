//! A Maildir: each mail a file, written to `tmp` and moved to `new` when it is whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A Maildir; cheap to clone.
#[derive(Clone, Debug)]
pub struct Maildir {
    folder: PathBuf,
    next: Arc<AtomicU64>,
}

impl Maildir {
    /// Opens a Maildir, making its folders.
    pub fn open(folder: &Path) -> io::Result<Self> {
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let first = fs::read_dir(folder.join("new"))?.count() as u64;
        Ok(Self { folder: folder.to_owned(), next: Arc::new(AtomicU64::new(first)) })
    }

    /// Keeps a mail; it is on the disk when this returns.
    pub fn keep(&self, bytes: &[u8]) -> io::Result<()> {
        let name = format!("{:08}.mail", self.next.fetch_add(1, Ordering::SeqCst));
        let written = self.folder.join("tmp").join(&name);
        let mut file = File::create(&written)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(written, self.folder.join("new").join(name))
    }

    /// The names of the mails, in the order in which they came.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(self.folder.join("new"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// A mail's bytes; `None` where there is none of this name.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let plain = name.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'.')
            && !name.starts_with('.');
        if !plain {
            return Ok(None);
        }
        match fs::read(self.folder.join("new").join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
