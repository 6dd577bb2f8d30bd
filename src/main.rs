//! The `matinale` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    matinale::cli::main()
}
