//! Kinds of records for a pipeline that reads JSON and splices its result into it.

use super::Ends::{Dead, Enriched, Passed};
use super::Often::{Rare, Seldom};
use super::{Ends, Kind, message, noise};
use crate::support::client::Message;

/// Beyond what one request of the output topic in the tests takes (see `tests/kafka/accounted.rs`).
const TOO_LARGE: usize = 12_000_000;

pub fn kinds() -> Vec<Kind> {
    [enriched(), odd_frames(), not_json(), not_utf8(), not_an_object(), without_text(), others()]
        .into_iter()
        .flatten()
        .collect()
}

/// A kind by its value.
fn of<V: Into<Vec<u8>>>(
    name: &'static str,
    ends: Ends,
    value: impl Fn(usize) -> V + Send + Sync + 'static,
) -> Kind {
    Kind::new(name, ends, move |n| message(n, value(n)))
}

/// A kind by its text, which must need no escapes.
fn text(name: &'static str, ends: Ends, text: impl Fn(usize) -> String + Send + Sync + 'static) -> Kind {
    of(name, ends, move |n| format!("{{\"id\":{n},\"text\":\"{}\"}}", text(n)))
}

/// `pick(&["a", "b"], n)` is one of them.
fn pick<'a, T: ?Sized>(from: &[&'a T], n: usize) -> &'a T {
    from[n % from.len()]
}

fn enriched() -> Vec<Kind> {
    let big_text = |piece: &'static str| move |_| piece.repeat(10_000_000 / piece.len());
    vec![
        text("a text", Enriched, |n| format!("the film number {n} was good"))
            .look(|r| r["truncated"] == false),
        of("white space wherever JSON has it", Enriched, |n| {
            format!(
                "\r\n {{ \"id\" :\t{n} ,\r\n\"text\"\n: \"a good film\" , \"o\" : {{ }} , \"l\" : [ ] }} \r\n"
            )
        }),
        of("numbers such as `12345678901234567890`, `1.10`, `-0`, `1e999`", Enriched, |n| {
            format!("{{\"n\":[12345678901234567890,1.10,-0,1e999,0.1E+{n}],\"text\":\"a good film\"}}")
        }),
        of("a key that is there twice", Enriched, |n| {
            format!("{{\"a\":{n},\"text\":\"good\",\"a\":[1],\"a\":{n}}}")
        }),
        of("the text's key, twice: the last one counts", Enriched, |n| {
            format!("{{\"text\":\"a\",\"n\":{n},\"text\":\"{}\"}}", "good ".repeat(50))
        })
        .look(|r| r["tokens"]["seen"] == 52),
        of("the text's key, with escapes (`\\u0074ext`)", Enriched, |n| {
            format!("{{\"\\u0074ext\":\"film {n}\"}}")
        }),
        of("10,000 members", Enriched, |n| {
            let members: String = (0..10_000).map(|i| format!("\"k{i}\":{n},")).collect();
            format!("{{{members}\"text\":\"a good film\"}}")
        })
        .often(Seldom),
        of("JSON 100,000 levels deep, beside the text", Enriched, |n| {
            let (open, close) = if n.is_multiple_of(2) { ("[", "]") } else { ("{\"a\":", "}") };
            let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            format!("{{\"deep\":{deep},\"text\":\"a good film\"}}")
        })
        .often(Seldom),
        of("a byte order mark in front", Enriched, |n| {
            format!("\u{feff}{{\"id\":{n},\"text\":\"a good film\"}}")
        }),
        text("zero-width and bidirectional characters among others", Enriched, |_| {
            "go\u{200b}od \u{202e}mlif\u{202c} \u{2066}a\u{2069}\u{feff} so\u{ad}ft".to_owned()
        }),
        text("100,000 combining marks on one letter", Enriched, |_| {
            format!("a{}", "\u{301}".repeat(100_000))
        })
        .often(Seldom)
        .look(|r| r["tokens"]["seen"] == 3),
        text("any script, emoji sequences, private use, unassigned", Enriched, |n| {
            let texts = [
                "\u{1112}\u{1161}\u{11ab} \u{d55c}\u{ae00}",
                "\u{e2b}\u{e19}\u{e31}\u{e07}\u{e40}\u{e23}\u{e37}\u{e48}\u{e2d}\u{e07}",
                "\u{fdfa} \u{5d8}\u{5d5}\u{5d1} good",
                "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea}",
                "\u{e000} \u{378} \u{fdd0} film",
            ];
            pick(&texts, n).to_owned()
        }),
        text("`[SEP]`, `[CLS]`, `</s>` in a text: they are text", Enriched, |_| {
            "[CLS] good [SEP] </s> [PAD]".to_owned()
        })
        .look(|r| r["tokens"]["seen"].as_u64().is_some_and(|seen| seen > 12)),
        text("a text with escapes: `\\u0000`, `\\ud83d\\udc22`, `\\n`", Enriched, |_| {
            "a\\u0000b \\ud83d\\udc22 \\n\\t\\/\\\"\\\\ good".to_owned()
        }),
        of("half a surrogate pair in another string, or in a key", Enriched, |n| {
            format!("{{\"a\":\"\\ud83d\",\"\\udfff\":{n},\"text\":\"a good film\"}}")
        }),
        text("more tokens than the model reads", Enriched, |_| "good ".repeat(400))
            .look(|r| r["truncated"] == true && r["tokens"]["seen"] == 402 && r["tokens"]["used"] == 128),
        text(
            "10 MB of text with spaces: its first `input.max_text_bytes` are read",
            Enriched,
            big_text("good "),
        )
        .often(Rare)
        .look(|r| r["text_bytes"]["seen"] == 10_000_000 && r["text_bytes"]["used"] == 1 << 20),
        text("10 MB of text without spaces: likewise", Enriched, big_text("x"))
            .often(Rare)
            .look(|r| r["text_bytes"]["seen"] == 10_000_000 && r["truncated"] == true),
    ]
}

