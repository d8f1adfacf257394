//! `squeezeflow schema`: for editors and for those who make pipelines by program.

use super::{Exit, print};
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// That of a file with cases, which stands beside a pipeline file.
    #[arg(long)]
    tests: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let schema = if arguments.tests { config::cases_schema() } else { config::schema() };
    print(&format!("{schema:#}\n"))
}
