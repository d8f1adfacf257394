//! Who we are in the group.
//!
//! The coordinator gives a member an id when it joins, and a new one whenever its place was lost; no
//! id comes twice. librdkafka 2.12 does not tell of every loss: if a *static* member learns of it from
//! the answer to JoinGroup (`UNKNOWN_MEMBER_ID`, `rd_kafka_cgrp_handle_JoinGroup`), it joins anew under
//! a new id and keeps its partitions, although others have gone on with them meanwhile. So what was
//! assigned under one id is not ours under another. And between two ids there is none: a request
//! without id and generation is one that the coordinator does not check at all.
//!
//! rdkafka 0.39 does not show the id; asking librdkafka for it is the reason why unsafe code is allowed
//! here.
#![allow(unsafe_code)]

use std::ffi::CStr;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka_sys as sys;

use super::context::ConsumerEvents;

/// The id that the group's coordinator has given us; `None` while we are no member.
pub(super) fn id(consumer: &BaseConsumer<ConsumerEvents>) -> Option<String> {
    let client = consumer.client().native_ptr();
    // SAFETY: `client` is alive for the whole call; what it gives is a string of our own, or null, and
    // is given back to librdkafka's allocator after it was copied.
    let id = unsafe {
        let id = sys::rd_kafka_memberid(client);
        if id.is_null() {
            return None;
        }
        let copy = CStr::from_ptr(id).to_string_lossy().into_owned();
        sys::rd_kafka_mem_free(client, id.cast());
        copy
    };
    Some(id).filter(|id| !id.is_empty())
}
