//! `squeezeflow run PIPELINE`.

use super::{Exit, PipelineArguments};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pipeline: PipelineArguments,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match arguments.pipeline.load_for_kafka() {
        Ok(_) => {
            eprintln!("error: `run` is not wired yet");
            Exit::Failed
        }
        Err(exit) => exit,
    }
}
