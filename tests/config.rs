//! Configuration from the outside: what a user writes, and what they are told.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use squeezeflow::config::settings::{
    Combine, Format, Input, LongText, Output, OutputMode, ProviderKind, Sasl, Start, Subject, Test,
    TextSelector, Uncertain, When, Windows,
};
use squeezeflow::config::{self, ConfigError, Loaded, ModelFacts, Origin, Overrides, Problem, Severity};
use tempfile::TempDir;

const MINIMAL: &str = "input: {topics: [reviews]}\nmodel: {path: models/x}\n";
const KAFKA: &str = "kafka: {bootstrap_servers: \"localhost:9092\", group_id: g}\n";

struct Case {
    dir: TempDir,
    overrides: Overrides,
}

impl Case {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), overrides: Overrides::default() }
    }
    fn set(mut self, assignment: &str) -> Self {
        self.overrides.set.push(assignment.into());
        self
    }
    fn env(mut self, name: &str, value: &str) -> Self {
        self.overrides.environment.insert(name.into(), value.into());
        self
    }
    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }
    fn path(&self) -> PathBuf {
        self.dir.path().join("pipeline.yaml")
    }
    fn try_load(&self, text: &str) -> Result<Loaded, ConfigError> {
        std::fs::write(self.path(), text).unwrap();
        config::load(&self.path(), &self.overrides)
    }
    fn load(&self, text: &str) -> Loaded {
        self.try_load(text).unwrap_or_else(|e| panic!("{e}"))
    }
    fn problems(&self, text: &str) -> Vec<Problem> {
        self.try_load(text).expect_err("should be refused").problems
    }
}

/// `line path` of each, in the order in which they are shown.
fn places(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|p| format!("{} {}", p.line.map_or("-".into(), |l| l.to_string()), p.path)).collect()
}

