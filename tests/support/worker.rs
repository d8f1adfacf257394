//! A pipeline file, and the real program running it: the tests know the worker by its files,
//! signals, exit codes, log lines and HTTP answers only.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::here;
use super::process::{Process, scratch};
use super::wait::{PATIENCE, until, until_some};

/// A pipeline file in the making.
#[derive(Clone)]
pub struct Pipeline {
    settings: Value,
    environment: Vec<(String, String)>,
}

impl Pipeline {
    /// Reads `NAME.in`, writes `NAME.out` and `NAME.dead`, as group `NAME`.
    pub fn new(bootstrap: &str, name: &str) -> Self {
        let settings = json!({
            "kafka": { "bootstrap_servers": bootstrap, "group_id": name, "session_timeout": "6s", "commit_interval": "1s" },
            "input": { "topics": [format!("{name}.in")], "format": "json", "text": "/text", "start": "earliest", "on_gap": "fail" },
            "model": { "path": here("tests/packages/tiny-squeezebert"), "provider": "cpu", "sessions": 1 },
            "batch": { "max_batch_tokens": 4096, "max_batch_size": 64, "max_batch_age": "20ms" },
            "output": { "topic": format!("{name}.out"), "mode": "splice", "field": "nlp", "partition": "key", "source_headers": true },
            "dead_letter": { "topic": format!("{name}.dead") },
            "limits": { "max_in_flight_records": 2000, "max_in_flight_bytes": "16MiB", "drain_timeout": "5s" },
            "admin": { "address": "127.0.0.1:0" },
            "log": { "format": "json", "level": "info" },
        });
        Self { settings, environment: Vec::new() }
    }

    /// Sets one value, named by its place in the file (`delivery`, `limits.drain_timeout`).
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let at = path.split('.').fold(&mut self.settings, |settings, key| &mut settings[key]);
        *at = value.into();
        self
    }

    /// The name of its group.
    pub fn group(&self) -> String {
        self.settings["kafka"]["group_id"].as_str().unwrap().to_owned()
    }

    /// Sets one value at the top of the file.
    pub fn set_top(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings[key] = value.into();
        self
    }

    /// Sets a variable of the program's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the program on it.
    pub fn start(&self) -> Worker {
        self.start_with(&[])
    }

    /// With these in its environment.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Worker {
        let (mut command, dir) = self.command(&["run"]);
        command.env("ORT_DYLIB_PATH", onnxruntime()).envs(environment.iter().copied());
        Worker { process: Process::start(command), dir, admin: OnceLock::new() }
    }

    /// The program with this verb (its options may follow) on the pipeline. What it prints will be in
    /// the directory, in `stdout` and `stderr`.
    pub fn command(&self, verb: &[&str]) -> (Command, PathBuf) {
        let dir = scratch("worker");
        // JSON is YAML.
        std::fs::write(dir.join("pipeline.yaml"), self.settings.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_squeezeflow"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(verb).arg(dir.join("pipeline.yaml")).current_dir(&dir).stdin(Stdio::null());
        command.stdout(std::fs::File::create(dir.join("stdout")).unwrap());
        command.stderr(std::fs::File::create(dir.join("stderr")).unwrap());
        (command, dir)
    }

    /// Starts it and waits until it is a member of its group.
    #[track_caller]
    pub fn start_ready(&self) -> Worker {
        let mut worker = self.start();
        worker.wait_ready();
        worker
    }
}

/// One run of the program. Dropped, it is killed; its log is shown if the test failed.
pub struct Worker {
    process: Process,
    dir: PathBuf,
    admin: OnceLock<String>,
}

