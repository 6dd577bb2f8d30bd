//! `init`: a commented configuration and the keys it needs, in a folder that has none yet.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_encoding::BASE32_NOPAD;

use super::{Context, Exit, Refusal};

const EXAMPLE: &str = include_str!("../../config/example.toml");

/// What `init` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write into; made where it is missing
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let dir = &args.dir;
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let file = dir.join("matinale.toml");
    let key = dir.join("secret.key");
    if file.exists() {
        return Err(Refusal(format!("{} is there already: nothing was changed", file.display())).into());
    }
    // A key that is there already signs links in mails that readers keep: it stays.
    let key_kept = key.exists();
    if !key_kept {
        write_new(&key, &format!("{}\n", BASE32_NOPAD.encode(&cx.random().bytes::<32>())), 0o600)?;
    }
    write_new(&file, EXAMPLE, 0o644)?;
    let mut out = cx.out();
    if cx.json {
        out.json(&serde_json::json!({ "config": file, "secret_key": key, "secret_key_kept": key_kept }))?;
    } else {
        out.line(&format!("Wrote {}", file.display()))?;
        out.line(&if key_kept {
            format!("Kept  {} (it signs links in mails already sent)", key.display())
        } else {
            format!("Wrote {} (keep a copy: it signs the unsubscribe links)", key.display())
        })?;
        out.line("")?;
        out.line("Next:")?;
        out.line(&format!(
            "  1. Say in {} who the newsletter is from and which relay takes its mail.",
            file.display()
        ))?;
        out.line(&format!("  2. matinale --config {} check", file.display()))?;
        out.line(&format!("  3. matinale --config {} migrate", file.display()))?;
        out.line(&format!("  4. matinale --config {} doctor", file.display()))?;
        out.line(&format!("  5. matinale --config {} serve", file.display()))?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(|| path.display().to_string())
}
