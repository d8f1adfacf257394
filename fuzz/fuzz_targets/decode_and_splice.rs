//! Any bytes through decoder and enricher. What is promised of them is in `tests/odd/decoding.rs`.

#![no_main]

#[path = "../../tests/odd/decoding.rs"]
mod decoding;

libfuzzer_sys::fuzz_target!(|case: &[u8]| {
    decoding::decode_and_splice(case);
});