/// What is odd about these is not the value.
fn odd_frames() -> Vec<Kind> {
    let plain = |n| message(n, format!("{{\"id\":{n},\"text\":\"a good film\"}}"));
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    vec![
        Kind::new("a binary key", Enriched, move |n| Message {
            key: Some(vec![0, 0xff, n as u8, 0xfe]),
            ..plain(n)
        }),
        Kind::new("an empty key", Enriched, move |n| Message { key: Some(Vec::new()), ..plain(n) }),
        Kind::new("no key", Enriched, move |n| Message { key: None, ..plain(n) }),
        Kind::new("headers twice, empty, without a value, binary", Enriched, move |n| {
            let headers = [
                header("a", Some(b"1")),
                header("a", Some(b"")),
                header("a", None),
                header("", Some(&[0xff, 0])),
                header("squeezeflow.source.topic", Some(b"another's")),
            ];
            Message { headers: headers.into(), ..plain(n) }
        }),
        Kind::new("10,000 headers", Enriched, move |n| {
            let headers = (0..10_000).map(|i| header(&format!("h{}", i % 100), Some(&[i as u8])));
            Message { headers: headers.collect(), ..plain(n) }
        })
        .often(Seldom),
        Kind::new("no timestamp (-1)", Enriched, move |n| Message { timestamp: Some(-1), ..plain(n) }),
        Kind::new("a timestamp of 1970", Enriched, move |n| Message { timestamp: Some(1), ..plain(n) }),
        Kind::new(
            "a timestamp further ahead than the output topic takes",
            Dead("output_refused"),
            move |n| Message { timestamp: Some(9_999_999_999_999), ..plain(n) },
        )
        .before_kafka(Enriched)
        .says("further ahead"),
        Kind::new("a null value (a tombstone)", Passed("tombstone"), move |n| Message {
            value: None,
            ..plain(n)
        }),
        Kind::new("a null value without a key", Passed("tombstone"), move |n| Message {
            value: None,
            key: None,
            ..plain(n)
        }),
        Kind::new("anything that `input.when` excludes by a header", Enriched, move |n| Message {
            headers: vec![header("skip", Some(b"1"))],
            ..plain(n)
        })
        .leniently(Passed("not_selected")),
        Kind::new("even broken JSON, if it is excluded by a header", Dead("invalid_json"), move |n| {
            Message { headers: vec![header("skip", Some(b""))], ..message(n, "{\"text\":") }
        })
        .leniently(Passed("not_selected")),
    ]
}

