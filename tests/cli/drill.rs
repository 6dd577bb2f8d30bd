//! What a drill does beside its stage: nothing.

use std::process::Command;

fn drill(arguments: &[&str], folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_matinale"));
    command.arg("drill").args(arguments).current_dir(folder.path());
    command
}

#[test]
fn p2_a_drill_leaves_the_house_alone_that_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real.db");
    let mut drill = drill(&["--kills", "1", "--deliveries", "200"], &folder);
    let ended = drill.env("MATINALE__DATABASE__URL", format!("sqlite:{}", real.display())).output().unwrap();
    assert!(!real.exists(), "a daemon of the drill opened the real database");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}
