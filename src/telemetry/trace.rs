//! W3C trace context (`traceparent`, `tracestate`) from a record's headers and into those of its
//! outcome. Pure. What we do not change is passed on as it came, byte for byte: `tracestate`, `baggage`,
//! and where no span of ours is recorded, `traceparent`.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::record::{Header, OwnSpan, Trace};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The span that the record's producer was in; [`SpanContext::NONE`] where there is none, or none
/// that the specification (<https://www.w3.org/TR/trace-context/>) accepts. Of several headers of
/// one name the last counts; what is not UTF-8 does not.
pub fn extract(headers: &[Header]) -> SpanContext {
    let carrier = Carrier(headers);
    // Most records carry none: they pay for a look at the names only.
    if carrier.get(TRACEPARENT).is_none() {
        return SpanContext::NONE;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.span().span_context().clone()
}

/// A span of ours in the trace of `parent`. It is recorded, so it is sampled, whatever the parent is.
pub(super) fn context(trace: TraceId, id: SpanId, parent: &SpanContext) -> SpanContext {
    let flags = parent.trace_flags() | TraceFlags::SAMPLED;
    SpanContext::new(trace, id, flags, false, parent.trace_state().clone())
}

/// The header that makes the reader of an outcome a child of its sending. `own`: the span of
/// `trace`, which is recorded.
pub fn traceparent(trace: &Trace, own: OwnSpan) -> Header {
    let flags = (trace.parent.trace_flags() | TraceFlags::SAMPLED).to_u8();
    Header::new(TRACEPARENT, format!("00-{}-{}-{flags:02x}", own.trace, own.send))
}

/// Does [`traceparent`] take this header's place? Also that of a `tracestate` without a valid parent:
/// it belongs to no trace (<https://www.w3.org/TR/trace-context/>, section 4.3).
pub fn is_replaced(header: &Header, trace: &Trace) -> bool {
    header.name.eq_ignore_ascii_case(TRACEPARENT.as_bytes())
        || (!trace.parent.is_valid() && header.name.eq_ignore_ascii_case(TRACESTATE.as_bytes()))
}

struct Carrier<'a>(&'a [Header]);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .filter(|header| header.name.eq_ignore_ascii_case(key.as_bytes()))
            .find_map(|header| std::str::from_utf8(header.value.as_deref()?).ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().filter_map(|header| std::str::from_utf8(&header.name).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_producers_span_is_found() {
        let headers = [Header::new("traceparent", PARENT), Header::new("tracestate", "vendor=x")];
        let span = extract(&headers);
        assert!(span.is_valid() && span.is_remote() && span.is_sampled());
        assert_eq!(span.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span.span_id().to_string(), "00f067aa0ba902b7");
        assert_eq!(span.trace_state().get("vendor"), Some("x"));
    }

    #[test]
    fn the_last_of_duplicates_counts_and_bytes_do_not() {
        let other = "00-11111111111111111111111111111111-2222222222222222-00";
        let headers = [
            Header::new("traceparent", other),
            Header::new("Traceparent", PARENT),
            Header::new("traceparent", vec![0xff, 0xfe]),
            Header { name: b"traceparent".to_vec(), value: None },
        ];
        assert_eq!(extract(&headers).span_id().to_string(), "00f067aa0ba902b7");
    }

    #[test]
    fn none_where_there_is_none_or_a_bad_one() {
        assert_eq!(extract(&[]), SpanContext::NONE);
        for bad in ["", "00", "00-zz-zz-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert!(!extract(&[Header::new("traceparent", bad)]).is_valid(), "{bad}");
        }
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        assert!(!extract(&[Header::new("traceparent", zero)]).is_valid());
    }

    fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop_oneof![
            Just(None),
            any::<Vec<u8>>().prop_map(Some),
            any::<String>().prop_map(|text| Some(text.into_bytes())),
            "[0-9a-fA-F+é]{0,3}-[0-9a-fA-F+é]{0,33}-[0-9a-fA-F+]{0,17}-[0-9a-fA-F+]{0,3}(-.*)?"
                .prop_map(|text| Some(text.into_bytes())),
        ]
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(headers in proptest::collection::vec(
            (prop_oneof![Just(b"traceparent".to_vec()), Just(b"tracestate".to_vec()), any::<Vec<u8>>()], value()),
            0..6,
        )) {
            let headers: Vec<Header> =
                headers.into_iter().map(|(name, value)| Header { name, value }).collect();
            let span = extract(&headers);
            prop_assert!(span.is_valid() || span == SpanContext::NONE);
        }
    }
}
