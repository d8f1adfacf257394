//! A member without partitions: is it a standby, because the group has more members than partitions, or
//! about to get some? The group itself is asked, on a thread of its own, for the brokers may take their
//! time. Where they do not say (an old broker, a missing right) a member is taken for a standby.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, Producer};

use super::context::ProducerEvents;
use super::worker::Worker;
use crate::config::Subscription;

/// For each of the two questions.
const PATIENCE: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_secs(2);

/// What is known, and the question under way.
#[derive(Default)]
pub(super) struct Standby {
    asked: Option<Receiver<bool>>,
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
            self.health.stands_by(answer);
            self.standby.asked = None;
        }
        let due = self.standby.again_at.is_none_or(|at| Instant::now() >= at);
        if self.standby.asked.is_some() || !due {
            return;
        }
        self.standby.again_at = Some(Instant::now() + ASK_EVERY);
        let (tell, answer) = bounded(1);
        let (producer, group) = (self.publisher.producer().clone(), kafka.group_id.clone());
        let topics = self.settings.input.topics.clone();
        let asking = std::thread::Builder::new().name("standby".to_owned()).spawn(move || {
            let stands_by = ask(&producer, &group, &topics).unwrap_or_else(|error| {
                tracing::debug!(%error, "the brokers do not say how many members the group has");
                true
            });
            let _ = tell.send(stands_by);
        });
        self.standby.asked = asking.is_ok().then_some(answer);
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
}
