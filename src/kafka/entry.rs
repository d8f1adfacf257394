//! The way in: do the brokers answer, do they let us in, and may we do there what the pipeline asks for?
//! Asked once, before anything is begun, by a client that only asks. What will not come right by
//! waiting ends the start with its reason; a cluster that is merely away is waited for.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::access::{self, Denied, Needs, Operation, Resource};
use super::client;
use super::ears::{self, Ears};
use super::entry_error::{EntryError, explain};
use super::error::RunError;
use super::port;
use super::rights;
use super::tokens::Tokens;
use super::verdict::is_refused;
use crate::config::Settings;
use crate::config::settings::Kafka;
use crate::fate::Fate;
use crate::shutdown::Shutdown;
use crate::telemetry::Pulse;

/// How long the brokers may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(20);
/// One question; in between it is looked whether we are asked to stop.
const SLICE: Duration = Duration::from_millis(500);
/// A broker does not let us in: so long another one may.
const GRACE: Duration = Duration::from_secs(2);
/// After so long without an answer it is looked what the port speaks.
const LOOK_AFTER: Duration = Duration::from_secs(4);
const RIGHTS_PATIENCE: Duration = Duration::from_secs(5);

/// A client that only asks: it joins no group, makes no topic, and writes nothing.
pub(crate) struct Entry<'a> {
    kafka: &'a Kafka,
    tokens: Option<Arc<Tokens>>,
    consumer: BaseConsumer<Ears>,
    /// Of the worker that asks.
    pulse: Option<Pulse>,
    /// Of the cluster, once one has answered.
    brokers: RefCell<Vec<i32>>,
}

impl<'a> Entry<'a> {
    /// Does not connect yet.
    pub(crate) fn open(kafka: &'a Kafka, tokens: Option<Arc<Tokens>>) -> KafkaResult<Self> {
        let consumer = ears::consumer(&client::asking_config(kafka), tokens.clone())?;
        Ok(Self { kafka, tokens, consumer, pulse: None, brokers: RefCell::default() })
    }

    fn moves(&self) {
        if let Some(pulse) = &self.pulse {
            pulse.moves();
        }
    }

    /// The client itself, for more questions.
    pub(crate) fn consumer(&self) -> &BaseConsumer<Ears> {
        &self.consumer
    }

    /// What one topic is, or (`None`) the whole cluster: asked until a broker answers, or has said that
    /// it does not let us in, or `patience` is over.
    pub(crate) fn knock(
        &self,
        topic: Option<&str>,
        patience: Duration,
        stop: &Shutdown,
    ) -> Result<Option<Metadata>, NotIn> {
        let (started, mut troubled, mut looked) = (Instant::now(), None, false);
        while !stop.is_requested() {
            self.moves();
            ears::listen(&self.consumer);
            let error = match self.consumer.fetch_metadata(topic, SLICE.min(patience)) {
                Ok(metadata) => {
                    self.brokers.replace(metadata.brokers().iter().map(|broker| broker.id()).collect());
                    return Ok(Some(metadata));
                }
                Err(error) => error,
            };
            ears::listen(&self.consumer);
            let is_late = started.elapsed() >= patience;
            if let Some(error) = self.tokens.as_ref().and_then(|tokens| tokens.error())
                && (is_late || error.fate() == Fate::Fatal)
            {
                let reason = error.to_string();
                return Err(NotIn::Refused(Box::new(EntryError::Token { reason })));
            }
            if let Some(trouble) = self.consumer.context().trouble() {
                let since = *troubled.get_or_insert_with(Instant::now);
                if since.elapsed() >= GRACE.min(patience) {
                    return Err(NotIn::Refused(Box::new(explain(self.kafka, trouble))));
                }
            }
            if started.elapsed() >= LOOK_AFTER.min(patience) && !std::mem::replace(&mut looked, true) {
                self.look(stop)?;
            }
            if is_late {
                return Err(NotIn::Silent(error, self.consumer.context().reason()));
            }
        }
        Ok(None)
    }

    /// No answer for a while: is somebody there who speaks otherwise?
    fn look(&self, stop: &Shutdown) -> Result<(), NotIn> {
        let (kafka, servers) = (self.kafka, self.kafka.bootstrap_servers.split(',').map(str::trim));
        for server in servers {
            // Each silent one takes its seconds.
            if stop.is_requested() {
                return Ok(());
            }
            self.moves();
            let Some(port) = port::speaks(server) else { continue };
            let server = server.to_owned();
            let refused = match (&kafka.tls, port.tls, &kafka.sasl, port.sasl) {
                (None, true, ..) => EntryError::WantsTls { server },
                (Some(_), false, ..) => EntryError::NoTls { server },
                (_, _, None, Some(mut mechanisms)) => {
                    mechanisms.sort();
                    EntryError::WantsUser { server, mechanisms: mechanisms.join(", ") }
                }
                _ => return Ok(()),
            };
            return Err(NotIn::Refused(Box::new(refused)));
        }
        Ok(())
    }