fn the_one(problems: &[Problem]) -> &Problem {
    assert_eq!(problems.len(), 1, "{problems:#?}");
    &problems[0]
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_shortest_pipeline_has_the_documented_defaults() {
    let case = Case::new();
    let Loaded { settings: s, warnings, .. } = case.load(MINIMAL);
    assert!(warnings.is_empty());
    assert!(s.kafka.is_none() && s.dead_letter.is_none() && s.output.topic.is_none());
    assert_eq!(s.input.format, Format::Json(TextSelector::Pointer("/text".into())));
    assert_eq!(s.input.start, Start::Earliest);
    assert_eq!(s.input.max_text_bytes.get(), 1 << 20);
    assert_eq!(s.results.first.model.path, case.dir.path().join("models/x"), "relative to the pipeline file");
    assert_eq!(s.results.first.model.provider.kind, ProviderKind::Cpu);
    assert_eq!(s.results.first.model.sessions, std::thread::available_parallelism().unwrap());
    assert_eq!((s.batch.max_tokens.get(), s.batch.max_size.get()), (4096, 64));
    assert_eq!(s.batch.max_age, Duration::from_millis(20));
    assert_eq!((s.output.mode, s.output.field.as_str()), (OutputMode::Splice, "nlp"));
    assert_eq!(s.limits.drain_timeout, Duration::from_secs(20));
    assert_eq!(s.admin, Some("127.0.0.1:9464".parse().unwrap()));
    let missing: Vec<_> = config::require_kafka(&s).into_iter().map(|p| p.path).collect();
    assert_eq!(missing, ["kafka", "output.topic", "dead_letter.topic"]);
}

#[test]
fn later_layers_win() {
    let text =
        format!("{MINIMAL}{KAFKA}batch: {{max_batch_size: 8, max_batch_tokens: 600, max_batch_age: 5ms}}\n");
    let case = Case::new()
        .env("SQUEEZEFLOW__BATCH__MAX_BATCH_SIZE", "16")
        .env("SQUEEZEFLOW__BATCH__MAX_BATCH_TOKENS", "700")
        .env("SQUEEZEFLOW__KAFKA__GROUP_ID", "123")
        .env("SQUEEZEFLOW__KAFKA__LIBRDKAFKA__SOCKET_KEEPALIVE_ENABLE", "true")
        .env("SQUEEZEFLOW__ADMIN__ENABLED", "false")
        .env("UNRELATED", "x")
        .set("batch.max_batch_size=32")
        .set("input.topics=a,b")
        .set("input.start=2026-01-31T08:00:00Z")
        .set("model.provider={cuda: {device_id: 1}}");
    let s = case.load(&text).settings;
    assert_eq!(s.batch.max_size.get(), 32, "--set over environment over file");
    assert_eq!(s.batch.max_tokens.get(), 700, "environment over file");
    assert_eq!(s.batch.max_age, Duration::from_millis(5), "file over default");
    assert_eq!(s.input.topics, ["a", "b"]);
    assert_eq!(s.input.start, Start::Timestamp(1_769_846_400_000));
    assert_eq!(s.results.first.model.provider.options, BTreeMap::from([("device_id".into(), "1".into())]));
    assert_eq!(s.results.first.model.sessions.get(), 1, "auto, on a GPU");
    assert_eq!(s.admin, None);
    let kafka = s.kafka.unwrap();
    assert_eq!(kafka.group_id, "123", "text, because the schema says so");
    assert_eq!(kafka.librdkafka["socket.keepalive.enable"], "true");
}

#[test]
fn sessions_by_name() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let model = |rest: &str| {
        let text = format!("input: {{topics: [a]}}\nmodel: {{path: x{rest}}}\n");
        let Loaded { settings, warnings, .. } = Case::new().load(&text);
        assert!(warnings.is_empty(), "{rest}: {warnings:?}");
        (settings.results.first.model.sessions.get(), settings.results.first.model.threads.get())
    };
    assert_eq!(model(", sessions: auto"), (cores, 1));
    assert_eq!(model(", threads: 2"), ((cores / 2).max(1), 2), "auto leaves the cores to the threads");
    assert_eq!(model(", sessions: latency"), (1, cores), "one session on all cores");
    assert_eq!(model(", sessions: latency, threads: 3"), (1, 3), "what was written is obeyed");
    assert_eq!(model(", sessions: 3"), (3, 1));
    assert_eq!(model(", sessions: latency, provider: cuda"), (1, 1), "threads are the CPU's");
    assert_eq!(model(", sessions: latency, provider: cuda, fallback: [cpu]"), (1, cores));
    let wrong = Case::new().problems("input: {topics: [a]}\nmodel: {path: x, sessions: fast}\n");
    let wrong = the_one(&wrong);
    assert_eq!(wrong.what, "is not `auto`, `latency` or a whole number from 1");
    assert_eq!(wrong.hint.as_deref(), Some("such as `auto`, `latency`, `2`"));
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_lines() {
    let text = "\
kafka:
  bootstrap_servers: localhost:9092,
  group_id: 123
input:
  topcis: [reviews]
  topics: [reviews]
  format: jsno
model:
  path: x
  provider: gpu
batch:
  max_batch_tokens: lots
  max_batch_age: 20
  max_batch_size: 0
output:
  topic: \"reviews tagged\"
limits:
  drain_timeout: 60s
  drain_timeout: 61s
log:
  level: loud=very=much
";
    let case = Case::new()
        .env("SQUEEZEFLOW__OUTPUT__SCORES", "perhaps")
        .set("limits.text_workers=some")
        .set("nonsense");
    let problems = case.problems(text);
    let of = |path: &str| {
        let all: Vec<_> = problems.iter().filter(|p| p.path == path).collect();
        assert_eq!(all.len(), 1, "{path}: {problems:#?}");
        all[0].clone()
    };
    assert_eq!(
        places(&problems),
        [
            "- ",
            "- limits.text_workers",
            "- output.scores",
            "2 kafka.bootstrap_servers",
            "3 kafka.group_id",
            "5 input.topcis",
            "7 input.format",
            "10 model.provider",
            "12 batch.max_batch_tokens",
            "13 batch.max_batch_age",
            "14 batch.max_batch_size",
            "16 output.topic",
            "18 limits.drain_timeout",
            "19 limits.drain_timeout",
            "21 log.level",
        ],
        "{problems:#?}"
    );
    assert_eq!(of("input.topcis").hint.unwrap(), "did you mean `topics`?");
    assert_eq!(of("input.format").what, "must be one of json, text");
    assert_eq!(of("input.format").hint.unwrap(), "did you mean `json`?");
    assert_eq!(of("kafka.group_id").hint.unwrap(), "put it in quotes");
    assert!(of("batch.max_batch_age").to_string().contains("20ms"));
    assert_eq!(of("output.scores").origin, Origin::Environment("SQUEEZEFLOW__OUTPUT__SCORES".into()));
    assert_eq!(of("limits.text_workers").origin, Origin::Set);
    let shown = of("batch.max_batch_tokens").to_string();
    let expected = format!(
        "error: batch.max_batch_tokens: expected a whole number from 1, found text\n  --> {}:12",
        case.path().display()
    );
    assert_eq!(shown, expected);
}

#[test]
fn rules_and_schema_errors_come_together() {
    let text = "input: {topics: [reviews]}\nmodel: {path: x}\nbatch: {max_batch_age: soon}\n\
                output: {topic: reviews}\nlog: {level: \"a=b=c\"}\n";
    assert_eq!(
        places(&Case::new().problems(text)),
        ["3 batch.max_batch_age", "4 output.topic", "5 log.level"]
    );
}

#[test]
fn what_rests_on_a_refused_value_is_not_judged() {
    // The token budget is compared with a default here, because the file's own is refused.
    let text = "input: {topics: [a]}\nmodel: {path: x, max_length: 9000}\nbatch: {max_batch_tokens: lots}\n";
    assert_eq!(places(&Case::new().problems(text)), ["3 batch.max_batch_tokens"]);
}

#[test]
fn yaml_that_cannot_be_read_has_line_and_column() {
    let problems = Case::new().problems("input:\n  topics: @x\n");
    let problem = the_one(&problems);
    assert_eq!((problem.line, problem.column), (Some(2), Some(11)), "{problem}");
    let problems = Case::new().problems("- a\n- b\n");
    assert!(problems.iter().any(|p| p.what.contains("map of sections")), "{problems:#?}");
    assert!(Case::new().problems("").iter().any(|p| p.path == "input"));
    let missing = config::load(Path::new("no/such/file.yaml"), &Overrides::default()).unwrap_err();
    assert!(missing.to_string().contains("no/such/file.yaml"), "{missing}");
}

#[test]
fn a_key_without_a_name_is_refused_where_it_stands() {
    let case = Case::new().env("SQUEEZEFLOW__", "1").env("SQUEEZEFLOW__BATCH____", "2").set("batch.=3");
    let problems = case.problems(&format!("{MINIMAL}\"\": 4\nlimits: {{\"\": 5}}\n"));
    let mut told: Vec<_> = problems.iter().map(|p| (p.path.as_str(), p.origin.clone(), p.line)).collect();
    told.sort_by_key(|(path, _, line)| (*path, *line));
    let variable = |name: &str| Origin::Environment(name.into());
    let expected = [
        ("", Origin::Set, None),
        ("\"\"", variable("SQUEEZEFLOW__"), None),
        ("batch.\"\"", variable("SQUEEZEFLOW__BATCH____"), None),
        ("limits.\"\"", Origin::File, Some(4)),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_file_that_is_no_pipeline_says_so_and_where() {
    let case = Case::new();
    let refused = |bytes: &[u8]| {
        std::fs::write(case.path(), bytes).unwrap();
        let problems = config::load(&case.path(), &case.overrides).unwrap_err().problems;
        let of_file = problems.into_iter().find(|p| p.path.is_empty()).unwrap();
        (of_file.line, of_file.what)
    };
    assert_eq!(refused(b"input:\n  topics: [\xff]\n"), (Some(2), "is not UTF-8 from this line on".into()));
    assert_eq!(refused(b"# a comment\n\n- a list\n"), (Some(3), "a pipeline is a map of sections".into()));
    let endless = config::load(Path::new("/dev/zero"), &case.overrides).unwrap_err().problems;
    assert!(the_one(&endless).what.contains("larger than 1 MiB"), "{endless:?}");
    // A key is shown, but it does not drive the terminal.
    let shown = case.try_load("\"\\e[31m\\nerror\": 1\n").unwrap_err().to_string();
    assert!(shown.contains("\\u{1b}[31m\\nerror: unknown key"), "{shown}");
}

#[test]
fn a_section_without_keys_is_as_if_it_were_not_there() {
    let settings = Case::new()
        .load(&format!("{MINIMAL}batch:\n#  max_batch_size: 3\nkafka:\noutput: {{topic: }}\n"))
        .settings;
    assert!(settings.kafka.is_none() && settings.output.topic.is_none());
}

#[test]
fn secrets_come_from_environment_and_files() {
    let sasl = |password: &str| {
        format!(
            "{MINIMAL}kafka:\n  bootstrap_servers: b\n  group_id: g\n  tls: {{}}\n  sasl: {{mechanism: PLAIN, username: u, password: {password}}}\n"
        )
    };
    let reveal = |loaded: Loaded| match loaded.settings.kafka.unwrap().sasl.unwrap() {
        Sasl::Password { password, .. } => password.reveal().to_owned(),
        Sasl::OAuth(oauth) => oauth.client_secret.reveal().to_owned(),
    };
    let case = Case::new().env("MY_PASSWORD", "s3cret").file("password", "fr0mfile\n");
    assert_eq!(reveal(case.load(&sasl("{env: MY_PASSWORD}"))), "s3cret");
    assert_eq!(reveal(case.load(&sasl("{file: password}"))), "fr0mfile");
    let literal = case.load(&sasl("hunter2"));
    assert_eq!(the_one(&literal.warnings).severity, Severity::Warning);
    assert_eq!(places(&literal.warnings), ["7 kafka.sasl.password"]);
    assert_eq!(reveal(literal), "hunter2");
    assert_eq!(places(&case.problems(&sasl("{env: NOT_SET}"))), ["7 kafka.sasl.password.env"]);
    assert_eq!(places(&case.problems(&sasl("{file: not-there}"))), ["7 kafka.sasl.password.file"]);
    let endless = case.problems(&sasl("{file: /dev/zero}"));
    assert_eq!(places(&endless), ["7 kafka.sasl.password.file"]);
    assert!(the_one(&endless).what.contains("too large"), "{endless:?}");
    assert_eq!(places(&case.problems(&sasl("{}"))), ["7 kafka.sasl.password"]);
    assert_eq!(
        places(&case.problems(&sasl("{env: MY_PASSWORD, file: password}"))),
        ["7 kafka.sasl.password"]
    );
}

#[test]
fn a_token_is_one_that_can_be_shown() {
    let text = format!("{MINIMAL}admin: {{token: {{file: token}}}}\n");
    for (token, good) in [
        ("open sesame", true),
        ("open sesame\n", true), // as `echo` writes it
        (" sesame", false),
        ("sesame ", false),
        ("sesame\n\n", false),
        ("ses\tame", false),
        ("sésame", false),
    ] {
        let case = Case::new().file("token", token);
        match good {
            true => assert!(case.load(&text).settings.admin_token.is_some()),
            false => {
                let problems = case.problems(&text);
                assert_eq!(places(&problems), ["3 admin.token"], "{token:?}");
                assert!(!format!("{problems:?}").contains(token.trim()), "{problems:?}");
            }
        }
    }
}

#[test]
fn texts_that_the_output_hides_are_not_on_the_page() {
    let warnings = |rest: &str| {
        let warnings = Case::new().load(&format!("{MINIMAL}{rest}")).warnings;
        places(&warnings)
    };
    let redact = "output: {redact: [ips]}\n";
    assert_eq!(warnings(&format!("{redact}admin: {{show_text: true}}\n")), ["4 admin.show_text"]);
    assert_eq!(warnings(redact), [""; 0]);
    assert_eq!(warnings("admin: {show_text: true}\n"), [""; 0]);
}

/// Whatever is wrong with it or around it, a secret is not shown.
#[test]
fn secrets_are_never_shown() {
    const SECRET: &str = "hunter2";
    let sasl = |sasl: &str| format!("{MINIMAL}kafka: {{bootstrap_servers: b, group_id: g, sasl: {sasl}}}\n");
    let texts = [
        sasl("{mechanism: PLAIN, username: u, password: {hunter2}}"),
        sasl("{mechanism: PLAIN, username: u, password: {hunter2, hunter2}}"),
        sasl("{mechanism: PLAIN, username: u, password: {env: {hunter2: 1, hunter2: 2}}}"),
        sasl("{mechanism: PLAIN, username: u, password: [hunter2]}"),
        sasl("{mechanism: PLAIN, username: u, password: {env: [hunter2]}}"),
        sasl("{mechanism: PLAIN, username: u, password: {evn: hunter2}}"),
        sasl("{mechanism: hunter2, username: u, password: hunter2}"),
        sasl("{mechanism: PLAIN, username: {a: hunter2}, password: \"hunter2\\0\"}"),
        sasl("{mechanism: PLAIN, username: u, pasword: hunter2}"),
        sasl("hunter2"),
        format!(
            "{MINIMAL}kafka: {{bootstrap_servers: b, group_id: g, librdkafka: {{sasl.password: hunter2}}}}\n"
        ),
        format!(
            "{MINIMAL}kafka: {{bootstrap_servers: b, group_id: g, librdkafka: {{linger.ms: hunter2}}}}\n"
        ),
        format!("{MINIMAL}kafka: {{bootstrap_servers: \"hunter2:hunter2\", group_id: g}}\n"),
        format!("{MINIMAL}admin: {{address: hunter2}}\ninput_: hunter2\n"),
    ];
    for text in texts {
        let error = Case::new().try_load(&text).expect_err(&text);
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains(SECRET), "{text}\n{shown}");
        }
    }
    let good = sasl("{mechanism: PLAIN, username: u, password: hunter2}");
    assert!(!format!("{:?}", Case::new().load(&good)).contains(SECRET));
    let typo = Case::new()
        .set("hunter2")
        .set("kafka.sasl.passwort=hunter2")
        .env("SQUEEZEFLOW__KAFKA__SASL__PASWORD", SECRET);
    assert!(!format!("{:?}", typo.overrides).contains(SECRET));
    assert!(!typo.try_load(&good).unwrap_err().to_string().contains(SECRET));
    for assignment in ["Xhunter2==", "kafka.sasl.password: hunter2==", "{hunter2=}"] {
        let forgotten = Case::new().set(assignment);
        assert!(!format!("{:?}", forgotten.overrides).contains(SECRET));
        assert!(!forgotten.try_load(&good).unwrap_err().to_string().contains(SECRET));
    }
}

#[test]
fn a_pipeline_cannot_feed_itself() {
    let with = |topics: &str, output: &str, dead: &str| {
        format!(
            "input: {{topics: {topics}}}\nmodel: {{path: x}}\noutput: {{topic: {output}}}\ndead_letter: {{topic: {dead}}}\n"
        )
    };
    let refused = |topics, output, dead| places(&Case::new().problems(&with(topics, output, dead)));
    assert_eq!(refused("[a, b]", "b", "c"), ["3 output.topic"]);
    assert_eq!(refused("[\"^reviews\"]", "reviews.tagged", "other"), ["3 output.topic"]);
    assert_eq!(refused("[\"^.*[.]dead$\"]", "tagged", "reviews.dead"), ["4 dead_letter.topic"]);
    assert_eq!(
        refused("[\"^reviews\"]", "reviews.tagged", "reviews.dead"),
        ["3 output.topic", "4 dead_letter.topic"]
    );
    assert_eq!(refused("[a]", "b", "b"), ["4 dead_letter.topic"]);
    assert_eq!(refused("[\"^a(\"]", "b", "c"), ["1 input.topics[0]"]);
    assert_eq!(refused("['^a\\d+$']", "b", "c"), ["1 input.topics[0]"]);
    Case::new().load(&with("[\"^reviews$\"]", "reviews.tagged", "reviews.dead"));
}

#[test]
fn what_the_delivery_guarantee_owns_is_refused() {
    for property in [
        "enable.auto.commit",
        "acks",
        "partitioner",
        "ssl.key.pem",
        "auto.offset.reset",
        "session.timeout.ms",
    ] {
        let text = format!(
            "{MINIMAL}kafka:\n  bootstrap_servers: b\n  group_id: g\n  librdkafka:\n    linger.ms: 1\n    {property}: x\n"
        );
        let problems = Case::new().problems(&text);
        assert_eq!(places(&problems), [format!("8 kafka.librdkafka.{property}")]);
        assert!(the_one(&problems).hint.as_ref().is_some_and(|h| h.len() > 10));
    }
    let text = format!(
        "{MINIMAL}kafka: {{bootstrap_servers: b, group_id: g, librdkafka: {{lingre.ms: 1, batch.size: -1}}}}\n"
    );
    assert_eq!(
        places(&Case::new().problems(&text)),
        ["3 kafka.librdkafka.batch.size", "3 kafka.librdkafka.lingre.ms"]
    );
}

#[test]
fn rules_across_keys() {
    let refused = |text: &str| places(&Case::new().problems(text));
    let on = |input: &str, model: &str, rest: &str| {
        format!("input: {{topics: [a]{input}}}\nmodel: {{path: x{model}}}\n{rest}\n")
    };
    assert_eq!(
        refused(&on("", ", max_length: 128", "batch: {max_batch_tokens: 127}")),
        ["3 batch.max_batch_tokens"]
    );
    assert_eq!(
        refused(&on("", ", sessions: 3", "limits: {max_in_flight_records: 255}")),
        ["3 limits.max_in_flight_records"]
    );
    Case::new().load(&on("", ", sessions: 3", "limits: {max_in_flight_records: 256}"));
    assert_eq!(refused(&on("", "", "limits: {max_in_flight_bytes: 1kB}")), ["3 limits.max_in_flight_bytes"]);
    for (written, bytes) in [("0", 0), ("0MiB", 0), ("4096", 4096), ("64MiB", 64 << 20)] {
        let loaded = Case::new().load(&on("", "", &format!("cache: {{max_bytes: {written}}}")));
        assert_eq!(loaded.settings.cache.max_bytes, bytes);
    }
    assert_eq!(refused(&on("", "", "cache: {max_bytes: -1}")), ["3 cache.max_bytes"]);
    assert_eq!(refused(&on(", mask: [numbers, dates]", "", "")), ["1 input.mask[1]"]);
    let drain = format!("{KAFKA}limits: {{drain_timeout: 45s}}");
    assert_eq!(refused(&on("", "", &drain)), ["4 limits.drain_timeout"]);
    assert_eq!(refused(&on(", format: text, text: /a", "", "")), ["1 input.text"]);
    assert_eq!(refused(&on(", format: text", "", "output: {mode: splice}")), ["3 output.mode"]);
    assert_eq!(refused(&on(", text: title", "", "")), ["1 input.text"]);
    assert_eq!(refused(&on(", text: \"{/a} {b}\"", "", "")), ["1 input.text"]);
    assert_eq!(refused(&on(", start: 2026-02-30T00:00:00Z", "", "")), ["1 input.start"]);
    assert_eq!(refused(&on(", format: text", "", "output: {field: text}")), ["3 output.field"]);
    assert_eq!(refused(&on("", ", provider: {cpu: {a: b}}", "")), ["2 model.provider.cpu"]);
    assert_eq!(refused(&on("", ", library: nowhere.so", "")), ["2 model.library"]);
    assert_eq!(refused("input: {topics: []}\nmodel: {path: x}\n"), ["1 input.topics"]);
    assert_eq!(
        refused(&on("", "", "kafka: {bootstrap_servers: b, group_id: g, tls: {key_file: k}}")),
        ["3 kafka.tls.certificate_file", "3 kafka.tls.key_file"]
    );
}

/// Of a package with two labels.
fn facts(max_length: usize) -> ModelFacts<'static> {
    static LABELS: std::sync::LazyLock<[String; 2]> =
        std::sync::LazyLock::new(|| ["negative".into(), "positive".into()]);
    ModelFacts { max_length, labels: &*LABELS, classifies: true, redacts: false }
}

