//! `squeezeflow tag PIPELINE < in.jsonl > out.jsonl`.

use std::path::PathBuf;

use super::{Exit, PipelineArguments};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pipeline: PipelineArguments,
    /// Write what cannot be tagged to this file, one JSON object a line, instead of to standard error.
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    dead_letters: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match arguments.pipeline.load() {
        Ok(_) => {
            let to =
                arguments.dead_letters.as_ref().map_or("standard error".into(), |p| p.display().to_string());
            eprintln!("error: `tag` (dead letters to {to}) is not wired yet");
            Exit::Failed
        }
        Err(exit) => exit,
    }
}
