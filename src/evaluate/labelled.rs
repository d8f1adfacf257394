//! Labelled texts: a TSV as GLUE has them. A line is a text and its label, apart by a tab; quotation
//! marks are ordinary characters. A first line with a column named `label` says which columns are
//! meant (`text` or `sentence`, else the other of two); without it a line is text, then label.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A text and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// In the file, counted from 1.
    pub line: usize,
    /// Without white space around it.
    pub text: String,
    /// Index of its label.
    pub label: usize,
}

/// Why a file does not serve as labelled texts.
#[derive(Debug, thiserror::Error)]
pub enum LabelledError {
    /// It cannot be read.
    #[error("{file} cannot be read: {source}", file = file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not text.
    #[error("{file}:{line}: not UTF-8", file = file.display())]
    Encoding {
        /// Which.
        file: PathBuf,
        /// The first broken line.
        line: usize,
    },
    /// A first line that names a label column, but no text.
    #[error("{file}:1: of these columns none is called `text` or `sentence`", file = file.display())]
    NoTextColumn {
        /// Which.
        file: PathBuf,
    },
    /// Nothing in it.
    #[error("{file} has no line with a text and a label in it", file = file.display())]
    Empty {
        /// Which.
        file: PathBuf,
    },
    /// Lines that are not a text and a label.
    #[error("{}", Lines(file, problems, labels))]
    Lines {
        /// Which.
        file: PathBuf,
        /// All of them, by line.
        problems: Vec<(usize, Problem)>,
        /// The package's.
        labels: Vec<String>,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Too few columns.
    NoTab,
    /// White space at most.
    NoText,
    /// Neither a label's name nor its index.
    Label,
}

/// Lines that are shown; of more, their number.
const SHOWN: usize = 10;

/// The lines' own words are not shown: they are texts, or may be.
struct Lines<'a>(&'a Path, &'a [(usize, Problem)], &'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(file, problems, labels) = self;
        for (i, (line, problem)) in problems.iter().take(SHOWN).enumerate() {
            let between = if i == 0 { "" } else { "\n" };
            write!(f, "{between}{}:{line}: ", file.display())?;
            match problem {
                Problem::NoTab => write!(f, "no tab between text and label")?,
                Problem::NoText => write!(f, "the text is empty")?,
                Problem::Label => {
                    let last = labels.len().saturating_sub(1);
                    write!(f, "the label is none of {} (nor an index, 0 to {last})", labels.join(", "))?;
                }
            }
        }
        match problems.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more lines"),
        }
    }
}

/// Reads a file. `labels` are the package's: a label in the file is one of these names, or an index.
pub fn read(file: &Path, labels: &[String]) -> Result<Vec<Example>, LabelledError> {
    let bytes =
        std::fs::read(file).map_err(|source| LabelledError::Unreadable { file: file.to_owned(), source })?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        LabelledError::Encoding { file: file.to_owned(), line }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    parse(file, text, labels)
}

/// The texts of such a file, whatever stands beside them: their labels are read when a package's are known.
pub fn texts(text: &str) -> Vec<String> {
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().peekable();
    let mut columns = Columns::LastTab;
    if let Some(header) = lines.peek().and_then(|first| header(first)) {
        columns = header.unwrap_or(columns);
        lines.next();
    }
    let of = |line: &str| match columns {
        Columns::LastTab => line.rsplit_once('\t').map(|(text, _)| text.trim().to_owned()),
        Columns::At { text, .. } => line.split('\t').nth(text).map(|text| text.trim().to_owned()),
    };
    lines.filter_map(of).filter(|text| !text.is_empty()).collect()
}

/// Where in a line text and label are.
#[derive(Clone, Copy)]
enum Columns {
    /// Before and after the last tab.
    LastTab,
    /// By number.
    At { text: usize, label: usize },
}

fn parse(file: &Path, text: &str, labels: &[String]) -> Result<Vec<Example>, LabelledError> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line)).peekable();
    let mut columns = Columns::LastTab;
    if let Some(header) = lines.peek().and_then(|(_, first)| header(first)) {
        columns = header.ok_or_else(|| LabelledError::NoTextColumn { file: file.to_owned() })?;
        lines.next();
    }
    let (mut examples, mut problems) = (Vec::new(), Vec::new());
    for (line, content) in lines.filter(|(_, content)| !content.trim().is_empty()) {
        match example(content, columns, labels) {
            Ok((text, label)) => examples.push(Example { line, text, label }),
            Err(problem) => problems.push((line, problem)),
        }
    }
    match (problems.is_empty(), examples.is_empty()) {
        (false, _) => Err(LabelledError::Lines { file: file.to_owned(), problems, labels: labels.to_vec() }),
        (true, true) => Err(LabelledError::Empty { file: file.to_owned() }),
        (true, false) => Ok(examples),
    }
}

