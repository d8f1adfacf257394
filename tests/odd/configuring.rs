//! The body of a fuzz target: any pipeline file, with any environment and any `--set`. Shared by
//! `fuzz/` and by `make test`.

use std::collections::BTreeMap;
use std::fmt::Write;

use squeezeflow::config::{Origin, Overrides, Problem, cases, load};

/// Between the file and each variable (`SQUEEZEFLOW__…=…`) or assignment for `--set`.
pub const SEPARATOR: u8 = 0x1e;
/// Stands for a secret, where one may be written.
const MARK: &str = "@SECRET@";
/// Two that differ in every character, so that a part of one is no part of the other.
const SECRETS: [&str; 2] = ["hunter2!", "D0lphin?"];

/// Panics where a promise is broken: nothing panics, each problem says where it is, what is loaded
/// is loaded again the same, and nothing that is said depends on what a secret is.
pub fn configuration(case: &[u8]) {
    let [one, other] = SECRETS.map(|secret| said(case, secret));
    assert_eq!(one, other, "what is said depends on a secret");
    assert_eq!(one, said(case, SECRETS[0]), "the same pipeline, another time");
}

/// Everything that a user could be shown of this pipeline.
fn said(case: &[u8], secret: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.yaml");
    std::fs::write(dir.path().join("secret"), format!("{secret}\n")).unwrap();
    let mut parts = case.split(|byte| *byte == SEPARATOR);
    std::fs::write(&file, with_secret(parts.next().unwrap_or_default(), secret)).unwrap();
    let mut overrides = Overrides {
        environment: BTreeMap::from([("PASSWORD".to_owned(), secret.to_owned())]),
        set: Vec::new(),
    };
    for part in parts {
        let part = String::from_utf8_lossy(&with_secret(part, secret)).into_owned();
        match part.split_once('=').filter(|(name, _)| name.starts_with("SQUEEZEFLOW__")) {
            Some((name, value)) => drop(overrides.environment.insert(name.to_owned(), value.to_owned())),
            None => overrides.set.push(part),
        }
    }
    let mut said = format!("{overrides:?}\n");
    match load(&file, &overrides) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|problem| say(&mut said, problem));
            write!(said, "{:?}", loaded.settings).unwrap();
        }
        Err(error) => {
            assert!(!error.problems.is_empty(), "refused without a reason");
            error.problems.iter().for_each(|problem| say(&mut said, problem));
            write!(said, "{error}").unwrap();
        }
    }
    // A case's values are there to be shown, so only that it can be read or refused.
    if let Err(error) = cases(&file) {
        assert!(!error.problems.is_empty(), "cases refused without a reason");
    }
    said.replace(&*dir.path().to_string_lossy(), "DIR")
}

fn say(said: &mut String, problem: &Problem) {
    let by_another = matches!(problem.origin, Origin::Environment(_) | Origin::Set);
    let placed = !problem.path.is_empty() || problem.line.is_some() || by_another;
    assert!(placed, "a problem without a place: {problem:?}");
    assert!(!problem.what.is_empty());
    let shown = problem.to_string();
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "for a terminal: {shown:?}");
    writeln!(said, "{shown}\n{problem:?}").unwrap();
}

/// The mark becomes the secret where a password is written, and only there: elsewhere (in a key, say)
/// it is no secret.
fn with_secret(part: &[u8], secret: &str) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(part) else { return part.to_vec() };
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let (before, after) = (&rest[..at], &rest[at + MARK.len()..]);
        let written = before.ends_with("password: ") || before.ends_with("password=");
        let ends = after.is_empty() || after.starts_with(['\n', '}', ',']);
        out += before;
        out += if written && ends { secret } else { MARK };
        rest = after;
    }
    (out + rest).into_bytes()
}
