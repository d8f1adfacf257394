//! What decoding allocates: a small multiple of the value, whatever the value is. Counted by this
//! test binary's allocator, thread by thread.

#![allow(unsafe_code)] // An allocator has no safe form.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use squeezeflow::config::settings::LongText;
use squeezeflow::model::Package;
use squeezeflow::text::TextTokenizer;

use crate::decoding::{ALL, Way, record};
use crate::json;
use crate::support::here;

/// Passes everything on, and counts.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn grow(bytes: usize) {
    NOW.set(NOW.get().wrapping_add(bytes));
    PEAK.set(PEAK.get().max(NOW.get()));
}

fn shrink(bytes: usize) {
    NOW.set(NOW.get().wrapping_sub(bytes));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        shrink(layout.size());
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there for a moment.
        grow(size);
        shrink(layout.size());
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that was allocated at a time while `run` ran, beyond what was there before.
fn peak<R>(run: impl FnOnce() -> R) -> usize {
    // What another thread allocated and this one frees would count below zero.
    NOW.set(1 << 40);
    PEAK.set(1 << 40);
    let result = run();
    let peak = PEAK.get() - (1 << 40);
    drop(result);
    peak
}

/// By one way.
fn decoding(way: &Way, value: &[u8]) -> usize {
    let record = record(value);
    peak(|| way.decoder.decode(record).ok())
}

/// Three times the value (a text with escapes is unescaped, then joined, and an envelope keeps it
/// whole), and a little for positions and messages.
fn bound(value: &[u8]) -> usize {
    3 * value.len() + 4096
}

#[test]
fn the_allocator_counts() {
    assert_eq!(peak(|| vec![0_u8; 1_000_000]), 1_000_000);
    assert_eq!(peak(|| (drop(vec![0_u8; 500]), vec![0_u8; 300])), 500);
    assert_eq!(peak(|| 1), 0);
}

#[test]
fn large_values_need_little() {
    let mega = |piece: &str| piece.repeat(4_000_000 / piece.len());
    let text = |text: String| format!("{{\"text\":\"{text}\",\"title\":\"\",\"nlp\":\"{text}\"}}");
    let values: Vec<String> = vec![
        text(mega("x")),
        text(mega("good ")),
        text(mega("\\u0061")),
        text(mega("\\n")),
        text(mega("\\ud83d\\udc22")),
        text(mega("e\u{301}")),
        text(mega(" ")) + "{",
        mega("[\"text\","),
        format!("{{\"a\":{}{},\"text\":\"x\"}}", "[".repeat(1_000_000), "]".repeat(1_000_000)),
        "[".repeat(4_000_000),
        "{\"text\":".repeat(500_000),
        format!("{{{}\"text\":\"x\"}}", "\"nlp\":0,".repeat(500_000)),
        format!("{{{}\"text\":\"x\"}}", "\"text\":\"y\",".repeat(300_000)),
        format!("[{}]", "\"text\",".repeat(500_000) + "1"),
        format!("{{\"text\":{}1}}", "1".repeat(4_000_000)),
        mega("\0"),
        "a\0".repeat(2_000_000),
    ];
    for (number, value) in values.iter().enumerate() {
        for (way, name) in ALL.iter().zip('a'..) {
            let used = decoding(way, value.as_bytes());
            let times = used as f64 / value.len() as f64;
            assert!(
                used <= bound(value.as_bytes()),
                "value {number} by way {name}: {times:.2} times its size"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_value_needs_little(value in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        json::object().prop_map(String::into_bytes),
        (json::object(), 0.0..1.0).prop_map(|(value, part)| {
            let mut value = value.into_bytes();
            value.truncate((value.len() as f64 * part) as usize);
            value
        }),
    ]) {
        for way in ALL.iter() {
            let used = decoding(way, &value);
            prop_assert!(used <= bound(&value), "{used} bytes for {}", value.len());
        }
    }
}

/// What docs/OPERATIONS.md, "Memory", tells of the tokenizer: that is why texts are cut before it.
#[test]
fn tokenizing_needs_what_the_documentation_says() {
    let package = Package::open(&here("models/sentiment")).unwrap();
    let tokenizer = TextTokenizer::new(&package, package.max_length, LongText::Truncate).unwrap();
    let times = |piece: &str| {
        let text = piece.repeat((1 << 17) / piece.len());
        peak(|| tokenizer.tokenize(&text).is_ok()) / text.len()
    };
    for (piece, at_most) in [("The film was not very good, and it was long. ", 130), ("x", 70), ("!", 330)] {
        assert!(times(piece) <= at_most, "{piece:?}: {} times the text", times(piece));
    }
}
