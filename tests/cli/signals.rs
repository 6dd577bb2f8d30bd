//! Signals that come before the daemon has begun to serve, and while a drill is under way.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::databases;

/// A signal's bit in the masks of `/proc/PID/status`.
const HANGUP: u64 = 1 << 0;
const TERMINATE: u64 = 1 << 14;

/// A daemon whose database is away, so that it does not get beyond opening it; `before` is what its shell does first.
fn waiting(folder: &tempfile::TempDir, before: &str) -> Child {
    use std::os::unix::fs::PermissionsExt as _;
    let key = folder.path().join("secret.key");
    std::fs::write(&key, "key\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[database]\nurl = \"postgres://matinale@127.0.0.1:1/none\"\n\
                [keys]\nsecret_file = \"secret.key\"\n";
    std::fs::write(folder.path().join("matinale.toml"), text).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before} exec \"$0\" serve"), env!("CARGO_BIN_EXE_matinale")]);
    shell.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// One of the masks of signals of a process.
fn mask(process: &Child, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap())
}

/// Waits until it listens to SIGTERM.
fn until_it_listens(process: &mut Child) {
    while mask(process, "SigCgt") & TERMINATE == 0 {
        assert_eq!(process.try_wait().unwrap(), None, "it ended, and had listened to no signal");
        std::thread::yield_now();
    }
}

fn send(signal: &str, process: &Child) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

#[test]
fn a_daemon_that_still_waits_for_its_database_ends_well_when_it_is_told_to_or_its_terminal_is_lost() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = waiting(&folder, "");
        until_it_listens(&mut daemon);
        send(signal, &daemon);
        assert_eq!(daemon.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_daemon_that_was_told_not_to_hear_that_its_terminal_is_lost_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = waiting(&folder, "trap '' HUP;");
    until_it_listens(&mut daemon);
    assert_eq!(mask(&daemon, "SigIgn") & HANGUP, HANGUP);
    assert_eq!(mask(&daemon, "SigCgt") & HANGUP, 0);
    send("-TERM", &daemon);
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}

/// The processes that were started with this folder in their command line.
fn started_with(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let line = std::fs::read(path.join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(folder).then(|| path.display().to_string())
    });
    processes.collect()
}

#[tokio::test]
async fn p2_a_drill_that_is_told_to_end_ends_its_daemons_and_leaves_nothing_behind() {
    let servers = [None, databases::postgres_url()];
    for (signal, postgres) in ["-TERM", "-INT"].into_iter().zip(servers) {
        let folder = tempfile::tempdir().unwrap();
        let mut drill = Command::new(env!("CARGO_BIN_EXE_matinale"));
        drill.args(["drill", "--kills", "1000", "--deliveries", "50000"]);
        if let Some(url) = &postgres {
            drill.args(["--daemons", "2", "--postgres", url]);
        }
        drill.env("TMPDIR", folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut drill = drill.spawn().unwrap();
        while started_with(folder.path()).is_empty() {
            assert_eq!(drill.try_wait().unwrap(), None, "{signal}: it ended by itself");
            std::thread::yield_now();
        }
        send(signal, &drill);
        assert_eq!(drill.wait().unwrap().code(), Some(3), "{signal}");
        assert_eq!(started_with(folder.path()), [""; 0], "{signal}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{signal}: {left:?}");
        if let Some(url) = postgres {
            assert_eq!(databases::stages(&url).await, 0, "{signal}");
        }
    }
}
