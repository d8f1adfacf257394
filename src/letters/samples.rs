//! Some letters of each reason, to look at: the newest, and of those as many as fit into so much
//! memory. Pure.

use std::collections::BTreeMap;

use super::letter::Letter;
use super::tally::MAX_ROWS;
use crate::record::Offset;

/// What all samples together may hold. Each may be as large as a message.
const BUDGET: usize = 64 * 1024 * 1024;
/// Names of headers that a sample shows when payload was not asked for, and their bytes.
const MAX_NAMES: usize = 100;
const MAX_NAMES_BYTES: usize = 4096;

/// Letters of one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// The newest, oldest first.
    pub newest: Vec<Sample>,
    /// Of how many.
    pub letters: u64,
    /// So many more were asked for and are there; together they would take too much memory.
    pub left_out: u64,
}

/// One letter, to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Without key, value and the headers' values, unless they were asked for.
    pub letter: Letter,
    /// Length of the key; `None`: null.
    pub key_bytes: Option<usize>,
    /// Length of the value; `None`: null.
    pub value_bytes: Option<usize>,
    /// So many headers more than are in `letter`: their names would be too long a list.
    pub more_headers: usize,
    /// Was it replayed?
    pub replayed: bool,
}

/// Time of writing, and place: unlike any other letter's.
type Age = (Option<i64>, i32, Offset);

/// One collecting.
pub(super) struct Collection {
    /// Of each reason, at most.
    wanted: usize,
    payload: bool,
    budget: usize,
    /// Of all samples.
    bytes: usize,
    reasons: BTreeMap<String, Kept>,
}

/// Of one reason.
#[derive(Default)]
struct Kept {
    samples: BTreeMap<Age, Sample>,
    bytes: usize,
    letters: u64,
    /// The newest that was given up. What is older than that is not taken: there would be a hole.
    gone: Option<Age>,
}

impl Collection {
    pub(super) fn new(wanted: usize, payload: bool) -> Self {
        Self { wanted, payload, budget: BUDGET, bytes: 0, reasons: BTreeMap::new() }
    }

    pub(super) fn see(&mut self, letter: Letter, replayed: bool) {
        let known = self.reasons.len() < MAX_ROWS || self.reasons.contains_key(&letter.reason);
        if self.wanted == 0 || !known {
            return;
        }
        let kept = self.reasons.entry(letter.reason.clone()).or_default();
        kept.letters += 1;
        let at = (letter.written.0, letter.partition, letter.offset);
        if kept.gone.is_some_and(|gone| at < gone) {
            return;
        }
        let sample = Sample::of(letter, self.payload, replayed);
        let size = sample.size();
        (kept.bytes, self.bytes) = (kept.bytes + size, self.bytes + size);
        kept.samples.insert(at, sample);
        if kept.samples.len() > self.wanted {
            self.bytes -= kept.give_up_oldest();
        }
        while self.bytes > self.budget {
            // The reason that holds the most gives, so that none has to go without because of another.
            let Some(largest) = self.reasons.values_mut().max_by_key(|kept| kept.bytes) else { break };
            self.bytes -= largest.give_up_oldest();
        }
    }

    pub(super) fn finish(self) -> BTreeMap<String, Samples> {
        let wanted = self.wanted as u64;
        let samples = |Kept { samples, letters, .. }: Kept| {
            let left_out = letters.min(wanted).saturating_sub(samples.len() as u64);
            Samples { newest: samples.into_values().collect(), letters, left_out }
        };
        self.reasons.into_iter().map(|(reason, kept)| (reason, samples(kept))).collect()
    }
}

impl Kept {
    /// The bytes that are free now.
    fn give_up_oldest(&mut self) -> usize {
        let Some((at, sample)) = self.samples.pop_first() else { return 0 };
        self.gone = Some(at);
        let size = sample.size();
        self.bytes -= size;
        size
    }
}

impl Sample {
    fn of(mut letter: Letter, payload: bool, replayed: bool) -> Self {
        let original = &mut letter.original;
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(Vec::len);
        let (key_bytes, value_bytes) = (length(&original.key), length(&original.value));
        let mut more_headers = 0;
        if !payload {
            (original.key, original.value) = (None, None);
            original.headers.iter_mut().for_each(|header| header.value = None);
            let mut bytes = 0;
            let fits = original.headers.iter().take(MAX_NAMES).take_while(|header| {
                bytes += header.name.len();
                bytes <= MAX_NAMES_BYTES
            });
            let shown = fits.count();
            more_headers = original.headers.len() - shown;
            original.headers.truncate(shown);
            original.headers.shrink_to_fit();
        }
        Self { letter, key_bytes, value_bytes, more_headers, replayed }
    }

