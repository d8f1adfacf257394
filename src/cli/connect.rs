//! `check --connect`: asks the brokers what can be asked without leaving a trace. No topic is made,
//! no record written, no group joined.
//!
//! What this cannot show: whether the group may be joined (only whether it may be seen), and the
//! transactional id. Brokers older than Kafka 2.3 do not tell rights to topics either.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use regex::Regex;

use crate::config::Problem;
use crate::config::settings::{Kafka, OutputPartition, Settings};
use crate::kafka::ears;
use crate::kafka::entry::{Entry, NotIn};
use crate::kafka::tokens::Tokens;
use crate::kafka::{Operation, Resource, client};
use crate::shutdown::Shutdown;

/// What the brokers said.
#[derive(Default)]
pub(super) struct Answer {
    /// Lines for people.
    pub(super) facts: String,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
}

/// Asks for every topic of the pipeline and for its group; waits `patience` for each answer.
pub(super) fn check(settings: &Settings, patience: Duration) -> Answer {
    let mut answer = Answer::default();
    let Some(kafka) = &settings.kafka else { return answer };
    match Probe::open(kafka, patience) {
        Ok(probe) => probe.ask(settings, kafka, &mut answer),
        Err(problem) => answer.problems.push(*problem),
    }
    answer
}

struct Probe<'a> {
    entry: Entry<'a>,
    tokens: Option<Arc<Tokens>>,
    patience: Duration,
}

impl<'a> Probe<'a> {
    fn open(kafka: &'a Kafka, patience: Duration) -> Result<Self, Box<Problem>> {
        let tokens = Tokens::of(kafka);
        Entry::open(kafka, tokens.clone())
            .map(|entry| Self { entry, tokens, patience })
            .map_err(|e| refused_settings(&e))
    }

    fn ask(&self, settings: &Settings, kafka: &Kafka, answer: &mut Answer) {
        let cluster = match self.entry.knock(None, self.patience, &Shutdown::new()) {
            Ok(Some(cluster)) => cluster,
            Ok(None) => return,
            Err(NotIn::Refused(e)) => return answer.problems.push(Problem::error(e.key(), e.to_string())),
            Err(NotIn::Silent(error, reason)) => {
                return answer.problems.push(unreachable(kafka, &error, &reason));
            }
        };
        let _ = writeln!(answer.facts, "  brokers    {}", cluster.brokers().len());
        let inputs = self.inputs(settings, &cluster, answer);
        let output = &settings.output;
        let ask = |at: &str, topic: &str, answer: &mut Answer| {
            Some((topic.to_owned(), self.topic(at, topic, Operation::Write, answer)?))
        };
        let main = output.topic.as_deref().and_then(|topic| ask("output.topic", topic, answer));
        let mut outputs: Vec<(String, usize)> = main.into_iter().collect();
        for (label, topic) in &output.route {
            outputs.extend(ask(&format!("output.route.{label}"), topic, answer));
        }
        if let Some(dead) = &settings.dead_letter {
            self.topic("dead_letter.topic", &dead.topic, Operation::Write, answer);
        }
        let widest = inputs.iter().max_by_key(|(_, partitions)| *partitions);
        let narrowest = outputs.iter().min_by_key(|(_, partitions)| *partitions);
        if let (OutputPartition::Input, Some((output, have)), Some((topic, partitions))) =
            (output.partition, narrowest, widest)
            && have < partitions
        {
            let what = format!(
                "`input` needs as many partitions as the input has: `{topic}` has {partitions}, `{output}` {have}"
            );
            answer.problems.push(
                Problem::error("output.partition", what)
                    .hint("add partitions to the output topics, or write `key`"),
            );
        }
        self.group(kafka, &inputs, answer);
    }

    /// The input topics that there are, with their partitions.
    fn inputs(&self, settings: &Settings, cluster: &Metadata, answer: &mut Answer) -> Vec<(String, usize)> {
        let mut inputs = Vec::new();
        for (i, entry) in settings.input.topics.iter().enumerate() {
            let at = format!("input.topics[{i}]");
            let pattern = entry.starts_with('^').then(|| Regex::new(entry).ok()).flatten();
            let Some(pattern) = pattern else {
                inputs.extend(
                    self.topic(&at, entry, Operation::Read, answer)
                        .map(|partitions| (entry.clone(), partitions)),
                );
                continue;
            };
            let names = cluster.topics().iter().map(|t| t.name()).filter(|name| pattern.is_match(name));
            let names: Vec<String> = names.map(str::to_owned).collect();
            if names.is_empty() {
                let problem = Problem::warning(at, "matches no topic that this user may see");
                answer.problems.push(problem.hint("topics that are made later will be read"));
                continue;
            }
            for name in names {
                let partitions = self.topic(&at, &name, Operation::Read, answer);
                inputs.extend(partitions.map(|partitions| (name, partitions)));
            }
        }
        inputs
    }

