//! The program: parse, dispatch, exit code. The verbs are in `cli/`.

use std::process::ExitCode;

use clap::Parser;
use squeezeflow::cli::{self, Cli};

fn main() -> ExitCode {
    cli::dispatch(Cli::parse()).into()
}
