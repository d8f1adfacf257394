//! Rules that span several keys. Pure.

use std::collections::BTreeSet;

use super::path;
use super::problem::Problem;
use super::settings::{
    Batch, Delivery, Kafka, LongText, PasswordMechanism, ProviderKind, ResultList, Sasl, Settings,
};
use super::topics::Subscription;
use super::unread::unread;

/// Records that sit in batches: one in every session, and one more for each model that is being collected.
pub(super) fn records_in_batches(batch: &Batch, results: &ResultList) -> usize {
    let batches = results.iter().map(|result| result.model.sessions.get().saturating_add(1));
    batch.max_size.get().saturating_mul(batches.fold(0, usize::saturating_add))
}

/// All rules that hold for every verb.
pub(super) fn across(settings: &Settings) -> Vec<Problem> {
    [
        capacity(settings),
        token_budget(settings),
        patience(settings),
        transactions(settings),
        loops(settings),
        no_effect(settings),
        stuck(settings),
        in_the_open(settings),
        settings.output.redact.first().map_or_else(Vec::new, |_| unread(settings, "output.redact")),
    ]
    .concat()
}

/// Can the batches be filled at all?
fn capacity(settings: &Settings) -> Vec<Problem> {
    let mut found = Vec::new();
    let needed = records_in_batches(&settings.batch, &settings.results);
    if settings.limits.max_in_flight_records.get() < needed {
        let what = format!(
            "is too small to keep {} sessions busy with batches of {}",
            settings.results.iter().map(|result| result.model.sessions.get()).sum::<usize>(),
            settings.batch.max_size
        );
        found.push(
            Problem::error("limits.max_in_flight_records", what)
                .hint(format!("at least {needed}: max_batch_size × (sessions + 1)"))
                .also(&[
                    "batch.max_batch_size",
                    "model.sessions",
                    "model.threads",
                    "model.provider",
                    "results",
                ]),
        );
    }
    if settings.limits.max_in_flight_bytes < settings.input.max_text_bytes {
        found.push(
            Problem::error(
                "limits.max_in_flight_bytes",
                "is smaller than `input.max_text_bytes`: no such text would ever fit",
            )
            .hint(format!("at least {}", settings.input.max_text_bytes))
            .also(&["input.max_text_bytes"]),
        );
    }
    found
}

fn token_budget(settings: &Settings) -> Vec<Problem> {
    let too_long = settings.results.iter().filter_map(|result| {
        let max = result.model.max_length.filter(|max| settings.batch.max_tokens < *max)?;
        Some(too_few_tokens(max.get()).also(&[&result.at("model.max_length")]))
    });
    too_long.collect()
}

fn too_few_tokens(max_length: usize) -> Problem {
    let what = format!("is smaller than the longest sequence, {max_length} tokens: it would never fit");
    Problem::error("batch.max_batch_tokens", what)
        .hint(format!("at least {max_length}, or a smaller `model.max_length`"))
}

/// Does the drain end before the group loses patience?
fn patience(settings: &Settings) -> Vec<Problem> {
    let Some(kafka) = &settings.kafka else { return Vec::new() };
    if settings.limits.drain_timeout < kafka.session_timeout {
        return Vec::new();
    }
    let problem = Problem::error(
        "limits.drain_timeout",
        "must be shorter than `kafka.session_timeout`: else the group takes the partitions while they are drained",
    );
    vec![problem.hint(format!("less than {:?}", kafka.session_timeout)).also(&["kafka.session_timeout"])]
}

/// Is there time to commit a transaction before the brokers abort it? And does it read what is
/// committed?
fn transactions(settings: &Settings) -> Vec<Problem> {
    let Some(kafka) = &settings.kafka else { return Vec::new() };
    let mut found = Vec::new();
    if settings.delivery == Delivery::AtLeastOnce {
        if kafka.transactional_id.is_some() {
            let what = "has no effect: `delivery` is `at-least-once`";
            found.push(Problem::warning("kafka.transactional_id", what).also(&["delivery"]));
        }
        return found;
    }
    if kafka.transaction_timeout < kafka.commit_interval * 4 {
        let problem = Problem::error(
            "kafka.transaction_timeout",
            "must be at least four times `kafka.commit_interval`: else the brokers abort what is about to be committed",
        );
        let hint = format!("at least {:?}", kafka.commit_interval * 4);
        found.push(problem.hint(hint).also(&["kafka.commit_interval"]));
    }
    if kafka.librdkafka.contains_key("isolation.level") {
        let problem = Problem::error(
            "kafka.librdkafka.isolation.level",
            "is not for a pipeline with `delivery: exactly-once` to set: it reads what is committed",
        );
        found.push(problem.hint("remove it, or write `delivery: at-least-once`").also(&["delivery"]));
    }
    found
}