/// `None`: an ordinary line. `Some(None)`: a header without a column of texts.
fn header(line: &str) -> Option<Option<Columns>> {
    let names: Vec<String> = line.split('\t').map(|name| name.trim().to_ascii_lowercase()).collect();
    let find = |wanted: &str| names.iter().position(|name| name == wanted);
    let label = find("label")?;
    let other = || (names.len() == 2).then_some(1 - label.min(1));
    let text = find("text").or_else(|| find("sentence")).or_else(other);
    Some(text.map(|text| Columns::At { text, label }))
}

fn example(line: &str, columns: Columns, labels: &[String]) -> Result<(String, usize), Problem> {
    let (text, label) = match columns {
        Columns::LastTab => line.rsplit_once('\t').ok_or(Problem::NoTab)?,
        Columns::At { text, label } => {
            let cells: Vec<&str> = line.split('\t').collect();
            let cell = |at: usize| cells.get(at).copied().ok_or(Problem::NoTab);
            (cell(text)?, cell(label)?)
        }
    };
    let (text, label) = (text.trim(), label.trim());
    if text.is_empty() {
        return Err(Problem::NoText);
    }
    let named = labels.iter().position(|name| name == label);
    let index = || label.parse().ok().filter(|index| *index < labels.len());
    Ok((text.to_owned(), named.or_else(index).ok_or(Problem::Label)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_are_found_with_and_without_a_header() {
        assert_eq!(texts("first\t1\nsecond\t0\n\nno tab\n"), ["first", "second"]);
        assert_eq!(texts("\u{feff}label\tsentence\n1\tfirst\n0\tsecond\n"), ["first", "second"]);
        assert_eq!(texts("sentence\tlabel\nfirst\t1\n\t0\n"), ["first"]);
        assert!(texts("").is_empty());
    }

    fn of(text: &str) -> Result<Vec<(usize, String, usize)>, LabelledError> {
        let labels = ["negative".to_owned(), "positive".to_owned()];
        let examples = parse(Path::new("a.tsv"), text, &labels)?;
        Ok(examples.into_iter().map(|e| (e.line, e.text, e.label)).collect())
    }

    #[test]
    fn glue_and_its_relatives_are_read() {
        let want = vec![(2, "so \"good".into(), 1), (4, "bad".into(), 0)];
        assert_eq!(of("sentence\tlabel\nso \"good \t1\n\nbad\t0\n").unwrap(), want);
        assert_eq!(of("label\ttext\r\npositive\tso \"good\r\n\r\nnegative\tbad\r\n").unwrap(), want);
        assert_eq!(of("id\tsentence\tLABEL\n7\tso \"good\t1\n\n8\tbad\tnegative").unwrap(), want);
        assert_eq!(of("words\tlabel\nso \"good\tpositive\n\nbad\tnegative").unwrap(), want);
        assert_eq!(
            of("a tab\tin it\tpositive\nno header\t0").unwrap(),
            [(1, "a tab\tin it".into(), 1), (2, "no header".into(), 0)]
        );
    }

    #[test]
    fn every_bad_line_is_named_and_none_of_its_words() {
        let error =
            of("sentence\tlabel\nsecret one\n \t1\nsecret two\tgood\nsecret\t2\nfine\t1").unwrap_err();
        let text = error.to_string();
        assert_eq!(
            text,
            "a.tsv:2: no tab between text and label\n\
             a.tsv:3: the text is empty\n\
             a.tsv:4: the label is none of negative, positive (nor an index, 0 to 1)\n\
             a.tsv:5: the label is none of negative, positive (nor an index, 0 to 1)"
        );
        let many = of(&"secret\n".repeat(15)).unwrap_err().to_string();
        assert!(many.ends_with("… and 5 more lines") && many.lines().count() == 11, "{many}");
        assert!(of("").unwrap_err().to_string().contains("no line"));
        assert!(of("sentence\tlabel\n").unwrap_err().to_string().contains("no line"));
        assert!(of("a\tb\tlabel\nx\ty\t0").unwrap_err().to_string().contains("a.tsv:1: "));
    }

    #[test]
    fn a_file_is_utf8() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tsv");
        std::fs::write(&file, b"\xef\xbb\xbfsentence\tlabel\nok\t0\nnot \xff\t0\n").unwrap();
        let labels = ["a".to_owned()];
        assert!(matches!(read(&file, &labels), Err(LabelledError::Encoding { line: 3, .. })));
        std::fs::write(&file, b"\xef\xbb\xbfsentence\tlabel\nok\t0\n").unwrap();
        assert_eq!(read(&file, &labels).unwrap().len(), 1, "the mark at the beginning is no text");
        assert!(read(&dir.path().join("y.tsv"), &labels).unwrap_err().to_string().contains("y.tsv"));
    }
}
