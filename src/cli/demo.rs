//! `squeezeflow demo`.

use std::num::NonZeroUsize;

use super::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Go on serving when the texts are through, and say how to produce more.
    #[arg(long)]
    keep: bool,
    /// How many texts.
    #[arg(long, value_name = "N", default_value = "400")]
    records: NonZeroUsize,
    /// Plain lines instead of the live view; so it is without a terminal.
    #[arg(long)]
    plain: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    eprintln!("error: `demo` is not wired yet: {arguments:?}");
    Exit::Failed
}
