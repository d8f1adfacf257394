//! What comes out of a topic may have been written by anybody: nothing of it may command the
//! terminal that it is printed to. Pure.

use std::fmt::Write;

/// One line of text: what a terminal would act on, or what would hide or reorder what is seen,
/// stands as an escape (`\n`, `\u{1b}`).
pub(super) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_active(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The same of a JSON document, in its own escapes; control characters below 0x20 are escaped in
/// it already, and those that are left are its line feeds.
pub(super) fn json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        if is_active(c) && c >= ' ' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A string takes all that is written to it.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A line of text; what is not UTF-8 in base64.
pub(super) fn bytes(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => line(text),
        Err(_) => format!("base64:{}", base64::encode(bytes)),
    }
}

/// Control characters, and those of Unicode that set directions, join, separate or mark.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_commands_the_terminal() {
        assert_eq!(line("a\x1b[31mred\r\n\tb\u{9b}2J"), "a\\u{1b}[31mred\\r\\n\\tb\\u{9b}2J");
        assert_eq!(line("user\u{202e}gnp.exe"), "user\\u{202e}gnp.exe");
        assert_eq!(line("Überraschung 🙂 \\ \"quoted\""), "Überraschung 🙂 \\ \"quoted\"");
        assert_eq!(bytes(b"\xff\0"), "base64:/wA=");
        assert_eq!(bytes(b"plain"), "plain");
    }

    proptest! {
        #[test]
        fn no_text_gets_through(text in any::<String>()) {
            prop_assert!(!line(&text).contains(is_active));
        }

        #[test]
        fn json_stays_the_same_json(text in any::<String>()) {
            let document = serde_json::to_string_pretty(&serde_json::json!({ "a": text })).unwrap();
            let shown = json(&document);
            prop_assert!(!shown.contains(|c| is_active(c) && c != '\n'));
            let again: serde_json::Value = serde_json::from_str(&shown).unwrap();
            prop_assert_eq!(again["a"].as_str(), Some(text.as_str()));
        }
    }
}
