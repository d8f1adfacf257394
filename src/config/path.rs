//! Paths in a pipeline document as a person writes them: `input.topics[0]`. Pure.

/// The path of a key below `parent`. A key without a name is shown as `""`: an empty path would be the
/// document's.
pub(super) fn key(parent: &str, key: &str) -> String {
    let key = if key.is_empty() { "\"\"" } else { key };
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// The path of these keys, each below the one before.
pub(crate) fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    keys.into_iter().fold(String::new(), |path, below| key(&path, below))
}

/// The path of a list item below `parent`.
pub(super) fn index(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The path one step up; `None` at the top.
pub(super) fn parent(path: &str) -> Option<&str> {
    (!path.is_empty()).then(|| path.rfind(['.', '[']).map_or("", |at| path.get(..at).unwrap_or("")))
}

/// Is `path` the same as `ancestor`, or below it?
pub(super) fn within(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor)
        .is_some_and(|rest| ancestor.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// From the JSON pointer of a validation error. No key of a pipeline is a bare number, so a bare
/// number is an index.
pub(super) fn from_pointer(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, segment| match segment.parse() {
        Ok(i) => index(&path, i),
        Err(_) => key(&path, &segment.replace("~1", "/").replace("~0", "~")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(from_pointer("/input/topics/0"), "input.topics[0]");
        assert_eq!(from_pointer(""), "");
        assert_eq!((key("", ""), key("a", "")), ("\"\"".to_owned(), "a.\"\"".to_owned()));
        assert_eq!((of(["a", "", "b"]), of([])), ("a.\"\".b".to_owned(), String::new()));
        assert_eq!(parent("input.topics[0]"), Some("input.topics"));
        assert_eq!(parent("input"), Some(""));
        assert_eq!(parent(""), None);
        assert!(within("a.b", "a") && within("a[0]", "a") && within("a", "a") && within("a", ""));
        assert!(!within("ab", "a"));
    }
}
