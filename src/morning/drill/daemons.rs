//! The drill's daemons: processes of their own, which hear of nothing but the drill's configuration.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::Drill;
use crate::morning::stage::{self, Stage};
use crate::morning::{Error, Result};

/// One daemon, alive.
pub(super) struct Daemon {
    pub(super) child: Child,
    pub(super) pid: i64,
    /// Which of those that run side by side: one that is started again is on the same host.
    pub(super) place: u32,
}

impl Daemon {
    /// Starts one. Each is a host of its own when there are several, so that nobody can look whether its process lives, and
    /// its lease is all that tells.
    pub(super) fn start(drill: &Drill, stage: &Stage, place: u32) -> Result<Self> {
        let variables = std::env::vars_os().map(|(name, _)| name);
        let mut command = command(drill, &stage.file, place, variables);
        let child = command
            .stderr(append(&log(stage))?)
            .spawn()
            .map_err(|error| Error::Start(format!("{}: {error}", drill.program.display())))?;
        let pid = i64::from(child.id().unwrap_or(0));
        Ok(Self { child, pid, place })
    }
}

/// Where all of them complain.
pub(super) fn log(stage: &Stage) -> std::path::PathBuf {
    stage.folder().join("daemons.log")
}

fn command(drill: &Drill, file: &Path, place: u32, variables: impl IntoIterator<Item = OsString>) -> Command {
    let mut command = Command::new(&drill.program);
    for name in variables.into_iter().filter(|name| stage::is_operators(name)) {
        command.env_remove(name);
    }
    command
        .arg("--config")
        .arg(file)
        .args(["serve", "--only", "send"])
        .env("MATINALE__LOG__LEVEL", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // A terminal's signal is the drill's alone: it ends them, and none of them ends by itself.
        .process_group(0)
        .kill_on_drop(true);
    if drill.daemons > 1 {
        command.env("MATINALE__DELIVERY__HOST", format!("drill-{place}"));
    }
    command
}

fn append(path: &Path) -> Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| Error::Start(format!("{}: {error}", path.display())))
}

/// The kernel's signals by the shell's own command: sending them ourselves would need unsafe code.
pub(super) async fn signal(pid: i64, name: &str) -> Result<()> {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .await
        .map_err(|error| Error::Start(format!("kill: {error}")))?;
    if status.success() { Ok(()) } else { Err(Error::Start(format!("a daemon ended by itself (pid {pid})"))) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn p2_a_drills_daemons_hear_nothing_of_what_the_operator_set() {
        let drill = Drill {
            program: "matinale".into(),
            postgres: None,
            kills: 1,
            deliveries: 20,
            daemons: 3,
            connections: 2,
            lease: Duration::from_secs(60),
            bytes: 2_000,
        };
        let set = [
            "MATINALE__DATABASE__URL",
            "MATINALE__RELAY__SINK__URL",
            "MATINALE__LOG__LEVEL",
            "MATINALE_OTHER",
            "RUST_LOG",
            "PATH",
        ];
        let command = command(&drill, Path::new("stage.toml"), 2, set.map(OsString::from));
        let heard: BTreeMap<&str, Option<&str>> = command
            .as_std()
            .get_envs()
            .map(|(name, value)| (name.to_str().unwrap(), value.map(|value| value.to_str().unwrap())))
            .collect();
        let expected = [
            ("MATINALE_OTHER", None),
            ("MATINALE__DATABASE__URL", None),
            ("MATINALE__DELIVERY__HOST", Some("drill-2")),
            ("MATINALE__LOG__LEVEL", Some("error")),
            ("MATINALE__RELAY__SINK__URL", None),
        ];
        assert_eq!(heard.into_iter().collect::<Vec<_>>(), expected);
    }
}
