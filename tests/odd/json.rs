//! JSON as it may be written, not as a writer of ours would: odd white space, escapes where none are
//! needed, keys twice, numbers that no machine can hold, half surrogate pairs, depth. And that a
//! result put into it changes nothing else.

use proptest::prelude::*;
use proptest::sample::select;

use crate::decoding::{ALL, End, judge};

/// White space that JSON allows.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 1 => "[ \\t\\r\\n]{1,4}"]
}

/// The same text, each character spelled in one of the ways there are.
fn spelled(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, prop::collection::vec(0..6u8, 1..12)).prop_map(|(text, ways)| {
        let spell = |(c, way): (char, &u8)| match (c, way) {
            ('"', _) => "\\\"".to_owned(),
            ('\\', _) => "\\\\".to_owned(),
            ('/', 0) => "\\/".to_owned(),
            ('\n', 1) => "\\n".to_owned(),
            (c, 2) => c.encode_utf16(&mut [0; 2]).iter().map(|u| format!("\\u{u:04x}")).collect(),
            (c, 3) => c.encode_utf16(&mut [0; 2]).iter().map(|u| format!("\\u{u:04X}")).collect(),
            (c, _) if c < ' ' => format!("\\u{:04x}", u32::from(c)),
            (c, _) => c.to_string(),
        };
        format!("\"{}\"", text.chars().zip(ways.iter().cycle()).map(spell).collect::<String>())
    })
}

fn key() -> impl Strategy<Value = String> {
    let word = select(vec!["text", "nlp", "title", "a", "", "t\u{e9}xt", "{", "\\", "\""]);
    prop_oneof![
        4 => spelled(word.prop_map(str::to_owned)),
        2 => spelled(".{0,6}"),
        1 => Just("\"\\ud800\"".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?",
        select(vec![
            "null",
            "true",
            "false",
            "{}",
            "[ ]",
            "\"\\udc00\"",
            "-0",
            "1e999",
            "12345678901234567890"
        ])
        .prop_map(str::to_owned),
        spelled(any::<String>()),
    ];
    let nested = leaf.prop_recursive(6, 40, 5, |inner| {
        let items = prop::collection::vec((space(), inner.clone(), space()), 0..5);
        let members = prop::collection::vec((space(), key(), space(), space(), inner, space()), 0..5);
        prop_oneof![
            (items, space()).prop_map(|(items, end)| {
                let items: Vec<String> = items.into_iter().map(|(a, v, b)| a + &v + &b).collect();
                format!("[{}{end}]", items.join(","))
            }),
            (members, space()).prop_map(|(members, end)| format!("{{{}{end}}}", join(members))),
        ]
    });
    let deep = (1..300usize).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    prop_oneof![12 => nested, 1 => deep]
}

type Member = (String, String, String, String, String, String);

fn join(members: Vec<Member>) -> String {
    let members: Vec<String> =
        members.into_iter().map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}")).collect();
    members.join(",")
}

/// An object with any members and, after them, a text to be read.
pub fn object() -> impl Strategy<Value = String> {
    let member = || (space(), key(), space(), space(), value(), space());
    let text = (space(), spelled(Just("text".to_owned())), space(), space(), spelled(".*x.*"), space());
    let mark = select(vec!["", "", "", "\u{feff}"]);
    (
        mark,
        space(),
        prop::collection::vec(member(), 0..6),
        text,
        prop::collection::vec(other(), 0..2),
        space(),
    )
        .prop_map(|(mark, start, mut members, text, after, end)| {
            members.push(text);
            members.extend(after);
            format!("{mark}{start}{{{}}}{end}", join(members))
        })
}

/// A member that is no text.
fn other() -> impl Strategy<Value = Member> {
    (space(), spelled("[b-d]{0,3}"), space(), space(), value(), space())
}

proptest! {
    /// What `judge` asserts: all bytes but the result are the old ones, and a parser of another make
    /// finds the old members and the result.
    #[test]
    fn a_result_put_into_any_object_changes_nothing_else(value in object()) {
        let replaces = &ALL[1];
        prop_assert_eq!(judge(replaces, value.as_bytes()), End::Enriched);
        for way in ALL.iter() {
            judge(way, value.as_bytes());
        }
    }

    #[test]
    fn any_bytes_are_judged(value in prop::collection::vec(any::<u8>(), 0..200)) {
        for way in ALL.iter() {
            judge(way, &value);
        }
    }
}
