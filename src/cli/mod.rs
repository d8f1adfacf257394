//! The command line, one file a verb. The only room that prints: results to standard output, all
//! else to standard error.
#![allow(clippy::print_stderr)]

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Loaded, Overrides, Problem};

mod build;
mod check;
mod completions;
mod connect;
mod dead_letters;
mod demo;
mod evaluate;
mod exit;
mod memory;
mod model;
mod package;
mod progress;
mod run;
mod schema;
mod silence;
mod tag;
mod test;
mod tune;

pub use exit::Exit;

/// Text records in, enriched records out: Kafka, SqueezeBERT on ONNX Runtime, Kafka.
#[derive(Debug, Parser)]
#[command(name = "squeezeflow", version, about, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read the input topics, tag every record, write the output topic, until SIGTERM.
    Run(run::Arguments),
    /// Say everything that is wrong with pipelines, without starting them.
    Check(check::Arguments),
    /// Print the JSON Schema of a pipeline file.
    Schema(schema::Arguments),
    /// Tag records from standard input, one a line, to standard output.
    Tag(tag::Arguments),
    /// Run the cases that stand in or beside a pipeline file: the real model, no broker.
    Test(test::Arguments),
    /// Measure this machine with a pipeline's own texts; find its best sessions, threads and batches.
    ///
    /// Several `results` are tuned together: one set of sessions and threads for all their models.
    Tune(tune::Arguments),
    /// Watch it work: an embedded broker, texts written for it, a live view.
    Demo(demo::Args),
    /// Look at the records that could not be enriched; send them back when what was wrong is mended.
    DeadLetters(dead_letters::Arguments),
    /// Build, look into and evaluate model packages.
    Model(model::Arguments),
    /// Print the completions of a shell.
    Completions(completions::Arguments),
}

/// A pipeline and what speaks over it: for the verbs that take one.
#[derive(Debug, Args)]
struct PipelineArguments {
    /// The pipeline file.
    #[arg(value_name = "PIPELINE", value_hint = clap::ValueHint::FilePath)]
    pipeline: PathBuf,
    #[command(flatten)]
    overrides: SetArguments,
}

#[derive(Debug, Args)]
struct SetArguments {
    /// Set one key, over file and environment: `--set batch.max_batch_size=32`. May be repeated.
    ///
    /// The environment speaks before it: SQUEEZEFLOW__BATCH__MAX_BATCH_SIZE=32.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
}

/// Runs the verb.
pub fn dispatch(cli: Cli) -> Exit {
    silence::no_telemetry();
    memory::bound_arenas();
    std::panic::set_hook(Box::new(report_panic));
    match cli.verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Schema(arguments) => schema::run(&arguments),
        Verb::Tag(arguments) => tag::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Tune(arguments) => tune::run(&arguments),
        Verb::Demo(arguments) => exit_of(demo::run(&arguments)),
        Verb::DeadLetters(arguments) => dead_letters::run(arguments),
        Verb::Model(arguments) => model::run(arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
    }
}

/// A panic's message can quote what was being worked on (a slice of a text, say), so only its place
/// is told.
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    // Not `eprintln`: where standard error is full or gone it would panic, and a panic here ends the
    // process by SIGABRT, without a word and with another exit code than ours.
    let _ = writeln!(std::io::stderr(), "{}", told_of(panic));
}

fn told_of(panic: &std::panic::PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let name = thread.name().unwrap_or("?");
    format!("error: thread `{name}` panicked at {place}; this is a defect, please report it")
}

impl PipelineArguments {
    /// The pipeline, its warnings printed; or its errors printed.
    fn load(&self) -> Result<Loaded, Exit> {
        let overrides = Overrides::from_process(self.overrides.set.clone());
        let loaded = config::load(&self.pipeline, &overrides).map_err(|e| {
            complain(&e.problems);
            Exit::Usage
        })?;
        complain(&loaded.warnings);
        Ok(loaded)
    }

    /// The same, with all that Kafka needs.
    fn load_for_kafka(&self) -> Result<Loaded, Exit> {
        let loaded = self.load()?;
        refuse_any(&loaded, config::require_kafka(&loaded.settings))?;
        Ok(loaded)
    }
}