/// Is a batch given the time that it may take?
fn stuck(settings: &Settings) -> Vec<Problem> {
    if settings.stuck_after > settings.batch.timeout {
        return Vec::new();
    }
    let what = "is not longer than `batch.timeout`: a batch that takes its time counts as stuck";
    let problem = Problem::warning("admin.stuck_after", what);
    vec![problem.hint(format!("more than {:?}", settings.batch.timeout)).also(&["batch.timeout"])]
}

/// A pipeline cannot feed itself, nor mix its results with its dead letters.
fn loops(settings: &Settings) -> Vec<Problem> {
    let mut found = Vec::new();
    let dead = settings.dead_letter.as_ref().map(|d| d.topic.as_str());
    let mut results: Vec<(String, &str)> = Vec::new();
    results.extend(settings.output.topic.iter().map(|topic| ("output.topic".to_owned(), topic.as_str())));
    results.extend(settings.output.route.iter().map(|(label, topic)| (route(label), topic.as_str())));
    let letters = dead.map(|dead| ("dead_letter.topic".to_owned(), dead));
    for (at, topic) in results.iter().cloned().chain(letters) {
        let reads = |entry: &&String| Subscription::parse(entry).is_ok_and(|s| s.reads(topic));
        if let Some(entry) = settings.input.topics.iter().find(reads) {
            let what =
                format!("`{topic}` is read by `{entry}` in `input.topics`: a pipeline cannot feed itself");
            let hint = match entry.starts_with('^') {
                true => "end the pattern with `$`, or choose a topic that it does not match",
                false => "choose another topic",
            };
            found.push(Problem::error(at, what).hint(hint).also(&["input.topics"]));
        }
    }
    if let Some((at, _)) = results.iter().find(|(_, topic)| Some(*topic) == dead) {
        let problem = Problem::error(
            "dead_letter.topic",
            format!("is the topic of `{at}`, too: results and dead letters would be mixed"),
        );
        found.push(
            problem.hint("such as the output topic with `.dead`").also(&["output.topic", "output.route"]),
        );
    }
    found
}

/// The path of a label's route.
fn route(label: &str) -> String {
    path::key("output.route", label)
}

/// What was written, and does nothing here.
fn no_effect(settings: &Settings) -> Vec<Problem> {
    let mut found = Vec::new();
    for result in settings.results.iter() {
        let model = &result.model;
        let accelerated = model.provider.kind != ProviderKind::Cpu;
        if accelerated && model.threads.get() > 1 && model.fallback.is_empty() {
            let at = result.at("model.threads");
            let problem = Problem::warning(at, "has no effect: the provider is not `cpu`");
            found.push(problem.also(&[&result.at("model.provider")]));
        }
    }
    if settings.show_text && !settings.output.redact.is_empty() {
        let what = "has no effect: what `output.redact` hides is not shown on the page, so no text is";
        found.push(Problem::warning("admin.show_text", what).also(&["output.redact"]));
    }
    found
}

/// What is secret, and anybody on the way can read.
fn in_the_open(settings: &Settings) -> Vec<Problem> {
    let Some(Kafka { tls: None, sasl: Some(sasl), .. }) = &settings.kafka else { return Vec::new() };
    let what = match sasl {
        Sasl::Password { mechanism: PasswordMechanism::Plain, .. } => "the password",
        Sasl::OAuth(_) => "the token",
        // A challenge; only the records are in the open.
        Sasl::Password { .. } => return Vec::new(),
    };
    let problem = Problem::warning("kafka.sasl.mechanism", format!("{what} goes over the network as it is"));
    vec![problem.hint("write `kafka.tls`, too").also(&["kafka.tls"])]
}

/// What only a result's package and task know.
#[derive(Debug, Clone, Copy)]
pub struct ModelFacts<'a> {
    /// The longest sequence that the package reads, in tokens.
    pub max_length: usize,
    /// That a result can have, in order of index; none where they are not known, or there are none.
    pub labels: &'a [String],
    /// Its scores are probabilities, not numbers of their own kind (a regression's).
    pub classifies: bool,
    /// It hides parts of the text.
    pub redacts: bool,
}

