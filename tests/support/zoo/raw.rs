//! Kinds of records for a pipeline that reads plain text, and puts it into an envelope.

use super::Ends::{Dead, Enriched, Passed};
use super::Often::Rare;
use super::{Ends, Kind, message};
use crate::support::client::Message;

fn of(name: &'static str, ends: Ends, values: &'static [&'static str]) -> Kind {
    Kind::new(name, ends, move |n| message(n, values[n % values.len()]))
}

fn bytes(name: &'static str, ends: Ends, values: &'static [&'static [u8]]) -> Kind {
    Kind::new(name, ends, move |n| message(n, values[n % values.len()]))
}

pub fn kinds() -> Vec<Kind> {
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: &'static str| {
        move |n| message(n, format!("{mark}a good film").encode_utf16().flat_map(bytes).collect::<Vec<_>>())
    };
    vec![
        of("a text", Enriched, &["a good film", " a good film \r\n", "\u{17c}\u{f3}\u{142}w \u{1f422}"]),
        of("JSON: it is text here", Enriched, &["{\"text\":\"a good film\"}", "{\"text\":", "null", "0"]),
        of("a byte order mark in front: it is left out", Enriched, &["\u{feff}a good film"]),
        of(
            "quotes, backslashes, line feeds, control characters",
            Enriched,
            &["\"good\" \\ \n\t\x1b[31m\x7f", "go\0od", "a\0\0\0\0film"],
        ),
        of("`[SEP]`, `[CLS]`, `</s>`: they are text", Enriched, &["[CLS] good [SEP] </s>"]),
        Kind::new("10 MB of text: its first `input.max_text_bytes` are read", Enriched, |n| {
            message(n, if n.is_multiple_of(2) { "good ".repeat(2_000_000) } else { "x".repeat(10_000_000) })
        })
        .often(Rare)
        .look(|r| r["text_bytes"]["seen"] == 10_000_000 && r["truncated"] == true),
        Kind::new("a null value (a tombstone)", Passed("tombstone"), |n| Message {
            value: None,
            ..message(n, "")
        }),
        of("an empty value", Dead("text_empty"), &[""]),
        of("white space only", Dead("text_empty"), &[" ", "\r\n", "\u{a0}\u{3000}", "\u{feff} "]),
        of(
            "nothing that the tokenizer keeps",
            Dead("no_tokens"),
            &["\0\0", "\u{200b}", "\u{301}", "\x01\x02"],
        ),
        bytes("a byte that is not UTF-8", Dead("invalid_utf8"), &[b"good \xff", b"\xc3", b"\xed\xa0\xbd"])
            .says("is not UTF-8 from byte "),
        Kind::new("UTF-16 with a byte order mark", Dead("invalid_utf8"), utf16(u16::to_be_bytes, "\u{feff}"))
            .says("UTF-"),
        Kind::new("UTF-16 without one", Dead("invalid_utf8"), utf16(u16::to_le_bytes, ""))
            .says("looks like UTF-16"),
        of(
            "five bytes or more, the first one 0 (Avro, Protobuf)",
            Dead("schema_registry_framed"),
            &["\0\0\0\0\x07\x02good", "\0good film"],
        ),
        of(
            "a text that the model fails on, alone in its batch",
            Dead("inference_failed"),
            &["a good mandragora"],
        ),
    ]
}