#[test]
fn constructors_give_what_an_unwritten_key_gives() {
    let settings = Case::new().load("input: {topics: [a]}\nmodel: {path: x}\n").settings;
    assert_eq!(settings.input, Input::new(&["a"], Format::Json(TextSelector::Pointer("/text".into()))));
    assert_eq!(settings.output, Output::new(OutputMode::Splice));
}

/// What is not looked at is not hidden: it does not go out.
#[test]
fn nothing_passes_by_what_is_to_be_hidden() {
    let on = |input: &str, output: &str| {
        format!("input: {{topics: [a]{input}}}\nmodel: {{path: x}}\noutput: {{{output}}}\n")
    };
    let two = ", text: '{/subject}. {/body}'";
    let missing = ", on_missing_text: pass-through";
    let refused = [
        (format!("{two}{missing}"), "", "1 input.on_missing_text"),
        (format!(", text: /q, pair: /a{missing}"), "", "1 input.on_missing_text"),
        (", text: /q, pair: /a, on_empty: pass-through".to_owned(), "", "1 input.on_empty"),
        (String::new(), "on_existing: keep", "3 output.on_existing"),
        (", format: text".to_owned(), "mode: headers, on_existing: keep", "3 output.on_existing"),
    ];
    let by_task = ModelFacts { redacts: true, ..facts(256) };
    for (input, output, place) in &refused {
        let hiding =
            on(input, &format!("redact: [ips]{}{output}", if output.is_empty() { "" } else { ", " }));
        let problems = Case::new().problems(&hiding);
        assert_eq!(places(&problems), [*place], "{hiding}");
        let told = the_one(&problems);
        assert!(told.what.contains("`output.redact`") && told.hint.is_some(), "{told}");
        // A task that hides is known when its package is; and nobody is told twice.
        let open = Case::new().load(&on(input, output));
        let problems = config::check_against_model(&open.settings, &[by_task]);
        let told = the_one(&problems);
        assert!(place.ends_with(&told.path) && told.what.contains("`task`"), "{told}");
        assert!(config::check_against_model(&open.settings, &[facts(256)]).is_empty());
    }
    for (input, output) in [
        (format!(", text: '{{/a}} {{/a}}'{missing}, on_empty: pass-through"), ""),
        (format!("{two}, on_empty: pass-through"), "on_existing: replace, "),
        (", format: text, on_empty: pass-through".to_owned(), "mode: envelope, "),
    ] {
        let loaded = Case::new().load(&on(&input, &format!("{output}redact: [ips]")));
        assert!(config::check_against_model(&loaded.settings, &[by_task]).is_empty());
    }
}

