//! The `unisono` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    unisono::cli::run()
}
