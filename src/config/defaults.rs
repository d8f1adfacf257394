//! The built-in defaults: what holds where no layer says otherwise. They show in the schema, too.

use std::collections::BTreeMap;

use super::raw::{Admin, Batch, Cache, Limits, Log, LogFormat, OnExisting, Output, Partition};
use super::words::{Allowance, ByteSize, Count, Duration, Workers};

pub(super) fn client_id() -> String {
    "squeezeflow".into()
}
pub(super) fn session_timeout() -> Duration {
    Duration::of("45s")
}
pub(super) fn transaction_timeout() -> Duration {
    Duration::of("15s")
}
pub(super) fn max_text_bytes() -> ByteSize {
    ByteSize::of("1MiB")
}
pub(super) fn max_windows() -> Count {
    Count(16)
}
pub(super) fn ratio_window() -> Count {
    Count(1000)
}
pub(super) fn yes() -> bool {
    true
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            max_batch_tokens: Count(4096),
            max_batch_size: Count(64),
            max_batch_age: Duration::of("20ms"),
            timeout: Duration::of("1m"),
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { max_bytes: Allowance::of("64MiB") }
    }
}

impl Default for Output {
    fn default() -> Self {
        Self {
            topic: None,
            mode: None,
            field: "nlp".into(),
            on_existing: OnExisting::default(),
            redact: Vec::new(),
            scores: false,
            partition: Partition::default(),
            source_headers: false,
            below: None,
            uncertain_label: "uncertain".into(),
            route_by: None,
            route: BTreeMap::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight_records: None,
            max_in_flight_bytes: ByteSize::of("64MiB"),
            text_workers: Workers::default(),
            drain_timeout: Duration::of("20s"),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            enabled: true,
            address: "127.0.0.1:9464".into(),
            stuck_after: Duration::of("2m"),
            token: None,
            show_text: false,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".into() }
    }
}
