//! `squeezeflow model build|evaluate|inspect|verify`.

use std::io;
use std::path::PathBuf;

use super::package::{self, ModelCommandError};
use super::{Exit, build, evaluate, fail};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a package of a SqueezeBERT checkpoint, and verify it.
    Build(build::Arguments),
    /// Measure a package on labelled texts: accuracy, F1, a table by label.
    Evaluate(evaluate::Arguments),
    /// Say what a package is: name, digest, precision, labels, inputs.
    Inspect {
        #[command(flatten)]
        package: Package,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compare every file of a package with its manifest, and try the model.
    Verify {
        #[command(flatten)]
        package: Package,
        /// The ONNX Runtime library [default: ORT_DYLIB_PATH, or beside the program].
        #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
        library: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Package {
    /// The package's folder.
    #[arg(value_name = "PACKAGE", value_hint = clap::ValueHint::DirPath)]
    path: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let mut out = io::stdout();
    let result = match arguments.verb {
        Verb::Build(arguments) => return build::run(arguments),
        Verb::Evaluate(arguments) => return evaluate::run(&arguments),
        Verb::Inspect { package, json } => package::inspect(&package.path, json, &mut out),
        Verb::Verify { package, library } => package::verify(&package.path, library, &mut out),
    };
    match result {
        Ok(()) => Exit::Ok,
        // A reader that has gone away (`| head`) is no failure.
        Err(ModelCommandError::Write(e)) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error @ ModelCommandError::Model(_)) => fail(&error, Exit::Model),
        Err(error) => fail(&error, Exit::Failed),
    }
}