/// Prints problems that were found after loading, and ends where there are any.
fn refuse_any(loaded: &Loaded, problems: Vec<Problem>) -> Result<(), Exit> {
    let problems: Vec<Problem> = problems.into_iter().map(|p| loaded.places.locate(p)).collect();
    complain(&problems);
    if problems.is_empty() { Ok(()) } else { Err(Exit::Usage) }
}

fn complain(problems: &[Problem]) {
    for problem in problems {
        eprintln!("{problem}\n");
    }
}

/// An error to standard error, with everything behind it.
fn exit_of<E: std::error::Error>(result: Result<(), E>) -> Exit {
    match result {
        Ok(()) => Exit::Ok,
        Err(error) => fail(&error, Exit::Failed),
    }
}

fn fail(error: &dyn std::error::Error, exit: Exit) -> Exit {
    // See `report_panic`.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    exit
}

/// To standard output. A reader that has gone away (`| head`) is no failure.
fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Ok,
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(e) => {
            eprintln!("error: standard output: {e}");
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_panic_tells_its_place_and_nothing_else() {
        let (to, told) = std::sync::mpsc::channel();
        let before = std::panic::take_hook();
        // Other tests may panic meanwhile, on purpose.
        std::panic::set_hook(Box::new(move |panic| {
            let _ = to.send(told_of(panic));
        }));
        let quotes = || {
            let text = String::from("plantedtext");
            text.parse::<u32>().unwrap_or_else(|_| panic!("the secret is {text}"));
        };
        let ended = std::thread::Builder::new().name("planted".into()).spawn(quotes).unwrap().join();
        std::panic::set_hook(before);
        assert!(ended.is_err());
        let told = told.into_iter().find(|told| told.contains("`planted`")).unwrap();
        assert!(told.contains("src/cli/mod.rs:") && !told.contains("plantedtext"), "{told}");
    }

    #[test]
    fn verbs_are_parsed() {
        for line in [
            "squeezeflow run p.yaml --set a.b=c --set d=e",
            "squeezeflow check a.yaml b.yaml --connect",
            "squeezeflow schema",
            "squeezeflow schema --tests",
            "squeezeflow tag p.yaml --dead-letters dead.jsonl",
            "squeezeflow test p.yaml --filter praise --update --set a.b=c",
            "squeezeflow tune p.yaml --p99 200ms --rate 500 --for 2m --write --json --set a.b=c",
            "squeezeflow tune p.yaml --texts -",
            "squeezeflow demo --keep --records 50 --plain",
            "squeezeflow dead-letters list p.yaml --reason text_empty --since 2h --samples 3 --show-payload --json",
            "squeezeflow dead-letters list p.yaml --partition 0 --from-offset 5 --to-offset 9 --source-topic a",
            "squeezeflow dead-letters replay p.yaml --reason text_empty --reason invalid_json --dry-run --set a.b=c",
            "squeezeflow dead-letters replay p.yaml --again --timestamps renew --until 2026-01-31T08:00:00Z",
            "squeezeflow dead-letters replay --again=2026-01-31T08:00:00Z p.yaml",
            "squeezeflow model inspect models/sentiment",
            "squeezeflow model verify models/sentiment",
            "squeezeflow model build c -o p --precision int8 --calibrate t --evaluate d.tsv --max-accuracy-loss 0.3",
            "squeezeflow model build c -o p --target tensorrt --name n --version 1.0.0",
            "squeezeflow model evaluate models/sentiment dev.tsv --write --json --dataset SST-2",
            "squeezeflow completions bash",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        for line in [
            "squeezeflow",
            "squeezeflow run",
            "squeezeflow check",
            "squeezeflow tune",
            "squeezeflow tune p.yaml --p99 soon",
            "squeezeflow tune p.yaml --p99 0ms",
            "squeezeflow tune p.yaml --rate 0",
            "squeezeflow tune p.yaml --for 100ms",
            "squeezeflow model verify",
            "squeezeflow model build c",
            "squeezeflow model build c -o p --max-accuracy-loss 1",
            "squeezeflow model evaluate p",
            "squeezeflow dead-letters p.yaml",
            "squeezeflow dead-letters list p.yaml --from-offset 5",
            "squeezeflow dead-letters list p.yaml --show-payload",
            "squeezeflow dead-letters list p.yaml --since yesterday",
            "squeezeflow dead-letters replay p.yaml --reason text_emtpy",
            "squeezeflow dead-letters replay p.yaml --partition -1",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
