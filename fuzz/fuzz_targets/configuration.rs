//! Any pipeline file, environment and `--set`. What is promised of them is in `tests/odd/configuring.rs`.

#![no_main]

#[path = "../../tests/odd/configuring.rs"]
mod configuring;

libfuzzer_sys::fuzz_target!(|case: &[u8]| {
    configuring::configuration(case);
});