#[test]
fn conditions_windows_and_routes() {
    let with = |input: &str, rest: &str| {
        Case::new().load(&format!("input: {{topics: [a]{input}}}\nmodel: {{path: x}}\n{rest}"))
    };
    let settings = with(", when: {field: /lang, in: [en, 5]}, long_text: windows, stride: 64", "").settings;
    let test = Test::In(vec!["en".into(), 5.into()]);
    assert_eq!(settings.input.when, Some(When { subject: Subject::Field("/lang".into()), test }));
    let most = NonZeroUsize::new(16).unwrap();
    assert_eq!(
        settings.input.long_text,
        LongText::Windows(Windows { stride: 64, most, combine: Combine::Mean })
    );
    let loaded = with(
        ", long_text: windows, stride: 200",
        "output: {below: 0.6, uncertain_label: positive, route: {Negative: b, uncertain: c}}",
    );
    let found = config::check_against_model(&loaded.settings, &[facts(256)]);
    let paths: Vec<&str> = found.iter().map(|p| p.path.as_str()).collect();
    let expected =
        ["input.stride", "output.uncertain_label", "output.route.Negative", "output.route.uncertain"];
    assert_eq!(paths, expected, "keys of a map keep their case");
    let regression = ModelFacts { classifies: false, ..facts(256) };
    let loaded = with("", "output: {below: 0.6}");
    assert_eq!(the_one(&config::check_against_model(&loaded.settings, &[regression])).path, "output.below");
    let case = Case::new().set("output.below=0.75").set("output.route.negative=urgent");
    let output = case.load("input: {topics: [a]}\nmodel: {path: x}\n").settings.output;
    assert_eq!(output.uncertain, Some(Uncertain { below: 0.75, label: "uncertain".into() }));
    assert_eq!(output.route["negative"], "urgent");
}