impl Worker {
    /// `/ready` says 200.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        until("a worker to be ready", PATIENCE, || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "the worker ended at start ({})", ended.unwrap());
            self.is_ready()
        });
    }

    pub fn is_ready(&self) -> bool {
        self.find_admin().is_some() && self.get("/ready").is_some_and(|(status, _)| status == 200)
    }

    /// Waits until it owns exactly so many partitions, as it says itself.
    #[track_caller]
    pub fn wait_partitions(&self, wanted: usize) {
        until(&format!("a worker to own {wanted} partitions"), PATIENCE, || {
            self.partitions() == Some(wanted)
        });
    }

    /// Partitions that it owns, by `/ready`.
    pub fn partitions(&self) -> Option<usize> {
        let (_, body) = self.get("/ready")?;
        serde_json::from_str::<Value>(&body).ok()?["partitions"].as_u64().map(|n| n as usize)
    }

    /// The sum of a metric over all series whose labels contain `label`; `None` without such.
    pub fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let (_, body) = self.get("/metrics")?;
        let ours = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        };
        let values: Vec<f64> =
            body.lines().filter(ours).filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        if values.is_empty() { None } else { Some(values.iter().sum()) }
    }

    /// Status and body of a GET at the admin address. `None` where nothing answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = http_get(self.find_admin()?, path, "")?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// Its admin address.
    pub fn address(&self) -> String {
        self.find_admin().unwrap().to_owned()
    }

    /// Logged at start, because the tests ask for any free port.
    fn find_admin(&self) -> Option<&str> {
        if self.admin.get().is_none() {
            let log = self.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut found =
                lines.filter_map(|l| Some(l.get("addr").or(l.get("address"))?.as_str()?.to_owned()));
            let _ = self.admin.set(found.next()?);
        }
        self.admin.get().map(String::as_str)
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("stderr")).unwrap_or_default()
    }

    /// Waits for a line of the log that holds `words`.
    #[track_caller]
    pub fn wait_log(&self, words: &str) -> String {
        let find = || self.log().lines().find(|line| line.contains(words)).map(str::to_owned);
        until_some(&format!("`{words}` in the log"), PATIENCE, find)
    }

    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// SIGTERM: it must end with exit code 0, having drained.
    #[track_caller]
    pub fn terminate(mut self) {
        self.signal(libc::SIGTERM);
        assert_eq!(self.wait().code(), Some(0), "SIGTERM must end in exit code 0");
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait("the worker", PATIENCE)
    }

    /// Has it not ended?
    pub fn runs(&mut self) -> bool {
        self.ended().is_none()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Processor time that it has used so far.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_of_stat(&std::fs::read_to_string(format!("/proc/{}/stat", self.process.pid())).unwrap())
    }

    /// The same by its threads' names, the numbers at their ends left out; of those that live.
    pub fn cpu_by_thread(&self) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.pid())).unwrap() {
            let task = task.unwrap().path();
            let read = |file: &str| std::fs::read_to_string(task.join(file));
            // It may have ended meanwhile.
            if let (Ok(name), Ok(stat)) = (read("comm"), read("stat")) {
                let name = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ');
                *all.entry(name.to_owned()).or_default() += cpu_of_stat(&stat);
            }
        }
        all
    }

    /// The most memory that it ever had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory that it has resident now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- end of the worker's log ({} lines) ---", lines.len());
            lines[lines.len().saturating_sub(40)..].iter().for_each(|line| eprintln!("{line}"));
            if let Some((_, metrics)) = self.get("/metrics") {
                let words = ["records", "partition", "commits", "stale", "rebalances"];
                let told = |l: &&str| !l.starts_with('#') && words.iter().any(|w| l.contains(w));
                eprintln!("--- its metrics ---");
                metrics.lines().filter(told).for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// The whole answer to a GET. `None` where nothing answers.
pub fn http_get(address: &str, path: &str, header: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The library, which the script fetches where nobody names one.
pub fn onnxruntime() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            if let Some(named) = std::env::var_os("ORT_DYLIB_PATH") {
                return named.into();
            }
            let fetched = Command::new(here("scripts/fetch-onnxruntime.sh")).output().unwrap();
            assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
            let versions = std::fs::read_dir(here(".cache/onnxruntime")).unwrap().flatten();
            let library = versions.map(|v| v.path().join("libonnxruntime.so")).find(|l| l.exists());
            library.expect("scripts/fetch-onnxruntime.sh leaves a library in .cache/onnxruntime")
        })
        .clone()
}

fn cpu_of_stat(stat: &str) -> f64 {
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // USER_HZ is 100 on every Linux.
    ticks / 100.0
}