    /// Its partitions; `None`, with a problem at `at`, where it cannot be had.
    fn topic(&self, at: &str, name: &str, operation: Operation, answer: &mut Answer) -> Option<usize> {
        let refused = |what: String, hint: &str| Problem::error(at, what).hint(hint);
        let metadata = match self.entry.consumer().fetch_metadata(Some(name), self.patience) {
            Ok(metadata) => metadata,
            Err(e) => {
                let code = e.rdkafka_error_code().map_or("no answer".into(), |c| c.to_string());
                answer.problems.push(refused(format!("`{name}`: {code}"), "is the cluster overloaded?"));
                return None;
            }
        };
        let topic = metadata.topics().iter().find(|t| t.name() == name);
        let error = topic.and_then(|t| t.error()).map(RDKafkaErrorCode::from);
        let problem = match error {
            None => None,
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                let hint = format!("kafka-topics.sh --create --topic {name} …");
                Some(refused(format!("there is no topic `{name}`"), &hint))
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Some(Problem::error(
                at,
                self.entry.refuses(operation, Resource::Topic(name.to_owned())).to_string(),
            )),
            Some(other) => Some(refused(format!("`{name}`: {other}"), "see the broker's log")),
        };
        let partitions = topic.map_or(0, |t| t.partitions().len());
        if let Some(problem) = problem {
            answer.problems.push(problem);
            return None;
        }
        if let Some(denied) = self.entry.denied(&[(operation, name)]) {
            answer.problems.push(Problem::error(at, denied.to_string()));
            return None;
        }
        let _ = writeln!(
            answer.facts,
            "  {:<10} {name}, {partitions} partitions",
            at.split(['.', '[']).next().unwrap_or(at)
        );
        Some(partitions)
    }

    /// May this user read as this group? Asks for its committed offsets, which joins nothing.
    fn group(&self, kafka: &Kafka, inputs: &[(String, usize)], answer: &mut Answer) {
        let mut partitions = TopicPartitionList::new();
        for (topic, count) in inputs {
            let last = i32::try_from(*count).unwrap_or(i32::MAX) - 1;
            if last >= 0 {
                partitions.add_partition_range(topic, 0, last);
            }
        }
        if partitions.count() == 0 {
            return;
        }
        // The one question that needs the group's name.
        let asked = ears::consumer(&client::consumer_config(kafka), self.tokens.clone())
            .and_then(|consumer| consumer.committed_offsets(partitions, self.patience));
        match asked {
            Ok(committed) => {
                let known = committed
                    .elements()
                    .iter()
                    .filter(|e| e.offset().to_raw().is_some_and(|o| o >= 0))
                    .count();
                let _ = writeln!(
                    answer.facts,
                    "  group      {}, commits on {known} of {} partitions",
                    kafka.group_id,
                    committed.count()
                );
            }
            Err(e) => {
                let at = "kafka.group_id";
                answer.problems.push(match e.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                        let group = Resource::Group(kafka.group_id.clone());
                        Problem::error(at, self.entry.refuses(Operation::Read, group).to_string())
                    }
                    Some(code) => Problem::error(at, format!("the group cannot be asked: {code}")),
                    None => Problem::error(at, "the group cannot be asked"),
                });
            }
        }
    }
}

fn refused_settings(error: &KafkaError) -> Box<Problem> {
    let what = "the client refuses these settings";
    let what = match error {
        KafkaError::ClientCreation(reason) => format!("{what}: {reason}"),
        _ => what.to_owned(),
    };
    Box::new(Problem::error("kafka", what))
}

fn unreachable(kafka: &Kafka, error: &KafkaError, reason: &str) -> Problem {
    let code = error.rdkafka_error_code().map_or("no answer".into(), |code| code.to_string());
    let what = format!("no broker of `{}` answered: {reason} ({code})", kafka.bootstrap_servers);
    Problem::error("kafka.bootstrap_servers", what)
        .hint("is the address right, and do `kafka.tls` and `kafka.sasl` fit it?")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::config::{self, Overrides};

    fn ask(servers: &str, partition: &str, patience: Duration) -> Answer {
        let dir = tempfile::tempdir().unwrap();
        let text = "input: {topics: [\"^in[.].*$\", missing]}\nmodel: {path: x}\noutput: {topic: out}\ndead_letter: {topic: dead}\n";
        let file = dir.path().join("p.yaml");
        std::fs::write(&file, text).unwrap();
        let set = [
            format!("kafka.bootstrap_servers={servers}"),
            "kafka.group_id=g".into(),
            format!("output.partition={partition}"),
        ];
        let overrides = Overrides { set: set.into(), ..Overrides::default() };
        let settings = config::load(Path::new(&file), &overrides).unwrap().settings;
        check(&settings, patience)
    }

    #[test]
    fn the_brokers_are_asked() {
        let cluster = MockCluster::new(1).unwrap();
        for (topic, partitions) in [("in.a", 4), ("in.b", 2), ("out", 3), ("dead", 1)] {
            cluster.create_topic(topic, partitions, 1).unwrap();
        }
        cluster
            .topic_error("dead", rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            .unwrap();
        cluster
            .topic_error("missing", rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            .unwrap();
        let answer = ask(&cluster.bootstrap_servers(), "input", Duration::from_secs(10));
        let paths: Vec<&str> = answer.problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(
            paths,
            ["input.topics[1]", "dead_letter.topic", "output.partition"],
            "{:#?}",
            answer.problems
        );
        assert!(
            answer.facts.contains("in.a, 4 partitions") && answer.facts.contains("group      g"),
            "{}",
            answer.facts
        );
    }

    #[test]
    fn nobody_answers() {
        // Port 9 is for discarding, and nobody listens there.
        let answer = ask("127.0.0.1:9", "key", Duration::from_secs(2));
        assert_eq!(answer.problems.len(), 1, "{:#?}", answer.problems);
        assert!(answer.problems[0].what.contains("onnect"), "{}", answer.problems[0]);
    }
}