#[test]
fn conditions_and_routes_that_cannot_be() {
    let on = |input: &str, rest: &str| {
        format!(
            "input: {{topics: [a]{input}}}\nmodel: {{path: x}}\noutput: {{topic: out{rest}}}\ndead_letter: {{topic: dead}}\n"
        )
    };
    let refused = |text: &str| places(&Case::new().problems(text));
    for (input, path) in [
        (", when: {field: /a}", "input.when"),
        (", when: {field: /a, equals: 1, exists: true}", "input.when"),
        (", when: {equals: 1}", "input.when.field"),
        (", when: {field: /a, header: b, equals: 1}", "input.when.header"),
        (", when: {field: a, equals: 1}", "input.when.field"),
        (", format: text, when: {field: /a, equals: 1}", "input.when.field"),
        (", when: {field: /a, equals: {b: 1}}", "input.when.equals"),
        (", long_text: window", "input.long_text"),
    ] {
        assert_eq!(refused(&on(input, "")), [format!("1 {path}")], "{input}");
    }
    assert_eq!(refused(&on("", ", route: {negative: a}")), ["3 output.route.negative"], "it feeds itself");
    assert_eq!(refused(&on("", ", route: {negative: dead}")), ["4 dead_letter.topic"]);
    assert_eq!(refused(&on("", ", route: {negative: 'a b'}")), ["3 output.route.negative"]);
    assert_eq!(refused(&on("", ", below: 1.5")), ["3 output.below"]);
}

