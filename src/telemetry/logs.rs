//! Where log lines go (standard error) and in which shape. No log line holds payload text or a
//! secret; that is kept where they are written.

use std::io::IsTerminal;

use rdkafka::config::RDKafkaLogLevel;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::settings::{Log, LogFormat};
use crate::fate::Fate;

/// Logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.level` is not a filter.
    #[error(
        "log.level `{filter}` is not a filter: {source}; write a level (error, warn, info, debug, trace) or pairs such as `squeezeflow=debug,librdkafka=warn`"
    )]
    Filter {
        /// As configured.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Somebody has set up logging in this process before.
    #[error("logging was set up twice in one process")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

impl LogError {
    /// A worker that cannot say what it does is not started.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// Reads a filter such as `info` or `squeezeflow=debug,librdkafka=warn`.
///
/// # Errors
/// [`LogError::Filter`] when it is none.
pub fn filter(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

/// Sends this process's log lines to standard error, once for its whole life.
///
/// # Errors
/// When the filter is none, or when logging was set up before.
pub fn init(log: &Log) -> Result<(), LogError> {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    subscriber(log, colour, std::io::stderr)?.try_init()?;
    Ok(())
}

fn subscriber<W>(
    log: &Log,
    colour: bool,
    to: W,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&log.level)?).with_writer(to);
    Ok(match log.format {
        LogFormat::Human => Box::new(builder.with_ansi(colour).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

/// librdkafka's own words, at its own level, under the target `librdkafka`: what the `log` method
/// of every client context calls. (rdkafka's default goes to the `log` crate, where nobody
/// listens.) They name brokers and topics, never payload.
pub fn librdkafka(level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    match level {
        Emerg | Alert | Critical | Error => tracing::error!(target: "librdkafka", facility, "{message}"),
        Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        Notice | Info => tracing::info!(target: "librdkafka", facility, "{message}"),
        Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, what: impl Fn()) -> String {
        let (sink, log) = (Sink::default(), Log { format, level: level.to_owned() });
        let to = sink.clone();
        let subscriber = subscriber(&log, false, move || to.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, what);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn human_lines_have_a_time_a_level_and_no_colour_codes_when_off() {
        let text = logged(LogFormat::Human, "info", || tracing::info!(partitions = 3, "joined"));
        assert!(text.contains("INFO") && text.contains("joined partitions=3"), "{text}");
        assert!(text.starts_with("20") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn json_lines_are_json_objects() {
        let text = logged(LogFormat::Json, "info", || tracing::warn!(seconds = 7, "slow"));
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["seconds"]),
            (&"WARN".into(), &"slow".into(), &7.into())
        );
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn the_filter_holds_and_librdkafka_has_a_target_of_its_own() {
        let say = || {
            tracing::debug!("ours");
            librdkafka(RDKafkaLogLevel::Info, "FAC", "quiet");
            librdkafka(RDKafkaLogLevel::Error, "FAC", "all brokers down");
        };
        let text = logged(LogFormat::Human, "debug,librdkafka=error", say);
        assert!(
            text.contains("ours") && text.contains("all brokers down") && !text.contains("quiet"),
            "{text}"
        );
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = filter("squeezeflow=loud").unwrap_err();
        assert!(error.to_string().contains("squeezeflow=loud"), "{error}");
    }
}
