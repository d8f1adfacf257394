//! What our user may do with topics, by the cluster's own word (KIP-430): so that a right that is
//! missing is told at the start, and by its name, and not when the first record needs it.
//!
//! rdkafka 0.39 has no such question; librdkafka's `rd_kafka_DescribeTopics` does. Those calls are the
//! reason why unsafe code is allowed here.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

/// What may be done with one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Not even to see it (or it is not there, and its name may not be asked for).
    None,
    /// To see it, and more.
    Some {
        /// READ.
        read: bool,
        /// WRITE.
        write: bool,
    },
}

/// Asks for the rights to these topics. What the cluster does not tell is left out: of a topic that is
/// not there, or everything where it does not answer in time or is older than Kafka 2.3.
///
/// `client` must be alive for the whole call, and have heard of the cluster's `brokers`.
pub(super) fn of_topics(
    client: *mut sys::rd_kafka_t,
    topics: &[&str],
    brokers: &[i32],
    patience: Duration,
) -> BTreeMap<String, Rights> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let millis = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    let mut rights = BTreeMap::new();
    // librdkafka asks the controller, and waits for it where there is none: in its mock cluster, say.
    // SAFETY: the caller keeps `client` alive; without a time it only gives what it knows.
    let controller = unsafe { sys::rd_kafka_controllerid(client, 0) };
    if pointers.is_empty() || !brokers.contains(&controller) {
        return rights;
    }
    // SAFETY: the caller keeps `client` alive. Everything made here is destroyed here, after its last
    // use: librdkafka copies names and options, and holds the queue as long as it needs it. The event
    // owns the result, and outlives what is read from it.
    unsafe {
        let queue = sys::rd_kafka_queue_new(client);
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = sys::rd_kafka_AdminOptions_new(client, operation);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis, std::ptr::null_mut(), 0);
        let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
        sys::rd_kafka_DescribeTopics(client, collection, options, queue);
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let event = sys::rd_kafka_queue_poll(queue, i32::try_from(left.as_millis()).unwrap_or(i32::MAX));
            if event.is_null() {
                continue;
            }
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            if !result.is_null() {
                let mut count = 0;
                let described = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
                for i in 0..count {
                    rights.extend(one(*described.add(i)));
                }
            }
            sys::rd_kafka_event_destroy(event);
            if !result.is_null() {
                break;
            }
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(collection);
        sys::rd_kafka_queue_destroy(queue);
    }
    rights
}

/// # Safety
/// `topic` must be part of a result that is alive.
unsafe fn one(topic: *const sys::rd_kafka_TopicDescription_t) -> Option<(String, Rights)> {
    use sys::rd_kafka_AclOperation_t as Acl;
    // SAFETY: the caller's promise; name and operations are the description's own.
    unsafe {
        let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_str().ok()?.to_owned();
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = RDKafkaErrorCode::from(sys::rd_kafka_error_code(error));
            match code {
                RDKafkaErrorCode::NoError => {}
                RDKafkaErrorCode::TopicAuthorizationFailed => return Some((name, Rights::None)),
                _ => return None,
            }
        }
        let mut count = 0;
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        if operations.is_null() {
            return None;
        }
        let may = |wanted: Acl| (0..count).any(|i| *operations.add(i) == wanted);
        let read = may(Acl::RD_KAFKA_ACL_OPERATION_READ);
        Some((name, Rights::Some { read, write: may(Acl::RD_KAFKA_ACL_OPERATION_WRITE) }))
    }
}