#[test]
fn the_token_budget_holds_the_packages_longest_sequence() {
    let loaded = Case::new().load(&format!("{MINIMAL}batch: {{max_batch_tokens: 256}}\n"));
    assert!(config::check_against_model(&loaded.settings, &[facts(256)]).is_empty());
    let problem = the_one(&config::check_against_model(&loaded.settings, &[facts(512)])).clone();
    let located = loaded.places.locate(problem);
    assert_eq!((located.path.as_str(), located.line), ("batch.max_batch_tokens", Some(3)));
    let longer = Case::new().load("input: {topics: [a]}\nmodel: {path: x, max_length: 1024}\n");
    assert_eq!(
        the_one(&config::check_against_model(&longer.settings, &[facts(512)])).path,
        "model.max_length"
    );
}

/// By themselves; tests/cli.rs holds them against their packages.
#[test]
fn shipped_pipelines_are_valid() {
    let mut seen = 0;
    for entry in std::fs::read_dir(repository().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        if config::is_beside(&path) {
            continue;
        }
        let loaded = config::load(&path, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert!(config::require_kafka(&loaded.settings).is_empty());
        assert!(loaded.settings.results.first.model.path.join("config.json").is_file(), "{path:?}");
        seen += 1;
    }
    assert!(seen >= 3);
}

/// docs/CONFIGURATION.md says of every key what the types say, and of no other.
#[test]
fn the_documentation_matches_the_schema() {
    let text = std::fs::read_to_string(repository().join("docs/CONFIGURATION.md")).unwrap();
    let documented: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let schema = config::schema();
    let expected: Vec<String> = config::paths(&schema)
        .iter()
        .filter_map(|(path, node)| row(path, node, needed(&schema, path)))
        .collect();
    for row in &expected {
        assert!(
            documented.contains(&row.as_str()),
            "docs/CONFIGURATION.md lacks or contradicts this row:\n{row}"
        );
    }
    for row in documented {
        assert!(
            expected.iter().any(|e| e == row),
            "docs/CONFIGURATION.md has a row that no key stands behind:\n{row}"
        );
    }
}

/// Does the section of this key require it?
fn needed(schema: &serde_json::Value, path: &str) -> bool {
    let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
    let pointer: String =
        section.split('.').filter(|s| !s.is_empty()).map(|s| format!("/properties/{s}")).collect();
    let pointer = pointer.replace("[]", "/items");
    schema
        .pointer(&pointer)
        .and_then(|s| s["required"].as_array())
        .is_some_and(|keys| keys.iter().any(|k| k == key))
}

/// One line of the table; `None` for a section, whose keys have lines of their own.
fn row(path: &str, node: &serde_json::Value, needed: bool) -> Option<String> {
    let text = |keyword: &str| node[keyword].as_str().map(str::to_owned);
    let keys_below = |node: &serde_json::Value| node["type"] == "object" && node["properties"].is_object();
    if path.ends_with(".<name>") || keys_below(node) || keys_below(&node["items"]) {
        return None;
    }
    let kind = text("title").or_else(|| {
        let words = node["enum"].as_array().map(|options| {
            options.iter().filter_map(|o| o.as_str()).map(|o| format!("`{o}`")).collect::<Vec<_>>().join(", ")
        });
        words.or_else(|| {
            Some(
                match node["type"].as_str()? {
                    "string" => "text",
                    "boolean" => "true or false",
                    "array" => "a list",
                    "object" => "a map",
                    other => other,
                }
                .to_owned(),
            )
        })
    })?;
    let default = match &node["default"] {
        _ if needed => "needed".to_owned(),
        serde_json::Value::Null => "–".to_owned(),
        serde_json::Value::String(s) => format!("`{s}`"),
        other => format!("`{other}`"),
    };
    Some(format!("| `{path}` | {kind} | {default} | {} |", text("description")?.replace('|', "\\|")))
}

fn squeezeflow(arguments: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_squeezeflow"));
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_prints_schema_and_completions() {
    let (code, out, _) = squeezeflow(&["schema"]);
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), config::schema());
    let (code, out, _) = squeezeflow(&["completions", "bash"]);
    assert!(code == 0 && out.contains("--dead-letters"), "{out}");
    let (code, out, _) = squeezeflow(&["--help"]);
    assert!(code == 0 && out.contains("Exit codes:"), "{out}");
}

