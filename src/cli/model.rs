//! `squeezeflow model inspect|verify PACKAGE`.

use std::path::PathBuf;

use super::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say what a package is: name, digest, precision, labels, inputs.
    Inspect(Package),
    /// Compare every file of a package with its manifest, and try the model.
    Verify(Package),
}

#[derive(Debug, clap::Args)]
struct Package {
    /// The package's folder.
    #[arg(value_name = "PACKAGE", value_hint = clap::ValueHint::DirPath)]
    path: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let (verb, package) = match &arguments.verb {
        Verb::Inspect(package) => ("inspect", package),
        Verb::Verify(package) => ("verify", package),
    };
    eprintln!("error: `model {verb} {}` is not wired yet", package.path.display());
    Exit::Failed
}
