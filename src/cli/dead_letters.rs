//! `squeezeflow dead-letters list|replay PIPELINE`.

use std::io::{self, IsTerminal};
use std::time::SystemTime;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::runtime::Runtime;

use super::run::{self as worker, Signals};
use super::{Exit, PipelineArguments, fail, print};
use crate::config::{Loaded, Settings};
use crate::letters::{self, LettersError, Order, Progress, Selection, Timestamps};
use crate::record::{Offset, Reason};
use crate::shutdown::Shutdown;
use crate::telemetry::logs;

mod json;
mod table;
mod visible;

/// Redrawn this often at most.
const FRAMES_PER_SECOND: u8 = 5;
/// More than that nobody looks at.
const MAX_SAMPLES: i64 = 1000;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Count the dead letters of a pipeline, by reason and topic; show some.
    ///
    /// Reads the dead-letter topic from end to end. Joins no group and changes nothing.
    List {
        #[command(flatten)]
        pipeline: PipelineArguments,
        /// Show the newest N letters of each reason (all together in 64 MiB): where they came from, why
        /// they are here, the sizes of key and value, the names of the headers.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_SAMPLES))]
        samples: Option<u16>,
        /// Show the samples' keys, values and header values too.
        #[arg(long, requires = "samples")]
        show_payload: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        selection: SelectionArguments,
    },
    /// Send dead letters back to the topics they came from, each once.
    ///
    /// Every letter's record goes to its own topic and partition: key, value, headers and timestamp
    /// are what they were, and a header `__squeezeflow.replayed` names the letter. Without a selection
    /// that is every letter that was not replayed before. Each transaction leaves a marker in the
    /// dead-letter topic, so a replay can be stopped or killed at any point; run again, it goes on.
    Replay {
        #[command(flatten)]
        pipeline: PipelineArguments,
        /// Say what would go where, and what would stay and why; send nothing.
        #[arg(long)]
        dry_run: bool,
        /// Letters that were replayed before, too. With a time: only those that were not replayed
        /// since (as `--since`; to go on with a replay that was stopped, the time it names).
        #[arg(
            long,
            value_name = "TIME",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "0s",
            value_parser = moment
        )]
        again: Option<i64>,
        /// What becomes of the records' timestamps [default: they are kept, and a record stays where
        /// it is if its topic would delete it for its age].
        #[arg(long, value_name = "HOW")]
        timestamps: Option<TimestampsArgument>,
        #[command(flatten)]
        selection: SelectionArguments,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum TimestampsArgument {
    /// They are kept, whatever the topic does then.
    Keep,
    /// The time of the replay stands instead.
    Renew,
}

/// Which letters. Conditions of different kinds must all hold; of one that is repeated, any.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which letters (all conditions must hold)")]
struct SelectionArguments {
    /// With this reason code. May be repeated.
    #[arg(long = "reason", value_name = "REASON", value_parser = reasons())]
    reasons: Vec<Reason>,
    /// Whose records were read from this topic. May be repeated.
    #[arg(long = "source-topic", value_name = "TOPIC")]
    source_topics: Vec<String>,
    /// Written at this time or later: RFC 3339 (2026-01-31T08:00:00Z), or so long ago (30m, 2h, 7d).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Written before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// In this partition of the dead-letter topic.
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// From this offset of the partition on.
    #[arg(long, value_name = "N", requires = "partition", value_parser = clap::value_parser!(i64).range(0..i64::MAX))]
    from_offset: Option<i64>,
    /// Up to and with this offset of the partition.
    #[arg(long, value_name = "N", requires = "partition", value_parser = clap::value_parser!(i64).range(0..i64::MAX))]
    to_offset: Option<i64>,
}

impl SelectionArguments {
    fn selection(&self) -> Selection {
        Selection {
            reasons: self.reasons.clone(),
            source_topics: self.source_topics.clone(),
            since: self.since,
            until: self.until,
            partition: self.partition,
            from: self.from_offset.map(Offset::new),
            to: self.to_offset.map(Offset::new),
        }
    }
}

/// clap names the codes in its help and completions, and says which one was meant.
fn reasons() -> impl TypedValueParser<Value = Reason> {
    let known = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str));
    known.try_map(|code| Reason::ALL.into_iter().find(|r| r.as_str() == code).ok_or(NotAReason))
}

#[derive(Debug, thiserror::Error)]
#[error("is not a reason code")]
struct NotAReason;

#[derive(Debug, thiserror::Error)]
#[error("neither an RFC 3339 time such as 2026-01-31T08:00:00Z nor a duration such as 30m, 2h or 7d")]
struct NotAMoment;