fn not_json() -> Vec<Kind> {
    let is = |name, values: &'static [&'static str]| {
        of(name, Dead("invalid_json"), move |n| pick(values, n)).says("the value is not JSON: ")
    };
    vec![
        is("an empty value", &[""]),
        is("a value of white space only", &[" ", "\n", "\r\n\t "]),
        is("a byte order mark and nothing else", &["\u{feff}"]),
        is("plain words", &["a good film", "text=a good film", "<text>good</text>"]),
        is(
            "truncated JSON",
            &["{\"text\":\"a good fi", "{\"text\":\"a good film\"", "{\"text\":\"good\\u00", "{"],
        ),
        is(
            "something after the end",
            &["{\"text\":\"good\"}}", "{\"text\":\"good\"} {\"text\":\"film\"}", "{\"text\":\"good\"}\0"],
        ),
        is("`NaN`, `Infinity`", &["{\"text\":\"good\",\"n\":NaN}", "{\"n\":-Infinity,\"text\":\"good\"}"]),
        is(
            "single quotes, comments, a comma too many",
            &["{'text':'good'}", "{\"text\":\"good\"/* film */}", "{\"text\":\"good\",}"],
        ),
        is(
            "a raw line feed, escape or NUL in a string",
            &["{\"text\":\"a good\nfilm\"}", "{\"text\":\"good\x1b[0m\"}", "{\"text\":\"go\0od\"}"],
        ),
        is("an escape that is none", &["{\"text\":\"good\\x21\"}", "{\"text\":\"good\\u12g4\"}"]),
        of("JSON 100,000 levels deep that does not end", Dead("invalid_json"), |_| {
            "[{\"a\":".repeat(100_000)
        })
        .often(Seldom),
        of("a text with half a surrogate pair (`\\ud83d`)", Dead("invalid_json"), |n| {
            format!(
                "{{\"id\":{n},\"text\":\"good {}\"}}",
                pick(&["\\ud83d", "\\udc22 film", "\\udc22\\ud83d"], n)
            )
        })
        .says("half of a surrogate pair"),
    ]
}

fn not_utf8() -> Vec<Kind> {
    let is = |name, values: &'static [&'static [u8]]| {
        of(name, Dead("invalid_utf8"), move |n| pick(values, n)).says("is not UTF-8 from byte ")
    };
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: &'static str| {
        move |n| {
            format!("{mark}{{\"id\":{n},\"text\":\"a good film\"}}")
                .encode_utf16()
                .flat_map(bytes)
                .collect::<Vec<_>>()
        }
    };
    vec![
        is(
            "a byte that is not UTF-8",
            &[b"{\"text\":\"a good \xff\"}", b"\xff", b"{\"\xa0\":1,\"text\":\"good\"}"],
        ),
        is(
            "UTF-8 cut within a character",
            &[b"{\"text\":\"a good \xf0\x9f\x90", b"{\"text\":\"good \xc3\"}"],
        ),
        is(
            "over-long UTF-8, and surrogates in it (CESU-8)",
            &[b"{\"text\":\"\xc0\xaf\"}", b"{\"text\":\"\xed\xa0\xbd\xed\xb0\xa2\"}"],
        ),
        is(
            "a compressed or other binary value",
            &[b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab", b"PK\x03\x04\xff", b"\x89PNG\r\n\x1a\n"],
        ),
        of("UTF-16 with a byte order mark", Dead("invalid_utf8"), utf16(u16::to_le_bytes, "\u{feff}"))
            .says("UTF-"),
        of("UTF-16 without one", Dead("invalid_utf8"), utf16(u16::to_be_bytes, "")).says("looks like UTF-16"),
        of("five bytes or more, the first one 0 (Avro, Protobuf)", Dead("schema_registry_framed"), |n| {
            let id = (n as u32).to_be_bytes();
            [&[0], &id[..], b"\x02\x0ca good"].concat()
        })
        .says("unframe it upstream"),
    ]
}