#[test]
fn check_tells_all_mistakes_of_all_files() {
    let one = Case::new().file("pipeline.yaml", "input: {topcis: [a]}\nmodel: {path: x, sessions: -1}\n");
    let two = Case::new().file("pipeline.yaml", "input: [\n");
    let (code, out, err) =
        squeezeflow(&["check", one.path().to_str().unwrap(), two.path().to_str().unwrap()]);
    assert_eq!(code, 2, "{err}");
    for told in [
        "input.topcis: unknown key",
        "input.topics: is missing",
        "model.sessions: must be at least 1",
        "this is not YAML",
    ] {
        assert!(err.contains(told), "{told} in {err}");
    }
    assert_eq!(out.matches(": refused").count(), 2, "{out}");
}

#[test]
fn run_wants_kafka() {
    let case = Case::new().file("pipeline.yaml", MINIMAL);
    let (code, _, err) = squeezeflow(&["run", case.path().to_str().unwrap()]);
    assert_eq!(code, 2);
    for told in ["kafka: is missing", "output.topic: is missing", "dead_letter.topic: is missing"] {
        assert!(err.contains(told), "{told} in {err}");
    }
    let (code, ..) = squeezeflow(&["run"]);
    assert_eq!(code, 2);
}

#[test]
fn a_mechanism_wants_its_own_credentials() {
    let sasl = |sasl: &str, tls: &str| {
        format!("{MINIMAL}kafka:\n  bootstrap_servers: b\n  group_id: g\n{tls}  sasl: {sasl}\n")
    };
    let tls = "  tls: {}\n";
    let case = Case::new().env("S", "s3cret");
    let oauth = |url: &str| {
        format!(
            "{{mechanism: OAUTHBEARER, oauth: {{token_url: \"{url}\", client_id: c, client_secret: {{env: S}}}}}}"
        )
    };
    let loaded = case.load(&sasl(&oauth("https://issuer/token"), tls));
    assert!(loaded.warnings.is_empty());
    let Some(Sasl::OAuth(settings)) = loaded.settings.kafka.unwrap().sasl else { panic!("no token") };
    assert_eq!((settings.client_id.as_str(), settings.client_secret.reveal()), ("c", "s3cret"));

    let refused = |text: &str| {
        let problems = case.problems(&sasl(text, tls));
        problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    assert_eq!(refused("{mechanism: OAUTHBEARER}"), ["kafka.sasl.oauth"]);
    assert_eq!(
        refused("{mechanism: OAUTHBEARER, username: u, password: {env: S}}"),
        ["kafka.sasl.oauth", "kafka.sasl.password", "kafka.sasl.username"]
    );
    assert_eq!(refused("{mechanism: PLAIN}"), ["kafka.sasl.password", "kafka.sasl.username"]);
    let both = oauth("https://issuer/token").replace("OAUTHBEARER", "PLAIN, username: u, password: {env: S}");
    assert_eq!(refused(&both), ["kafka.sasl.oauth"]);
    for url in
        ["issuer/token", "https://", "https://me:s3cret@issuer/", "https://issuer/?key=s3cret", "ftp://x"]
    {
        let problems = case.problems(&sasl(&oauth(url), tls));
        assert_eq!(the_one(&problems).path, "kafka.sasl.oauth.token_url");
        assert!(!problems[0].to_string().contains("s3cret"), "{}", problems[0]);
    }

    let warned = |text: &str, tls: &str| {
        let warnings = case.load(&sasl(text, tls)).warnings;
        warnings.into_iter().map(|warning| warning.path).collect::<Vec<_>>()
    };
    let plain = "{mechanism: PLAIN, username: u, password: {env: S}}";
    assert_eq!(warned(plain, ""), ["kafka.sasl.mechanism"]);
    assert!(warned(plain, tls).is_empty());
    assert!(warned(&plain.replace("PLAIN", "SCRAM-SHA-256"), "").is_empty());
    assert_eq!(warned(&oauth("http://issuer/token"), tls), ["kafka.sasl.oauth.token_url"]);
    assert_eq!(warned(&oauth("https://issuer/token"), ""), ["kafka.sasl.mechanism"]);
}

#[test]
fn the_files_of_tls_are_looked_at() {
    use openssl::pkey::PKey;
    use openssl::symm::Cipher;
    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (one, other) = (made("one"), made("other"));
    let key = PKey::private_key_from_pem(one.signing_key.serialize_pem().as_bytes()).unwrap();
    let locked = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"s3cret").unwrap();
    let case = Case::new()
        .env("RIGHT", "s3cret")
        .env("WRONG", "wr0ng")
        .file("one.crt", &one.cert.pem())
        .file("one.key", &one.signing_key.serialize_pem())
        .file("other.key", &other.signing_key.serialize_pem())
        .file("locked.key", &String::from_utf8(locked).unwrap())
        .file("nonsense", "s3cret");
    let tls = |tls: &str| format!("{MINIMAL}kafka: {{bootstrap_servers: b, group_id: g, tls: {{{tls}}}}}\n");
    for good in [
        "ca_file: one.crt",
        "ca_file: .",
        "certificate_file: one.crt, key_file: one.key",
        "certificate_file: one.crt, key_file: locked.key, key_password: {env: RIGHT}",
    ] {
        case.load(&tls(good));
    }
    for (bad, at) in [
        ("ca_file: nonsense", "kafka.tls.ca_file"),
        ("ca_file: one.key", "kafka.tls.ca_file"),
        ("certificate_file: nonsense, key_file: one.key", "kafka.tls.certificate_file"),
        ("certificate_file: one.crt, key_file: nonsense", "kafka.tls.key_file"),
        ("certificate_file: one.crt, key_file: other.key", "kafka.tls.key_file"),
        ("certificate_file: one.crt, key_file: locked.key", "kafka.tls.key_password"),
        (
            "certificate_file: one.crt, key_file: locked.key, key_password: {env: WRONG}",
            "kafka.tls.key_password",
        ),
    ] {
        let problems = case.problems(&tls(bad));
        assert_eq!(the_one(&problems).path, at, "{bad}");
        let told = problems[0].to_string();
        assert!(!told.contains("s3cret") && !told.contains("wr0ng"), "{told}");
    }
}
