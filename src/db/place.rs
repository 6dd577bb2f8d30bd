//! Where a database's file stands: whose it is, who may read it, how much room there is, and on what kind of disk.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

/// A file and the folder around it, as the system tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What its mode lets anybody do, or that of the write-ahead log beside it.
    pub mode: u32,
    /// Whose it is.
    pub owner: u32,
    /// Whether this user may write to it and to its write-ahead log, and make that beside it.
    pub is_writable: bool,
    /// Whether every folder above it lets everybody through.
    pub is_reached: bool,
    /// How many bytes there is room for.
    pub free: u64,
    /// What kind of file system it is on, where that is known.
    pub file_system: Option<String>,
}

impl Place {
    /// Looks at a file; waits as long as its disk does.
    ///
    /// # Errors
    /// The system's.
    pub fn of(file: &Path) -> io::Result<Self> {
        let file = file.canonicalize()?;
        let meta = file.metadata()?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let room = statvfs(folder)?;
        // SQLite's own, which have the mode that the file had when they were made.
        let beside = ["-wal", "-shm"].map(|end| {
            let mut name = file.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        });
        let beside: Vec<(PathBuf, Metadata)> =
            beside.into_iter().filter_map(|file| file.metadata().ok().map(|meta| (file, meta))).collect();
        let is_closed = |folder: &Path| folder.metadata().is_ok_and(|meta| meta.mode() & 0o001 == 0);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Ok(Self {
            mode: beside.iter().fold(meta.mode(), |mode, (_, own)| mode | own.mode()) & 0o777,
            owner: meta.uid(),
            is_writable: access(&file, Access::WRITE_OK).is_ok()
                && beside.iter().all(|(file, _)| access(file, Access::WRITE_OK).is_ok())
                && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
            is_reached: !folder.ancestors().any(is_closed),
            free: room.f_bavail.saturating_mul(room.f_frsize),
            file_system: file_system(&mounts, &file),
        })
    }
}

/// The kind of the file system that holds this path: that of the longest mount point above it, the last where several
/// stand on one (proc(5), mountinfo).
fn file_system(mounts: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let point = left.split(' ').nth(4).unwrap_or_default().replace("\\040", " ");
        let kind = right.split(' ').next().unwrap_or_default();
        if path.starts_with(&point) && best.is_none_or(|(length, _)| point.len() >= length) {
            best = Some((point.len(), kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount_and_of_the_last_on_it() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      23 22 0:5 / /srv rw shared:1 - xfs /dev/sdb1 rw\n\
                      24 23 0:6 / /srv/far\\040away rw - nfs4 host:/x rw\n\
                      25 22 0:7 / /over rw - ext4 /dev/sdc1 rw\n\
                      26 22 0:8 / /over rw - cifs //host/x rw\n";
        for (path, kind) in [
            ("/var/lib/matinale.db", "ext4"),
            ("/srv/matinale.db", "xfs"),
            ("/srvs/matinale.db", "ext4"),
            ("/srv/far away/matinale.db", "nfs4"),
            ("/over/matinale.db", "cifs"),
        ] {
            assert_eq!(file_system(mounts, Path::new(path)).as_deref(), Some(kind), "{path}");
        }
        assert_eq!(file_system("", Path::new("/x")), None);
    }

    #[test]
    fn a_file_tells_its_mode_and_its_room() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        for mode in [0o600, 0o644] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let place = Place::of(file.path()).unwrap();
            assert_eq!((place.mode, place.is_writable, place.free > 0), (mode, true, true));
        }
        assert!(Place::of(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn a_log_that_is_open_counts_as_the_file_does_and_a_closed_folder_keeps_both() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.db");
        let modes = [(file.clone(), 0o600), (folder.path().join("m.db-wal"), 0o644)];
        for (file, mode) in modes {
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let place = Place::of(&file).unwrap();
        assert_eq!((place.mode, place.is_reached), (0o644, false));
    }
}