    /// Which of these our user may not do, as far as the cluster tells. After a [`Self::knock`].
    pub(crate) fn denied(&self, needed: &[(Operation, &str)]) -> Option<Denied> {
        let topics: Vec<&str> = needed.iter().map(|(_, topic)| *topic).collect();
        let rights = rights::of_topics(
            self.consumer.client().native_ptr(),
            &topics,
            &self.brokers.borrow(),
            RIGHTS_PATIENCE,
        );
        Denied::of(self.principal(), access::missing(needed, &rights))
    }

    /// Of a thing of which nothing is told but that.
    pub(crate) fn refuses(&self, operation: Operation, resource: Resource) -> Denied {
        Denied::one(self.principal(), operation, resource)
    }

    fn principal(&self) -> String {
        access::principal(self.kafka, self.tokens.as_ref())
    }
}

/// Nobody has let us in.
pub(crate) enum NotIn {
    /// And will not.
    Refused(Box<EntryError>),
    /// No answer in time: librdkafka's, and its last word on why.
    Silent(KafkaError, String),
}

/// Before a worker begins. `false`: asked to stop meanwhile.
///
/// # Errors
/// What will not come right by waiting: not let in, or not allowed.
pub(super) fn enter(
    settings: &Settings,
    kafka: &Kafka,
    tokens: Option<Arc<Tokens>>,
    stop: &Shutdown,
    pulse: &Pulse,
) -> Result<bool, RunError> {
    let entry = Entry::open(kafka, tokens).map_err(RunError::Client)?;
    let entry = Entry { pulse: Some(pulse.clone()), ..entry };
    let needs = Needs::of(settings);
    let metadata = match entry.knock(needs.one(), PATIENCE, stop) {
        Ok(Some(metadata)) => metadata,
        Ok(None) => return Ok(false),
        Err(NotIn::Refused(error)) => return Err(RunError::Entry(error)),
        Err(NotIn::Silent(_, reason)) => {
            let (servers, seconds) = (kafka.bootstrap_servers.clone(), PATIENCE.as_secs());
            return Err(RunError::NoBroker { servers, seconds, reason });
        }
    };
    entry.moves();
    entry
        .denied(&needs.topics(&seen(metadata)))
        .map_or(Ok(true), |denied| Err(RunError::Denied(Box::new(denied))))
}

/// Gives what the cluster refused its name: which right is missing. Asks the cluster where only it knows.
pub(super) fn name_refusal(
    error: RunError,
    settings: &Settings,
    kafka: &Kafka,
    tokens: Option<Arc<Tokens>>,
) -> RunError {
    use RDKafkaErrorCode as E;
    let code = match &error {
        RunError::Refused(code) => *code,
        RunError::Publish { code, .. } if is_refused(*code) => *code,
        _ => return error,
    };
    let denied = |operation, resource| {
        Some(Denied::one(access::principal(kafka, tokens.as_ref()), operation, resource))
    };
    let write = |resource| denied(Operation::Write, resource);
    let named = match (code, &error) {
        (E::GroupAuthorizationFailed, _) => denied(Operation::Read, Resource::Group(kafka.group_id.clone())),
        (E::TransactionalIdAuthorizationFailed, _) => write(client::transactional_resource(kafka)),
        (E::TopicAuthorizationFailed, RunError::Publish { topic, .. }) => {
            write(Resource::Topic(topic.clone()))
        }
        (E::TopicAuthorizationFailed, _) => ask_again(settings, kafka, tokens),
        (E::SaslAuthenticationFailed | E::Authentication, _) => {
            let asked =
                Entry::open(kafka, tokens).map(|entry| entry.knock(None, RIGHTS_PATIENCE, &Shutdown::new()));
            return match asked {
                Ok(Err(NotIn::Refused(why))) => RunError::Entry(why),
                _ => error,
            };
        }
        _ => None,
    };
    named.map_or(error, |denied| RunError::Denied(Box::new(denied)))
}

/// Which of its topics is it, that the cluster refuses a running worker?
fn ask_again(settings: &Settings, kafka: &Kafka, tokens: Option<Arc<Tokens>>) -> Option<Denied> {
    let (needs, entry) = (Needs::of(settings), Entry::open(kafka, tokens).ok()?);
    let seen = seen(entry.knock(needs.one(), RIGHTS_PATIENCE, &Shutdown::new()).ok()??);
    entry.denied(&needs.topics(&seen))
}

fn seen(metadata: Metadata) -> Vec<String> {
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}
