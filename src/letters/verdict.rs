//! What an error of a transaction means, and what is told of it. Pure.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::error::LettersError;

/// What to do about it, in librdkafka's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same call again.
    Retry,
    /// The transaction is lost, the producer is not.
    Abort,
    /// Neither: the producer is beyond repair, or it is not known what happened.
    Stop,
}

/// Of an error of `init_transactions`, `commit_transaction` or `abort_transaction`.
pub(super) fn judge(error: &KafkaError) -> Verdict {
    match error {
        KafkaError::Transaction(e) if e.is_fatal() => Verdict::Stop,
        KafkaError::Transaction(e) if e.txn_requires_abort() => Verdict::Abort,
        KafkaError::Transaction(e) if e.is_retriable() => Verdict::Retry,
        // `commit_transaction` waits for delivery reports first.
        KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut) => Verdict::Retry,
        _ => Verdict::Stop,
    }
}

/// Who refuses us, if it is that: another replay, or the cluster's permissions.
pub(super) fn refusal(code: RDKafkaErrorCode, dead: &str, id: &str) -> Option<LettersError> {
    use RDKafkaErrorCode as E;
    match code {
        E::Fenced | E::ProducerFenced | E::InvalidProducerEpoch => {
            Some(LettersError::Fenced { dead: dead.to_owned() })
        }
        E::TransactionalIdAuthorizationFailed
        | E::TopicAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::SaslAuthenticationFailed
        | E::Authentication => {
            Some(LettersError::RefusedWrite { dead: dead.to_owned(), id: id.to_owned(), code })
        }
        _ => None,
    }
}

/// The number that a record was sent with, and what became of it.
pub(super) type Failure = (usize, RDKafkaErrorCode);

/// The failure that the others came of.
pub(super) fn culprit(failures: &[Failure]) -> Option<Failure> {
    let came_of_another = |code| is_purge(code) || code == RDKafkaErrorCode::InvalidDifferentRecord;
    let own = failures.iter().find(|(_, code)| !came_of_another(*code));
    own.or(failures.first()).copied()
}

/// Is it this record that the broker will not have, whenever it is sent?
pub(super) fn is_of_the_record(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::InvalidRecord
            | E::InvalidTimestamp
            | E::InvalidMessage
            | E::UnsupportedForMessageFormat
            | E::PolicyViolation
            | E::Unknown
    )
}

/// What became of records that were taken back with their transaction: it says nothing of why.
pub(super) fn is_purge(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refuses_us_is_told() {
        let told = |code| refusal(code, "reviews.dead", "the.id").map(|e| e.to_string());
        let fenced = told(RDKafkaErrorCode::ProducerFenced).unwrap_or_default();
        assert!(fenced.contains("another replay of `reviews.dead`"), "{fenced}");
        let refused = told(RDKafkaErrorCode::TopicAuthorizationFailed).unwrap_or_default();
        assert!(refused.contains("WRITE on `reviews.dead`") && refused.contains("`the.id`"), "{refused}");
        assert_eq!(told(RDKafkaErrorCode::MessageSizeTooLarge), None);
    }

    #[test]
    fn the_record_that_was_refused_is_found_among_those_that_were_sent_with_it() {
        use RDKafkaErrorCode as E;
        let failures = [
            (0, E::PurgeQueue),
            (1, E::InvalidDifferentRecord),
            (2, E::InvalidTimestamp),
            (3, E::InvalidDifferentRecord),
        ];
        assert_eq!(culprit(&failures), Some((2, E::InvalidTimestamp)));
        assert_eq!(culprit(&failures[..1]), Some((0, E::PurgeQueue)));
        assert_eq!(culprit(&[]), None);
        for (code, of_the_record) in [
            (E::InvalidTimestamp, true),
            (E::InvalidRecord, true),
            (E::MessageTimedOut, false),
            (E::PurgeQueue, false),
            (E::NotEnoughReplicas, false),
            (E::ProducerFenced, false),
        ] {
            assert_eq!(is_of_the_record(code), of_the_record, "{code:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_tried_again() {
        assert_eq!(judge(&KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)), Verdict::Retry);
        assert_eq!(judge(&KafkaError::Flush(RDKafkaErrorCode::Fatal)), Verdict::Stop);
        assert_eq!(judge(&KafkaError::Canceled), Verdict::Stop);
    }
}
