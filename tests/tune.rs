//! `squeezeflow tune` from outside: what it says, what it writes, what it refuses. Which setting is the
//! fastest is the machine's affair; that a choice is one of those measured, and holds, is ours.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squeezeflow"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

/// A pipeline file with comments, without Kafka, and texts for it.
struct Case {
    dir: tempfile::TempDir,
}

const BATCH: &str = "batch:            # how texts are put together\n  max_batch_size: 3   # by hand\n  # an old thought\n  timeout: 30s\n";

/// Three results by two packages, in two ways to write them.
const RESULTS: &str = "\
results:
  # What it says
  mood:                 # how it sounds
    model:
      path: PACKAGES/tasks/squeezebert-g4-sentiment   # one of ours
      # sessions: 8
    task: { text-classification: { top_k: 2 } }
  mood_too: { model: { path: PACKAGES/tasks/squeezebert-g4-sentiment } }   # once more
  names: { model: { path: PACKAGES/tasks/squeezebert-g2-names }, required: false }   # who
";

impl Case {
    fn new(batch: &str) -> Self {
        Self::with("model:\n  path: PACKAGES/tiny-squeezebert # tiny\n", batch)
    }

    fn with(models: &str, batch: &str) -> Self {
        let case = Self { dir: tempfile::tempdir().unwrap() };
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages");
        let models = models.replace("PACKAGES", packages.to_str().unwrap());
        let text = format!(
            "# Reviews\ninput: {{ topics: [reviews] }} # in\n{models}{batch}\noutput:\n  topic: tagged # out\n"
        );
        std::fs::write(case.pipeline(), text).unwrap();
        let words = ["good", "bad", "film", "a", "not", "zebra"];
        let texts: Vec<String> = (0..300)
            .map(|i| {
                let text: Vec<&str> = (0..2 + i % 29).map(|j| words[(i + j) % words.len()]).collect();
                json!({ "text": text.join(" ") }).to_string()
            })
            .chain(["not json".to_owned(), r#"{"text":""}"#.to_owned()])
            .collect();
        std::fs::write(case.texts(), texts.join("\n")).unwrap();
        case
    }

    fn pipeline(&self) -> PathBuf {
        self.dir.path().join("pipeline.yaml")
    }

    fn texts(&self) -> PathBuf {
        self.dir.path().join("texts.jsonl")
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = program();
        command.arg("tune").arg(self.pipeline()).args(["--for", "1s"]).args(options);
        command
    }

    fn tune(&self, options: &[&str]) -> Output {
        self.command(options).arg("--texts").arg(self.texts()).output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn refused(output: &Output, code: i32, parts: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn what_is_chosen_was_measured_and_stands_in_the_file_beside_its_comments() {
    let case = Case::new(BATCH);
    // Texts one by one, three to a batch: there is something better on any machine.
    let before = std::fs::read_to_string(case.pipeline()).unwrap();
    let output = case.tune(&["--json", "--write"]);
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["texts"]["records"], &report["texts"]["texts"]), (&json!(302), &json!(300)));
    assert_eq!(report["texts"]["not_read"], json!({ "invalid_json": 1, "text_empty": 1 }));
    assert!(report["texts"]["tokens"]["max"].as_u64().unwrap() >= 32, "30 words and two special tokens");
    assert_eq!(report["model"]["name"], "tiny-squeezebert");
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(report["machine"]["cores"], cores);
    assert!(!said(&output).contains("zebra"), "no text of a record is shown");

    let measured = report["measured"].as_array().unwrap();
    assert_eq!(measured.iter().filter(|m| m["now"] == true && m["finalist"] == true).count(), 1);
    for one in measured {
        let (sessions, threads) = (&one["settings"]["model.sessions"], &one["settings"]["model.threads"]);
        assert_eq!(sessions.as_u64().unwrap() * threads.as_u64().unwrap(), cores as u64, "all cores");
        assert!(one["texts_per_second"]["median"].as_f64().unwrap() > 0.0);
    }
    let chosen = report["chosen"].as_object().unwrap();
    let found = measured.iter().find(|m| m["settings"] == report["chosen"]).expect("it was measured");
    assert_eq!(found["finalist"], true);
    assert!(found["rounds"].as_u64().unwrap() > 0 && found["p99_ms"]["median"].as_f64().is_some());

    // The file: every line that was there but the one value, and the chosen settings hold.
    let after = std::fs::read_to_string(case.pipeline()).unwrap();
    let changes = report["changes"].as_object().unwrap();
    assert_eq!(report["written"], !changes.is_empty());
    for line in before.lines().filter(|line| !line.contains("max_batch_size")) {
        assert!(after.contains(line), "{line} is gone:\n{after}");
    }
    assert!(after.contains("# by hand") && after.contains("# an old thought"), "{after}");
    let loaded = squeezeflow::config::load(&case.pipeline(), &Default::default()).unwrap().settings;
    let holds = [
        ("model.sessions", loaded.results.first.model.sessions.get()),
        ("model.threads", loaded.results.first.model.threads.get()),
        ("batch.max_batch_tokens", loaded.batch.max_tokens.get()),
        ("batch.max_batch_size", loaded.batch.max_size.get()),
    ];
    for (key, value) in holds {
        assert_eq!(chosen[key], value, "{key}:\n{after}");
    }
    let checked = program().arg("check").arg(case.pipeline()).output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn several_results_are_set_alike() {
    let case = Case::with(RESULTS, BATCH);
    let before = std::fs::read_to_string(case.pipeline()).unwrap();
    let output = case.tune(&["--json", "--write"]);
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let models: Vec<(&str, &str)> = report["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (model["result"].as_str().unwrap(), model["name"].as_str().unwrap()))
        .collect();
    let (sentiment, names) = ("squeezebert-g4-sentiment", "squeezebert-g2-names");
    assert_eq!(models, [("mood", sentiment), ("mood_too", sentiment), ("names", names)]);
    assert_eq!(report["model"], report["models"][0]);
    assert_eq!(report["side_by_side"], 2, "two of them are of one run");
    assert_eq!(report["texts"]["texts"], 300);

    let cores = std::thread::available_parallelism().unwrap().get();
    let measured = report["measured"].as_array().unwrap();
    assert_eq!(measured.iter().filter(|m| m["now"] == true && m["finalist"] == true).count(), 1);
    for one in measured {
        let of = |key: &str| one["settings"][key].as_u64().unwrap() as usize;
        let used = of("model.sessions") * of("model.threads");
        assert!(used == cores || used == (cores / 2).max(1), "all cores, or half of them for each: {one}");
    }
    let chosen = report["chosen"].as_object().unwrap();
    let found = measured.iter().find(|m| m["settings"] == report["chosen"]).expect("it was measured");
    assert!(found["rounds"].as_u64().unwrap() > 0 && found["finalist"] == true);

    // A change of one model is one of all.
    let changes = report["changes"].as_object().unwrap();
    for key in ["sessions", "threads"] {
        let of = |result: &str| changes.get(&format!("results.{result}.model.{key}"));
        assert!(of("mood") == of("mood_too") && of("mood") == of("names"), "{changes:?}");
    }
    assert!(!changes.contains_key("model.sessions"), "{changes:?}");
    let after = std::fs::read_to_string(case.pipeline()).unwrap();
    let one_line = |line: &str| ["max_batch_size", "mood_too", "names:"].iter().any(|key| line.contains(key));
    for line in before.lines().filter(|line| !one_line(line)) {
        assert!(after.contains(line), "{line} is gone:\n{after}");
    }
    for comment in ["# What it says", "# one of ours", "# sessions: 8", "# once more", "# who", "# by hand"] {
        assert!(after.contains(comment), "{comment} is gone:\n{after}");
    }
    let loaded = squeezeflow::config::load(&case.pipeline(), &Default::default()).unwrap().settings;
    for result in loaded.results.iter() {
        assert_eq!(chosen["model.sessions"], result.model.sessions.get(), "{:?}:\n{after}", result.name);
        assert_eq!(chosen["model.threads"], result.model.threads.get(), "{:?}:\n{after}", result.name);
    }
    assert_eq!(chosen["batch.max_batch_tokens"], loaded.batch.max_tokens.get());
    let checked = program().arg("check").arg(case.pipeline()).output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn results_of_one_run_are_told_as_such() {
    let one = RESULTS.lines().filter(|line| !line.contains("names:")).collect::<Vec<_>>().join("\n");
    let case = Case::with(&(one + "\n"), BATCH);
    let shown = said(&case.tune(&[]));
    for part in [
        "model    squeezebert-g4-sentiment (",
        ": mood, mood_too\n",
        "one run gives all results",
        "sessions  threads  tokens",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn several_results_that_cannot_be_set_alike_are_refused() {
    let case = Case::with(RESULTS, BATCH);
    let by_set = case.tune(&["--set", "results.names.model.threads=1"]);
    refused(&by_set, 2, &["`results.names.model.threads` is set by `--set`"]);
    let mut by_environment = case.command(&["--texts", "-"]);
    by_environment.env("SQUEEZEFLOW__RESULTS__MOOD__MODEL__SESSIONS", "2");
    refused(
        &by_environment.output().unwrap(),
        2,
        &["`results.mood.model.sessions`", "SQUEEZEFLOW__RESULTS__MOOD__MODEL__SESSIONS"],
    );
    let unlike = RESULTS.replace("      # sessions: 8\n", "      sessions: 97\n");
    refused(
        &Case::with(&unlike, BATCH).tune(&[]),
        2,
        &[
            "`results.mood.model.sessions` is 97, and `results.mood_too.model.sessions` is ",
            "make them alike",
        ],
    );
    let shared = RESULTS.replace("mood_too: {", "mood_too: &too {");
    refused(&Case::with(&shared, BATCH).tune(&["--write"]), 2, &["cannot be changed without touching more"]);
    let elsewhere = RESULTS.replace("g4-sentiment }", "g4-sentiment, provider: cuda }");
    refused(
        &Case::with(&elsewhere, BATCH).tune(&[]),
        2,
        &["`results.mood.model.provider` is cpu, and `results.mood_too.model.provider` is cuda"],
    );
}

#[test]
fn without_write_the_file_is_left_alone_and_a_snippet_is_shown() {
    let case = Case::new(BATCH);
    let before = std::fs::read_to_string(case.pipeline()).unwrap();
    let output = case.tune(&["--p99", "10m", "--rate", "2000"]);
    let shown = said(&output);
    assert!(output.status.success(), "{shown}");
    for part in
        ["machine ", " cores,", "sessions  threads  tokens", "◄ chosen", "within 600s, at 2000 records/s"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("run it with `--write`") || shown.contains("set best as it is"), "{shown}");
    assert_eq!(std::fs::read_to_string(case.pipeline()).unwrap(), before);
}

#[test]
fn a_goal_that_nothing_keeps_is_said_and_changes_nothing() {
    let case = Case::new(BATCH);
    let before = std::fs::read_to_string(case.pipeline()).unwrap();
    // A million records a second, each answered within a millisecond.
    let impossible = ["--p99", "1ms", "--rate", "1000000", "--write"];
    let output = case.tune(&impossible);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("No setting keeps the goal: the best p99 is "), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(case.pipeline()).unwrap(), before);
    let output = case.tune(&[&impossible[..], &["--json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["chosen"], &report["written"]), (&Value::Null, &json!(false)));
    assert!(report["nearest"]["model.sessions"].is_u64(), "{report}");
}

#[test]
fn texts_may_come_from_standard_input() {
    let case = Case::new(BATCH);
    let mut child = case
        .command(&["--json", "--texts", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let texts = std::fs::read(case.texts()).unwrap();
    child.stdin.take().unwrap().write_all(&texts).unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert_eq!(
        (&report["texts"]["from"], &report["texts"]["texts"]),
        (&json!("standard input"), &json!(300))
    );
}

#[test]
fn what_cannot_be_tuned_is_refused_with_what_to_do() {
    let case = Case::new(BATCH);
    refused(
        &case.tune(&["--set", "batch.max_batch_size=9"]),
        2,
        &["`batch.max_batch_size` is set by `--set`"],
    );
    let by_environment =
        case.command(&["--texts", "-"]).env("SQUEEZEFLOW__MODEL__SESSIONS", "2").output().unwrap();
    refused(&by_environment, 2, &["`model.sessions`", "SQUEEZEFLOW__MODEL__SESSIONS"]);
    refused(&case.command(&[]).output().unwrap(), 2, &["no `kafka`", "--texts FILE"]);
    refused(&case.command(&["--texts", "no/such"]).output().unwrap(), 2, &["no/such cannot be read"]);
    refused(&case.command(&["--texts", "-"]).output().unwrap(), 2, &["it is empty", "--texts FILE"]);
    std::fs::write(case.texts(), "not json\n\n{\"text\": 5}\n").unwrap();
    refused(&case.tune(&[]), 2, &["of 3 records none is read", "invalid_json 2", "text_not_a_string 1"]);
    // Nobody listens on port 1.
    let kafka = ["--set", "kafka.bootstrap_servers=127.0.0.1:1", "--set", "kafka.group_id=g"];
    refused(
        &case.command(&kafka).output().unwrap(),
        1,
        &["no broker of `127.0.0.1:1` answers", "--texts FILE"],
    );
    // In a second no run sees enough records of one a second.
    refused(&Case::new(BATCH).tune(&["--p99", "1s", "--rate", "1"]), 1, &["too few records", "--for 5m"]);
    // On a fallback the figures would be another device's.
    let fallback = ["--set", "model.provider=cuda", "--set", "model.fallback=[cpu]"];
    std::fs::write(case.texts(), "{\"text\": \"a film\"}\n").unwrap();
    refused(&case.tune(&fallback), 3, &["asks for `cuda`", "runs on `cpu` here"]);
    let shared = Case::new("batch: &b { max_batch_size: 3 }\nlimits: { max_in_flight_records: 2000 }\n");
    refused(&shared.tune(&["--write"]), 2, &["cannot be changed without touching more", "--write"]);
}

#[test]
fn a_bound_that_was_written_by_hand_is_kept() {
    let bounded = format!("{BATCH}limits: {{ max_in_flight_records: 100 }}\n");
    let case = Case::new(&bounded);
    let output = case.tune(&["--json", "--write"]);
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for one in report["measured"].as_array().unwrap() {
        let of = |key: &str| one["settings"][key].as_u64().unwrap();
        assert!(of("batch.max_batch_size") * (of("model.sessions") + 1) <= 100, "{one}");
    }
    let checked = program().arg("check").arg(case.pipeline()).output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
}
