//! W3C trace context (`traceparent`, `tracestate`) from a record's headers. Pure.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::record::Header;

/// The span that the record's producer was in; [`SpanContext::NONE`] where there is none, or none
/// that the specification (<https://www.w3.org/TR/trace-context/>) accepts. Of several headers of
/// one name the last counts; what is not UTF-8 does not.
pub fn extract(headers: &[Header]) -> SpanContext {
    let carrier = Carrier(headers);
    // Most records carry none: they pay for a look at the names only.
    if carrier.get("traceparent").is_none() {
        return SpanContext::NONE;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.span().span_context().clone()
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
