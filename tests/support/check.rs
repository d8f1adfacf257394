//! Compares what came out with what went in, in Jepsen's words: lost, duplicate, aborted read, out
//! of order, altered, out of nothing. Knows nothing of how the worker works.

use std::collections::{BTreeMap, BTreeSet};

use super::observer::{Place, Seen, source_of};

/// What is wrong, and what was counted.
#[derive(Debug, Default)]
pub struct Verdict {
    pub enriched: usize,
    pub passed: usize,
    pub dead: usize,
    /// Dead letters by reason.
    pub reasons: BTreeMap<String, usize>,
    /// Input records that came out nowhere.
    pub lost: Vec<Place>,
    /// Outputs of a record that had come out before.
    pub duplicates: Vec<Place>,
    /// First occurrences that came after a later record of the same input partition or key.
    pub disorder: Vec<String>,
    /// Outputs that are not what the input was, apart from what is added.
    pub altered: Vec<String>,
    /// Outputs whose source is not in the input.
    pub phantoms: Vec<Place>,
    /// What a reader saw while the test ran, and no reader ever sees again.
    pub aborted: Vec<Place>,
}

impl Verdict {
    /// Nothing lost, out of order, altered or made up. Duplicates are counted, and allowed.
    #[track_caller]
    pub fn at_least_once(&self) -> &Self {
        assert!(self.is_at_least_once(), "{}", self.report());
        self
    }

    pub fn is_at_least_once(&self) -> bool {
        let faults = [&self.lost, &self.phantoms, &self.aborted].map(Vec::len);
        let others = [&self.disorder, &self.altered].map(Vec::len);
        faults.iter().chain(&others).all(|n| *n == 0)
    }

    /// And no duplicate either.
    #[track_caller]
    pub fn exactly_once(&self) -> &Self {
        self.at_least_once();
        assert!(self.duplicates.is_empty(), "{}", self.report());
        self
    }

    /// With what a concurrent reader saw of the same topics: all of it must still be there.
    pub fn with_reader(mut self, concurrent: &[Seen], last: &[Seen]) -> Self {
        let last: BTreeMap<Place, &Seen> = last.iter().map(|seen| (seen.place(), seen)).collect();
        let gone = concurrent.iter().filter(|seen| last.get(&seen.place()) != Some(seen));
        self.aborted = gone.map(Seen::place).collect();
        self
    }

    fn report(&self) -> String {
        fn list<T: std::fmt::Debug>(name: &str, all: &[T]) -> String {
            let first = &all[..all.len().min(5)];
            format!(
                "  {name}: {}{}\n",
                all.len(),
                if all.is_empty() { String::new() } else { format!(", such as {first:?}") }
            )
        }
        format!(
            "enriched {}, passed {}, dead {}\n{}{}{}{}{}{}",
            self.enriched,
            self.passed,
            self.dead,
            list("lost", &self.lost),
            list("duplicate", &self.duplicates),
            list("out of order", &self.disorder),
            list("altered", &self.altered),
            list("out of nothing", &self.phantoms),
            list("aborted, but read", &self.aborted),
        )
    }
}

/// Compares whole topics: the input, and the output and dead letters together.
pub fn check(input: &[Seen], output: &[Seen]) -> Verdict {
    let mut verdict = Verdict::default();
    let sources: BTreeMap<Place, &Seen> = input.iter().map(|record| (record.place(), record)).collect();
    let mut came_out = BTreeSet::new();
    let mut lines = Lines::default();
    let mut in_place_order: Vec<&Seen> = output.iter().collect();
    in_place_order.sort_by_key(|seen| seen.place());
    for seen in in_place_order {
        let place = source_of(seen);
        let Some(source) = sources.get(&place) else {
            verdict.phantoms.push(seen.place());
            continue;
        };
        if let Err(what) = verdict.compare(source, seen) {
            verdict.altered.push(format!("{:?} from {place:?}: {what}", seen.place()));
        }
        if !came_out.insert(place.clone()) {
            verdict.duplicates.push(place);
        } else if let Err(what) = lines.step(source, seen) {
            verdict.disorder.push(what);
        }
    }
    verdict.lost = sources.keys().filter(|place| !came_out.contains(*place)).cloned().collect();
    verdict
}

