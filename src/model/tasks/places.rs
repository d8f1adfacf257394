//! Where something stands in a text: in bytes, and in characters as Python counts them. Pure.

use std::ops::Range;

/// A text's bytes to its characters (Unicode scalar values).
pub(super) struct Characters<'a> {
    text: &'a str,
    /// Where each begins, and at last the text's length; empty where each is one byte.
    starts: Vec<usize>,
}

impl<'a> Characters<'a> {
    pub fn new(text: &'a str) -> Self {
        let starts = match text.is_ascii() {
            true => Vec::new(),
            false => text.char_indices().map(|(at, _)| at).chain([text.len()]).collect(),
        };
        Self { text, starts }
    }

    /// The place of the character that this byte is of; of the text's length, how many there are.
    pub fn at(&self, byte: usize) -> usize {
        let byte = byte.min(self.text.len());
        match self.starts.is_empty() {
            true => byte,
            false => self.starts.partition_point(|start| *start <= byte).saturating_sub(1),
        }
    }

    /// As few whole characters as hold these bytes.
    pub fn whole(&self, bytes: Range<usize>) -> Range<usize> {
        let (mut start, mut end) = (bytes.start.min(self.text.len()), bytes.end.min(self.text.len()));
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        start..end.max(start)
    }

    /// What stands there; nothing of half a character.
    pub fn slice(&self, bytes: &Range<usize>) -> &'a str {
        self.text.get(bytes.clone()).unwrap_or_default()
    }

    /// Does a blank stand at this byte or before it, or the text begin?
    pub fn follows_space(&self, byte: usize) -> bool {
        let start = self.whole(byte..byte).start;
        let (before, after) = self.text.split_at(start);
        before.is_empty() || before.ends_with(' ') || after.starts_with(' ')
    }

    /// The members of a result that say where it stands.
    pub fn json(&self, bytes: &Range<usize>) -> String {
        let (start, end) = (self.at(bytes.start), self.at(bytes.end));
        let (start_byte, end_byte) = (bytes.start, bytes.end);
        format!(r#""start":{start},"end":{end},"start_byte":{start_byte},"end_byte":{end_byte}"#)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn characters_are_those_of_python(text in any::<String>(), cut in any::<(usize, usize)>()) {
            let characters = Characters::new(&text);
            let (a, b) = (cut.0 % (text.len() + 1), cut.1 % (text.len() + 1));
            let bytes = characters.whole(a.min(b)..a.max(b));
            prop_assert!(bytes.start <= a.min(b) && bytes.end >= a.max(b));
            let (start, end) = (characters.at(bytes.start), characters.at(bytes.end));
            let slice: String = text.chars().skip(start).take(end - start).collect();
            prop_assert_eq!(characters.slice(&bytes), slice);
        }
    }
}
