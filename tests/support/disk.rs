//! A disk so small that it can be filled: a file system in memory of its own, where this process may mount one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SIZE: &str = "size=24m";

/// Mounted for as long as it lives.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where nothing may be mounted.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        done.is_ok_and(|done| done.success()).then_some(Self { folder })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Not a byte is left.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        for size in [1 << 20, 4096, 1] {
            let piece = vec![b'x'; size];
            while file.write_all(&piece).is_ok() {}
        }
    }

    /// There is room again.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the database's connections may still be closing their files.
        let gone = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        assert!(gone.is_ok_and(|gone| gone.success()) || std::thread::panicking());
    }
}
