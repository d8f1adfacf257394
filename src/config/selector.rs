//! Where the text is in a JSON value: a JSON pointer (RFC 6901), or a template of several. Pure.

use super::settings::{TemplatePart, TextSelector};

/// What is wrong with a selector. Quotes nothing but the pointer's own syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SelectorError {
    #[error("a JSON pointer must begin with `/`")]
    NotAPointer,
    #[error("in a JSON pointer `~` must be followed by 0 (for ~) or 1 (for /)")]
    Escape,
    #[error("a brace is opened and not closed")]
    Unclosed,
    #[error("a brace is closed that was not opened")]
    Unopened,
    #[error("the template names no JSON pointer, so every text would be the same")]
    Constant,
}

/// What begins with `/` is a pointer, all else is a template.
pub(super) fn parse(text: &str) -> Result<TextSelector, SelectorError> {
    if text.starts_with('/') {
        pointer(text).map(TextSelector::Pointer)
    } else if text.contains(['{', '}']) {
        template(text).map(TextSelector::Template)
    } else {
        Err(SelectorError::NotAPointer)
    }
}

/// A single pointer.
pub(super) fn pointer(text: &str) -> Result<String, SelectorError> {
    if !text.starts_with('/') {
        return Err(SelectorError::NotAPointer);
    }
    let mut tildes = text.split('~').skip(1);
    if tildes.any(|after| !after.starts_with(['0', '1'])) {
        return Err(SelectorError::Escape);
    }
    Ok(text.to_owned())
}

fn template(text: &str) -> Result<Vec<TemplatePart>, SelectorError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.peek() == Some(&c) => {
                chars.next();
                literal.push(c);
            }
            '{' => {
                let mut inside = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some(c) => inside.push(c),
                        None => return Err(SelectorError::Unclosed),
                    }
                }
                if !literal.is_empty() {
                    parts.push(TemplatePart::Literal(std::mem::take(&mut literal)));
                }
                parts.push(TemplatePart::Pointer(pointer(&inside)?));
            }
            '}' => return Err(SelectorError::Unopened),
            c => literal.push(c),
        }
    }
    if !literal.is_empty() {
        parts.push(TemplatePart::Literal(literal));
    }
    let names_one = parts.iter().any(|part| matches!(part, TemplatePart::Pointer(_)));
    names_one.then_some(parts).ok_or(SelectorError::Constant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TemplatePart::{Literal, Pointer};

    #[test]
    fn pointers_and_templates() {
        assert_eq!(parse("/a/b~1c"), Ok(TextSelector::Pointer("/a/b~1c".into())));
        assert_eq!(
            parse("{/title}. {/body} {{x}}"),
            Ok(TextSelector::Template(vec![
                Pointer("/title".into()),
                Literal(". ".into()),
                Pointer("/body".into()),
                Literal(" {x}".into())
            ]))
        );
        assert_eq!(parse("text"), Err(SelectorError::NotAPointer));
        assert_eq!(parse("{title}"), Err(SelectorError::NotAPointer));
        assert_eq!(parse("/a~2"), Err(SelectorError::Escape));
        assert_eq!(parse("/a~"), Err(SelectorError::Escape));
        assert_eq!(parse("x {/a"), Err(SelectorError::Unclosed));
        assert_eq!(parse("x } {/a}"), Err(SelectorError::Unopened));
        assert_eq!(parse("{{x}}"), Err(SelectorError::Constant));
    }

    proptest::proptest! {
        #[test]
        fn a_template_says_what_was_written(pieces in proptest::collection::vec(("[a-z{} .]{1,8}", "(/[a-z]{1,4}){1,3}"), 1..5)) {
            let text: String = pieces.iter()
                .map(|(l, p)| format!("x{}{{{p}}}", l.replace('{', "{{").replace('}', "}}")))
                .collect();
            let expected: Vec<_> = pieces.iter().flat_map(|(l, p)| [Literal(format!("x{l}")), Pointer(p.clone())]).collect();
            proptest::prop_assert_eq!(parse(&text), Ok(TextSelector::Template(expected)));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") { let _ = parse(&text); }
    }
}