fn moment(text: &str) -> Result<i64, NotAMoment> {
    letters::moment(text, letters::millis(SystemTime::now())).ok_or(NotAMoment)
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let done = match arguments.verb {
        Verb::List { pipeline, selection, samples, show_payload, json } => {
            let samples = samples.map_or(0, usize::from);
            list(&pipeline, &selection.selection(), samples, show_payload, json)
        }
        Verb::Replay { pipeline, selection, dry_run, again, timestamps } => {
            let timestamps = match timestamps {
                None => Timestamps::Safe,
                Some(TimestampsArgument::Keep) => Timestamps::Keep,
                Some(TimestampsArgument::Renew) => Timestamps::Renew,
            };
            let now = letters::millis(SystemTime::now());
            let order = Order { selection: selection.selection(), again, timestamps, now };
            replay(&pipeline, &order, dry_run)
        }
    };
    done.unwrap_or_else(|exit| exit)
}

fn list(
    pipeline: &PipelineArguments,
    selection: &Selection,
    samples: usize,
    payload: bool,
    json: bool,
) -> Result<Exit, Exit> {
    let (settings, _runtime) = start(pipeline)?;
    let bar = Bar::new();
    let survey = letters::list(&settings, selection, samples, payload, &mut |at| bar.show(at));
    bar.clear();
    let survey = survey.map_err(|e| told(&e))?;
    Ok(match json {
        true => print(&json::survey(&survey, payload)),
        false => print(&table::survey(&survey, payload)),
    })
}

fn replay(pipeline: &PipelineArguments, order: &Order, dry_run: bool) -> Result<Exit, Exit> {
    let (settings, runtime) = start(pipeline)?;
    let _context = runtime.enter();
    let (bar, stop) = (Bar::new(), Shutdown::new());
    let mut watch = |at| bar.show(at);
    let report = if dry_run {
        letters::plan(&settings, order, &stop, &mut watch)
    } else {
        let signals = Signals::install().map_err(|e| fail(&e, Exit::Failed))?;
        // Now: who is killed says nothing any more.
        if let Some(how) = how_to_go_on(order) {
            eprintln!("this sends again what was replayed before. Should it be cut short: {how}");
        }
        runtime.spawn(stop_on_signal(stop.clone(), signals));
        letters::replay(&settings, order, &stop, &mut watch)
    };
    bar.clear();
    let report = report.map_err(|e| {
        let exit = told(&e);
        if matches!(e, LettersError::After { .. } | LettersError::InDoubt { .. })
            && let Some(how) = how_to_go_on(order)
        {
            eprintln!("{how}");
        }
        exit
    })?;
    let printed = print(&if dry_run { table::plan(&report) } else { table::replayed(&report) });
    if report.stopped {
        eprintln!("stopped before its end: run it again, and it goes on");
        if let Some(how) = how_to_go_on(order) {
            eprintln!("{how}");
        }
        return Err(Exit::Stopped);
    }
    Ok(printed)
}

/// What was replayed before is no bar to `--again`: it must be told what it did itself.
fn how_to_go_on(order: &Order) -> Option<String> {
    order.again.map(|_| format!("to go on, write `--again={}`", letters::rfc3339(order.run())))
}

fn start(pipeline: &PipelineArguments) -> Result<(Settings, Runtime), Exit> {
    let Loaded { settings, .. } = pipeline.load_for_kafka()?;
    logs::init(&settings.log).map_err(|e| fail(&e, Exit::Usage))?;
    let runtime = worker::runtime().map_err(|e| fail(&e, Exit::Failed))?;
    Ok((settings, runtime))
}

fn told(error: &LettersError) -> Exit {
    fail(error, if matches!(error, LettersError::NoPartition { .. }) { Exit::Usage } else { Exit::Failed })
}

/// The first signal ends the replay after the transaction that is open, the second at once: then
/// the brokers give that one up.
async fn stop_on_signal(stop: Shutdown, mut signals: Signals) {
    signals.next().await;
    stop.request();
    signals.next().await;
    std::process::exit(Exit::Stopped as i32);
}

/// How far it has come, on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let target = ProgressDrawTarget::stderr_with_hz(FRAMES_PER_SECOND);
        let bar = ProgressBar::with_draw_target(Some(0), target);
        match ProgressStyle::with_template("{msg:9} {bar:30} {pos}/{len} eta {eta}") {
            Ok(style) => Self(bar.with_style(style)),
            Err(_) => Self(bar),
        }
    }

    fn show(&self, at: Progress) {
        if self.0.is_hidden() {
            return;
        }
        let (what, done, of) = match at {
            Progress::Reading { done, of } => ("reading", done, of),
            Progress::Replaying { done, of } => ("replaying", done, of),
        };
        if self.0.message() != what {
            self.0.set_message(what);
            self.0.reset();
        }
        self.0.set_length(of);
        self.0.set_position(done);
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_said_at_the_start_goes_on_with_the_very_same_run() {
        let first = Order { again: Some(moment("0s").unwrap()), now: 5, ..Order::default() };
        let how = how_to_go_on(&first).unwrap();
        let time = how.split_once("--again=").unwrap().1.trim_end_matches('`');
        let next = Order { again: Some(moment(time).unwrap()), now: 9, ..Order::default() };
        assert_eq!(next.run(), first.run(), "{how}");
        // Which goes on under the same time, however often.
        assert_eq!(how_to_go_on(&next).unwrap(), how);
        assert_eq!(how_to_go_on(&Order::default()), None, "the markers tell what was done");
    }
}