/// The rules that need the packages: token budget, window overlap, labels. One of `facts` for each result.
pub fn check_against_model(settings: &Settings, facts: &[ModelFacts<'_>]) -> Vec<Problem> {
    let mut found = Vec::new();
    for (result, facts) in settings.results.iter().zip(facts) {
        let max_length = facts.max_length;
        let asked = result.model.max_length.map_or(max_length, |max| max.get());
        if asked > max_length {
            let what = format!("is more than the package can read, {max_length} tokens");
            let problem = Problem::error(result.at("model.max_length"), what);
            found.push(problem.hint(format!("at most {max_length}, or leave it out")));
        }
        let window = asked.min(max_length);
        if settings.batch.max_tokens.get() < window {
            found.push(too_few_tokens(window));
        }
        if let LongText::Windows(windows) = settings.input.long_text
            && windows.stride > window / 2
        {
            let what = format!("is more than half a window of {window} tokens");
            found.push(Problem::error("input.stride", what).hint(format!("at most {}", window / 2)));
        }
    }
    found.dedup();
    let uncertain = settings.output.uncertain.as_ref();
    if let Some(uncertain) = uncertain {
        if !facts.iter().any(|facts| facts.classifies) {
            let what = "is for labels with scores from 0 to 1, and no result here gives any (a regression, entities, answers)";
            found.push(Problem::error("output.below", what).hint("leave it out"));
        }
        if facts.iter().any(|facts| facts.labels.contains(&uncertain.label)) {
            let what = "is a label of the package: nobody could tell the two apart";
            found.push(Problem::error("output.uncertain_label", what).hint("another word"));
        }
    }
    let redacts = settings.results.iter().zip(facts).find(|(_, facts)| facts.redacts);
    if let Some((result, _)) = redacts.filter(|_| settings.output.redact.is_empty()) {
        found.extend(unread(settings, &result.at("task")));
    }
    found.extend(routes(settings, facts));
    found
}

/// The labels of the result that goes before the others: the one that is named, else the first that has some.
fn leading<'a>(settings: &Settings, facts: &[ModelFacts<'a>]) -> (Option<&'a [String]>, bool) {
    let mut results = settings.results.iter().zip(facts);
    let leads = match &settings.output.route_by {
        None => results.find(|(_, facts)| !facts.labels.is_empty()),
        Some(name) => results.find(|(result, _)| result.name.as_ref() == Some(name)),
    };
    (leads.map(|(_, facts)| facts.labels), leads.is_some_and(|(result, _)| result.required))
}

/// What the label of a record can be, as `squeezeflow test` sees it: the first that there is.
pub fn labels_of_records(settings: &Settings, facts: &[ModelFacts<'_>]) -> Vec<String> {
    match leading(settings, facts) {
        (Some(labels), true) if !labels.is_empty() => labels.to_vec(),
        // Where it has none, another one's is the first.
        _ => {
            let all: BTreeSet<&String> = facts.iter().flat_map(|facts| facts.labels).collect();
            all.into_iter().cloned().collect()
        }
    }
}

/// Does each route belong to a label that there is?
fn routes(settings: &Settings, facts: &[ModelFacts<'_>]) -> Vec<Problem> {
    let output = &settings.output;
    let (labels, _) = leading(settings, facts);
    if labels.is_none() && output.route_by.is_some() {
        let problem = Problem::error("output.route_by", "is no name of a result");
        let names = settings.results.iter().filter_map(|result| result.name.as_deref());
        let names = names.collect::<Vec<_>>().join(", ");
        return vec![problem.hint(match names.is_empty() {
            true => "leave it out: there is one result".to_owned(),
            false => format!("one of: {names}"),
        })];
    }
    let labels = labels.unwrap_or_default();
    let uncertain = output.uncertain.as_ref();
    let nowhere = |label: &&String| !labels.contains(label) && uncertain.is_none_or(|u| u.label != **label);
    let problem = |label: &String| {
        let what = "is no label of the package: nothing would go there";
        Problem::error(route(label), what).hint(format!("its labels: {}", labels.join(", ")))
    };
    output.route.keys().filter(nowhere).map(problem).collect()
}

/// What `run` needs and `tag` does not.
pub fn require_kafka(settings: &Settings) -> Vec<Problem> {
    let missing = |at: &str, hint: &str| Problem::error(at, "is missing: `run` needs it").hint(hint);
    let mut found = Vec::new();
    if settings.kafka.is_none() {
        found.push(missing("kafka", "`kafka: {bootstrap_servers: \"localhost:9092\", group_id: sentiment}`"));
    }
    if settings.output.topic.is_none() {
        found.push(missing("output.topic", "such as `reviews.tagged`"));
    }
    if settings.dead_letter.is_none() {
        found.push(missing("dead_letter.topic", "such as `reviews.dead`"));
    }
    found
}
