//! A stand-in until the verbs are there: only `squeezeflow demo`.

use squeezeflow::cli;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(version, about)]
enum Verb {
    /// Watch real text flow through Kafka and SqueezeBERT, on this machine, in seconds.
    Demo(cli::demo::Args),
}

#[allow(clippy::print_stderr)]
fn main() -> ExitCode {
    let Verb::Demo(args) = Verb::parse();
    match cli::demo::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("squeezeflow: {error}");
            ExitCode::FAILURE
        }
    }
}
