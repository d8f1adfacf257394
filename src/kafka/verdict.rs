//! What an error of a transactional call means: the lower half of the table in `docs/DELIVERY.md`.
//! Pure.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Call again.
    Again,
    /// Abort, and write again.
    Abort,
    /// The producer is beyond use.
    Fatal,
    /// Nobody can tell.
    Doubt,
}

pub(super) fn verdict(error: &KafkaError) -> Verdict {
    match error {
        KafkaError::Flush(_) => Verdict::Again,
        KafkaError::Transaction(error) if error.is_fatal() => Verdict::Fatal,
        KafkaError::Transaction(error) if error.txn_requires_abort() => Verdict::Abort,
        KafkaError::Transaction(error) if error.is_retriable() => Verdict::Again,
        _ => Verdict::Doubt,
    }
}

/// Why a producer is beyond use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// The cluster says no, and will go on saying so.
    Refused,
    /// Another worker has taken over our transactional id.
    Taken,
    /// It was us, or the brokers gave up on a transaction that took too long, or lost track of it: a
    /// new producer takes over.
    Ours,
}

/// `age` of the open transaction; `repeated`: a request for our own producer id may have arrived twice
/// (the broken connection that it was sent over is no proof that it did not arrive), and the second
/// one fences what the first one got.
pub(super) fn beyond_use(
    code: RDKafkaErrorCode,
    age: Option<Duration>,
    timeout: Duration,
    repeated: bool,
) -> Beyond {
    if is_refused(code) {
        Beyond::Refused
    } else if is_fenced(code) && !repeated && age.is_none_or(|age| age < timeout) {
        Beyond::Taken
    } else {
        Beyond::Ours
    }
}

/// Another producer has the transactional id, or the brokers have closed our epoch.
fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(code, E::Fenced | E::ProducerFenced | E::InvalidProducerEpoch)
}

pub(super) fn is_refused(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::TransactionalIdAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::TopicAuthorizationFailed
            | E::GroupAuthorizationFailed
    )
}

/// The group has changed, or is about to: that passes by itself, however often it comes.
pub(super) fn is_rebalance(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(code, E::IllegalGeneration | E::UnknownMemberId | E::RebalanceInProgress | E::FencedInstanceId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_fenced_us() {
        use RDKafkaErrorCode as E;
        let (young, old, timeout) =
            (Duration::from_secs(1), Duration::from_secs(16), Duration::from_secs(15));
        for code in [E::Fenced, E::ProducerFenced, E::InvalidProducerEpoch] {
            assert_eq!(beyond_use(code, Some(young), timeout, false), Beyond::Taken);
            assert_eq!(beyond_use(code, None, timeout, false), Beyond::Taken);
            assert_eq!(beyond_use(code, Some(old), timeout, false), Beyond::Ours, "the brokers gave up");
            assert_eq!(beyond_use(code, Some(young), timeout, true), Beyond::Ours, "our own repetition");
        }
        assert_eq!(beyond_use(E::InvalidProducerIdMapping, Some(young), timeout, false), Beyond::Ours);
        assert_eq!(
            beyond_use(E::TransactionalIdAuthorizationFailed, Some(old), timeout, true),
            Beyond::Refused
        );
    }

    #[test]
    fn a_change_of_the_group_is_no_refusal() {
        use RDKafkaErrorCode as E;
        assert!(is_rebalance(E::IllegalGeneration) && !is_refused(E::IllegalGeneration));
        assert!(!is_rebalance(E::GroupAuthorizationFailed) && is_refused(E::GroupAuthorizationFailed));
    }
}
