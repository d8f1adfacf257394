//! Is a real Apache Kafka to be had here? Without Java or a registry the tests against it are
//! skipped, each loudly, and counted in one line at the end; with `CI=true` that is a failure.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::here;
use super::process::last_words;

/// The jars' directory, or why there is none. The script is asked once; it fetches what is missing.
pub fn jars() -> Result<&'static PathBuf, &'static str> {
    static JARS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = JARS.get_or_init(|| {
        let script = Command::new(here("scripts/fetch-kafka.sh")).output().map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&script.stderr).trim().replace('\n', "; ");
        // A jar that is not the pinned one is a failure everywhere, not a reason to skip.
        assert!(script.status.success(), "{said}");
        let cache = here(".cache/kafka");
        let dirs = std::fs::read_dir(cache).map_err(|_| said.clone())?;
        let jars = dirs.flatten().find(|e| !e.file_name().to_string_lossy().starts_with('.'));
        Command::new("java").arg("-version").output().map_err(|e| format!("java: {e}"))?;
        jars.map(|e| e.path()).ok_or(said)
    });
    found.as_ref().map_err(String::as_str)
}

/// `true`: go on. Otherwise the test that calls this is skipped, and it is said which.
pub fn is_here(test: &str) -> bool {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    let Err(why) = jars() else { return true };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs a real Apache Kafka: {why}");
    aloud(&format!("SKIPPED {test}: no Apache Kafka: {why}"));
    if SKIPPED.fetch_add(1, Ordering::Relaxed) == 0 {
        last_words(|| {
            let skipped = SKIPPED.load(Ordering::Relaxed);
            format!(
                "{skipped} tests against a real Apache Kafka were SKIPPED (libtest counts them as passed)"
            )
        });
    }
    false
}

/// Past libtest, which swallows what a passing test prints.
pub fn aloud(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Leaves the test where there is no Kafka. A macro, because only it can return from the test.
#[macro_export]
macro_rules! require_kafka {
    () => {
        if !$crate::support::kafka::is_here(std::thread::current().name().unwrap_or("a test")) {
            return;
        }
    };
}