    /// Bytes that it holds.
    fn size(&self) -> usize {
        let letter = &self.letter;
        let story = letter.message.len() + letter.version.len() + letter.reason.len() + letter.stage.len();
        size_of::<Self>() + letter.original.size() + letter.original.topic.len() + story
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Header, Record, Timestamp};

    fn letter(reason: &str, offset: i64, value: usize) -> Letter {
        Letter {
            partition: 0,
            offset: Offset::new(offset),
            written: Timestamp(Some(1000 + offset)),
            reason: reason.into(),
            stage: "decode".into(),
            message: String::new(),
            version: "1".into(),
            cut: false,
            original: Record {
                topic: "a".into(),
                partition: 0,
                offset: Offset::new(7),
                key: Some(b"key".to_vec()),
                value: Some(vec![b'S'; value]),
                headers: vec![Header::new("name", "SECRET")],
                timestamp: Timestamp(Some(1)),
            },
        }
    }

    fn collected(
        (wanted, payload, budget): (usize, bool, usize),
        letters: impl IntoIterator<Item = Letter>,
    ) -> BTreeMap<String, Samples> {
        let mut collection = Collection { budget, ..Collection::new(wanted, payload) };
        for letter in letters {
            collection.see(letter, false);
            let held = collection.reasons.values().flat_map(|kept| kept.samples.values());
            let held: usize = held.map(Sample::size).sum();
            assert_eq!(collection.bytes, held);
            assert!(held <= budget, "{held}");
        }
        collection.finish()
    }

    fn offsets(samples: &Samples) -> Vec<i64> {
        samples.newest.iter().map(|s| s.letter.offset.raw()).collect()
    }

    #[test]
    fn the_newest_are_the_samples_whatever_order_they_come_in() {
        let shuffled = || [5, 1, 9, 2, 8, 3, 7].map(|i| letter("text_empty", i, 6));
        let all = collected((3, false, BUDGET), shuffled());
        let samples = &all["text_empty"];
        assert_eq!((offsets(samples), samples.letters, samples.left_out), (vec![7, 8, 9], 7, 0));
        let sample = &samples.newest[0];
        assert_eq!((sample.key_bytes, sample.value_bytes, sample.more_headers), (Some(3), Some(6), 0));
        let original = &sample.letter.original;
        assert_eq!((&original.key, &original.value), (&None, &None), "not asked for");
        assert_eq!(original.headers, [Header { name: b"name".to_vec(), value: None }]);
        let all = collected((1, true, BUDGET), shuffled());
        assert_eq!(all["text_empty"].newest[0].letter.original.value, Some(b"SSSSSS".to_vec()));
        assert!(collected((0, true, BUDGET), shuffled()).is_empty());
    }

    #[test]
    fn so_much_memory_and_no_more_and_the_largest_reason_gives() {
        let small = (0..10).map(|i| letter("text_empty", i, 10));
        let large = (0..20).map(|i| letter("text_too_long", i, 10_000));
        // One that is older than what had to be given up comes late: it would leave a hole.
        let late = [letter("text_too_long", -1, 10)];
        let all = collected((10, true, 60_000), small.chain(large).chain(late));
        let (small, large) = (&all["text_empty"], &all["text_too_long"]);
        assert_eq!((offsets(small), small.left_out), ((0..10).collect(), 0));
        assert_eq!((offsets(large), large.letters, large.left_out), ((15..20).collect(), 21, 5));
        // One that is larger than all memory is left out like any other.
        let alone = &collected((10, true, 60_000), [letter("text_empty", 1, 60_000)])["text_empty"];
        assert_eq!((offsets(alone), alone.letters, alone.left_out), (vec![], 1, 1));
        let hostile = (0..5000).map(|i| letter(&format!("r{i}"), i, 10));
        assert_eq!(collected((1, true, BUDGET), hostile).len(), MAX_ROWS);
    }

    #[test]
    fn any_number_of_headers_is_a_short_list_unless_they_were_asked_for() {
        let with = |headers: Vec<Header>| {
            let mut letter = letter("text_empty", 1, 1);
            letter.original.headers = headers;
            letter
        };
        let shown = |payload, headers: &[Header]| {
            let sample = Sample::of(with(headers.to_vec()), payload, false);
            (sample.letter.original.headers.len(), sample.more_headers)
        };
        let many = vec![Header::new("n", "v"); 100_000];
        assert_eq!(shown(false, &many), (MAX_NAMES, 100_000 - MAX_NAMES));
        assert_eq!(shown(true, &many), (100_000, 0));
        let long = [Header::new("n", "v"), Header::new("n".repeat(5000), "v"), Header::new("n", "v")];
        assert_eq!(shown(false, &long), (1, 2));
        assert_eq!(shown(false, &long[..1]), (1, 0));
    }
}