/// Where each line of first occurrences stands.
#[derive(Default)]
struct Lines {
    /// By output partition and input partition: offsets rise. (Between two output partitions there
    /// is no order to see.)
    partitions: BTreeMap<(String, i32, String, i32), i64>,
    /// By output topic and key: it stays in one partition, and the input's own sequence rises.
    keys: BTreeMap<(String, Vec<u8>), (i32, i64)>,
}

impl Lines {
    fn step(&mut self, source: &Seen, seen: &Seen) -> Result<(), String> {
        let line = (seen.topic.clone(), seen.partition, source.topic.clone(), source.partition);
        let before = self.partitions.insert(line, source.offset);
        if before.is_some_and(|before| before >= source.offset) {
            return Err(format!("{:?} after offset {before:?}", source.place()));
        }
        // An empty key is none of the stream's own, so it has no sequence.
        let key = source.key.as_ref().filter(|key| !key.is_empty());
        let (Some(key), Some(sequence)) = (key, sequence(source)) else { return Ok(()) };
        let before = self.keys.insert((seen.topic.clone(), key.clone()), (seen.partition, sequence));
        // Dead letters are spread as librdkafka likes; the output's partitions are promised.
        let moved = |partition| partition != seen.partition && !is_dead_letter(seen);
        match before {
            Some((partition, _)) if moved(partition) => Err(format!("{:?}: its key moved", source.place())),
            Some((_, before)) if before >= sequence => {
                Err(format!("{:?}: {sequence} of its key after {before}", source.place()))
            }
            _ => Ok(()),
        }
    }
}

/// The number that the test gave a record among those of its key.
fn sequence(source: &Seen) -> Option<i64> {
    let json: serde_json::Value = serde_json::from_slice(source.value.as_deref()?).ok()?;
    json.get("seq")?.as_i64()
}

fn is_dead_letter(seen: &Seen) -> bool {
    seen.header("__squeezeflow.errors.reason").is_some()
}

impl Verdict {
    fn compare(&mut self, source: &Seen, seen: &Seen) -> Result<(), String> {
        let same = |what: &str, same: bool| if same { Ok(()) } else { Err(format!("{what} differs")) };
        same("key", seen.key == source.key)?;
        let Some(added) = seen.headers.strip_prefix(source.headers.as_slice()) else {
            return Err("headers differ".to_owned());
        };
        let prefix = if is_dead_letter(seen) { "__squeezeflow.errors." } else { "squeezeflow." };
        if let Some((name, _)) = added.iter().find(|(name, _)| !name.starts_with(prefix)) {
            return Err(format!("a header `{name}` was added"));
        }
        if let Some(reason) = seen.header("__squeezeflow.errors.reason") {
            self.dead += 1;
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
            return same("value", seen.value == source.value);
        }
        same("timestamp", seen.timestamp == source.timestamp)?;
        match (&source.value, &seen.value) {
            // Tests count how many may.
            (before, after) if before == after => self.passed += 1,
            (Some(before), Some(after)) => {
                same("value", without_field(after)? == *before)?;
                self.enriched += 1;
            }
            _ => return Err("a tombstone came or went".to_owned()),
        }
        Ok(())
    }
}

/// The value with the spliced field taken out again, byte for byte.
fn without_field(value: &[u8]) -> Result<Vec<u8>, String> {
    type Fields<'a> = BTreeMap<String, &'a serde_json::value::RawValue>;
    let text = std::str::from_utf8(value).map_err(|e| e.to_string())?;
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let raw = fields.get("nlp").ok_or("no field `nlp`")?.get();
    let parts: Vec<&str> = text.split(&format!(",\"nlp\":{raw}")).collect();
    let [before, after] = parts[..] else { return Err("`nlp` is not spliced in once".to_owned()) };
    Ok([before, after].concat().into_bytes())
}