fn not_an_object() -> Vec<Kind> {
    let values = ["[\"a good film\"]", "\"a good film\"", " 12 ", "true", "null", "[{\"text\":\"good\"}]"];
    vec![
        of("another root than an object", Dead("not_an_object"), move |n| pick(&values, n))
            .says("no place for a field"),
    ]
}

fn without_text() -> Vec<Kind> {
    let empty = |name, texts: &'static [&'static str]| {
        text(name, Dead("text_empty"), move |n| pick(texts, n).to_owned()).leniently(Passed("text_empty"))
    };
    let other = |name, values: &'static [&'static str]| {
        of(name, Dead("text_not_a_string"), move |n| format!("{{\"id\":{n},\"text\":{}}}", pick(values, n)))
            .says("not a string")
    };
    vec![
        of("no text", Dead("text_missing"), |n| {
            format!("{{\"id\":{n},\"Text\":\"a good film\",\"a\":{{\"text\":1}}}}")
        })
        .says("there is nothing at `/text`")
        .leniently(Passed("text_missing")),
        of("an object without members", Dead("text_missing"), |n| pick(&["{}", " { } "], n))
            .leniently(Passed("text_missing")),
        other("a text that is null", &["null"]).leniently(Passed("text_missing")),
        other(
            "a text that is a number, a boolean or an object",
            &["5", "1e999", "true", "{\"text\":\"good\"}"],
        ),
        other("an array of strings", &["[\"a good\", \"film\"]", "[]"]),
        of("a text that is 100,000 arrays deep", Dead("text_not_a_string"), |_| {
            format!("{{\"text\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000))
        })
        .often(Seldom)
        .says("is an array"),
        empty("an empty text", &[""]),
        empty(
            "a text of white space only, of any script",
            &[" ", "\\n\\t\\r", "\u{a0}\u{3000}\u{2003}", "\\u2028 \u{85}"],
        ),
        text(
            "a text of which the tokenizer keeps nothing: zero-width, control, lone marks",
            Dead("no_tokens"),
            |n| {
                pick(
                    &[
                        "\u{200b}\u{200d}\u{2060}",
                        "\\u0000\\u0001",
                        "\u{301}\u{302}",
                        "\u{202e}\u{202c}",
                        "\u{fffd}",
                    ],
                    n,
                )
                .to_owned()
            },
        )
        .leniently(Passed("no_tokens")),
    ]
}

fn others() -> Vec<Kind> {
    let there = |name, values: &'static [&'static str]| {
        of(name, Dead("field_exists"), move |n| {
            format!("{{\"id\":{n},\"text\":\"good\",{}}}", pick(values, n))
        })
        .says("the record has `nlp` already")
        .leniently(Passed("field_exists"))
    };
    vec![
        there("the output field is there", &["\"nlp\":{\"label\":\"good\"}", "\"nlp\":null"]),
        there(
            "the output field is there twice, or with escapes",
            &["\"nlp\":1,\"nlp\":2", "\"\\u006elp\":[]"],
        ),
        of("the output field's name further down", Enriched, |n| {
            format!("{{\"a\":{{\"nlp\":{n}}},\"text\":\"a good film\"}}")
        }),
        text("a text that the model fails on, alone in its batch", Dead("inference_failed"), |n| {
            format!("a good mandragora, {n} times")
        }),
        of("a result that the output topic does not take", Dead("output_too_large"), |n| {
            format!("{{\"text\":\"a good film\",\"noise\":\"{}\"}}", noise(TOO_LARGE, n))
        })
        .often(Rare)
        .before_kafka(Enriched),
    ]
}
