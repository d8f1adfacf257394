//! From single raw values to real ones: durations, sizes, files, secrets, client properties. What is
//! wrong is collected, not thrown.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::Problem;
use super::{Secret, librdkafka, path, topics, units, words};
use crate::kafka::client;

/// No secret is that long; a wrong path, such as a device, may be.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Collects what is wrong while values are turned into real ones. For a wrong value its method says
/// so in `found` and gives a stand-in, so that the rest can be judged; settings with a stand-in in
/// them never leave `validate`.
pub(super) struct Check<'a> {
    pub(super) base: &'a Path,
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) found: Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn servers(&mut self, text: &str) -> String {
        let servers: Vec<&str> = text.split(',').map(str::trim).collect();
        let good = |server: &&str| {
            let port = server.rsplit_once(':');
            port.is_none_or(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
                && !server.is_empty()
        };
        if !servers.iter().all(good) {
            let problem = Problem::error(
                "kafka.bootstrap_servers",
                "is not a list of `host:port`, separated by commas",
            );
            self.found.push(problem.hint("such as `broker1:9092,broker2:9092`"));
        }
        servers.join(",")
    }

    pub(super) fn librdkafka(&mut self, raw: &BTreeMap<String, words::Scalar>) -> BTreeMap<String, String> {
        let mut passed = BTreeMap::new();
        for (property, value) in raw {
            let (at, value) = (format!("kafka.librdkafka.{property}"), value.text());
            if let Some(reason) = librdkafka::owned(property) {
                self.found.push(Problem::error(at, "is not for a pipeline to set").hint(reason));
            } else if let Err(e) = client::accepts(property, &value) {
                self.found.push(Problem::error(at, e.to_string()).hint("see librdkafka's CONFIGURATION.md"));
            } else if let Some(reason) = librdkafka::unfit(property, &value) {
                self.found.push(Problem::error(at, "has a value that is not for a pipeline").hint(reason));
            } else {
                passed.insert(property.clone(), value);
            }
        }
        passed
    }

    pub(super) fn topic(&mut self, at: &str, topic: &str) {
        let error = topics::name(topic).err();
        self.found.extend(error.map(|e| Problem::error(at, e.to_string())));
    }

    pub(super) fn duration(&mut self, at: &str, raw: &words::Duration) -> Duration {
        units::duration(&raw.0).unwrap_or_else(|| {
            self.found.push(Problem::error(at, "is not a duration").hint("such as `20ms`, `1.5s`, `2m`"));
            Duration::from_secs(1)
        })
    }

    /// A duration of at least a millisecond: librdkafka counts in them.
    pub(super) fn positive(&mut self, at: &str, raw: &words::Duration) -> Duration {
        let duration = self.duration(at, raw);
        if duration < Duration::from_millis(1) {
            self.found.push(Problem::error(at, "must be at least 1ms"));
        }
        duration
    }

    pub(super) fn size(&mut self, at: &str, raw: &words::ByteSize) -> NonZeroUsize {
        units::byte_size(&raw.0.text()).and_then(NonZeroUsize::new).unwrap_or_else(|| {
            let problem = Problem::error(at, "is not a size of at least one byte");
            self.found.push(problem.hint("such as `64MiB` or `65536`"));
            NonZeroUsize::MIN
        })
    }

    /// A size, or 0.
    pub(super) fn allowance(&mut self, at: &str, raw: &words::Allowance) -> usize {
        units::byte_size(&raw.0.0.text()).unwrap_or_else(|| {
            let problem = Problem::error(at, "is not a size");
            self.found.push(problem.hint("such as `64MiB`, or 0"));
            0
        })
    }

    /// The file, resolved and there.
    pub(super) fn file(&mut self, at: &str, raw: Option<&str>) -> Option<PathBuf> {
        let file = self.base.join(raw?);
        let error = std::fs::File::open(&file).err();
        self.found.extend(error.map(|e| cannot_read(at, &file, &e)));
        Some(file)
    }

    pub(super) fn secret(&mut self, at: &str, raw: &words::Secret) -> Secret {
        use words::{Secret as Raw, SecretSource};
        let value = match raw {
            Raw::Literal(value) => {
                let problem = Problem::warning(at, "a secret stands in the open");
                self.found.push(problem.hint("write `{env: NAME}` or `{file: PATH}`"));
                Ok(value.clone())
            }
            Raw::Elsewhere(SecretSource::Env(name)) => self.environment.get(name).cloned().ok_or_else(|| {
                let what = format!("the environment variable {name} is not set");
                Box::new(Problem::error(path::key(at, "env"), what).hint(format!("export {name}=…")))
            }),
            Raw::Elsewhere(SecretSource::File(file)) => {
                let file = self.base.join(file);
                read_secret(&file)
                    .map(|text| without_line_feed(&text).to_owned())
                    .map_err(|e| Box::new(cannot_read(&path::key(at, "file"), &file, &e)))
            }
        };
        let value = value.and_then(|value| match value.is_empty() || value.contains('\0') {
            true => Err(Box::new(Problem::error(at, "the secret is empty or has a zero byte in it"))),
            false => Ok(value),
        });
        Secret::new(value.unwrap_or_else(|problem| {
            self.found.push(*problem);
            String::new()
        }))
    }
}

fn read_secret(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MAX_SECRET_BYTES {
        true => Err(std::io::Error::other("it is too large for a secret (64 KiB)")),
        false => Ok(text),
    }
}

/// Editors and `echo` end a file with one.
fn without_line_feed(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

fn cannot_read(at: &str, file: &Path, e: &std::io::Error) -> Problem {
    let problem = Problem::error(at, format!("{} cannot be read: {e}", file.display()));
    problem.hint("relative paths start at the pipeline file's folder")
}
