//! A member without partitions: is it a standby, because the group has more members than partitions, or
//! about to get some? The group itself is asked, on a thread of its own, for the brokers may take their
//! time. Where they do not say (an old broker, a missing right) a member is taken for a standby;
//! where they do not answer, nothing is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};

use super::context::ProducerEvents;
use super::worker::Worker;
use crate::config::Subscription;

/// For each of the two questions.
const PATIENCE: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_secs(2);
/// A standby may be one for months.
const ASK_SELDOM: Duration = Duration::from_secs(30);

/// What is known, and the question under way.
#[derive(Default)]
pub(super) struct Standby {
    asked: Option<Receiver<Option<bool>>>,
    again_at: Option<Instant>,
}

impl Worker {
    /// Looked at now and then while nothing is ours.
    pub(super) fn look_for_partitions(&mut self) {
        if self.assignment.len() > 0 || self.draining {
            self.standby = Standby::default();
            return;
        }
        let Some(kafka) = &self.settings.kafka else { return };
        if let Some(answer) = self.standby.asked.as_ref().and_then(|asked| asked.try_recv().ok()) {
            if let Some(answer) = answer {
                self.health.stands_by(answer);
            }
            let after = if answer == Some(true) { ASK_SELDOM } else { ASK_EVERY };
            (self.standby.asked, self.standby.again_at) = (None, Some(Instant::now() + after));
        }
        let due = self.standby.again_at.is_none_or(|at| Instant::now() >= at);
        if self.standby.asked.is_some() || !due {
            return;
        }
        let (tell, answer) = bounded(1);
        let (producer, group) = (self.publisher.producer().clone(), kafka.group_id.clone());
        let topics = self.settings.input.topics.clone();
        let asking = std::thread::Builder::new().name("standby".to_owned()).spawn(move || {
            let _ = tell.send(told(ask(&producer, &group, &topics)));
        });
        match asking {
            Ok(_) => self.standby.asked = Some(answer),
            Err(_) => self.standby.again_at = Some(Instant::now() + ASK_EVERY),
        }
    }
}

/// Are there more members than partitions?
fn ask(producer: &Arc<BaseProducer<ProducerEvents>>, group: &str, topics: &[String]) -> KafkaResult<bool> {
    let client = producer.client();
    let groups = client.fetch_group_list(Some(group), PATIENCE)?;
    let members: usize = groups.groups().iter().map(|g| g.members().len()).sum();
    let metadata = client.fetch_metadata(None, PATIENCE)?;
    let subscribed: Vec<Subscription<'_>> =
        topics.iter().filter_map(|entry| Subscription::parse(entry).ok()).collect();
    let read = metadata.topics().iter().filter(|topic| subscribed.iter().any(|s| s.reads(topic.name())));
    let partitions: usize = read.map(|topic| topic.partitions().len()).sum();
    Ok(is_one_too_many(members, partitions))
}

/// Is it a standby? `None`: nobody answered, which tells nothing.
fn told(answer: KafkaResult<bool>) -> Option<bool> {
    match answer {
        Ok(stands_by) => Some(stands_by),
        Err(error) => {
            tracing::debug!(%error, "the brokers do not say how many members the group has");
            (!is_away(&error)).then_some(true)
        }
    }
}

fn is_away(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        error.rdkafka_error_code(),
        Some(
            E::OperationTimedOut
                | E::RequestTimedOut
                | E::BrokerTransportFailure
                | E::AllBrokersDown
                | E::Partial
        )
    )
}

/// A group that names no member does not say how many it has.
fn is_one_too_many(members: usize, partitions: usize) -> bool {
    members > partitions || members == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_is_one_too_many() {
        assert!(is_one_too_many(4, 3));
        assert!(!is_one_too_many(3, 3) && !is_one_too_many(1, 12));
        assert!(is_one_too_many(1, 0), "the topic is not there yet");
        assert!(is_one_too_many(0, 3), "not told");
    }

    #[test]
    fn who_gets_no_answer_knows_nothing_and_who_may_not_ask_is_a_standby() {
        use RDKafkaErrorCode as E;
        let answer = |code| told(Err(KafkaError::GroupListFetch(code)));
        for away in [E::OperationTimedOut, E::BrokerTransportFailure, E::AllBrokersDown, E::Partial] {
            assert_eq!(answer(away), None, "{away}");
        }
        for refused in [E::GroupAuthorizationFailed, E::UnsupportedVersion, E::UnsupportedFeature] {
            assert_eq!(answer(refused), Some(true), "{refused}");
        }
        assert_eq!((told(Ok(false)), told(Ok(true))), (Some(false), Some(true)));
    }
}
