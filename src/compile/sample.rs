//! Real texts as graphs are run on them, to compare graphs and to find scales: alone, in pairs, and as long as the
//! model reads.

use tokenizers::Encoding;

use super::config::{Head, SqueezeBertConfig};
use super::error::BuildError;
use crate::text::{self, TextTokenizer, Tokens};

/// Sequences of real texts.
#[derive(Debug)]
pub(super) struct Sample {
    /// As the package's tokenizer reads them.
    pub sequences: Vec<Tokens>,
    /// How many of them are pairs of texts. They stand at the end.
    pub pairs: usize,
}

/// Which sequences a sample has beside each of its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// None: a long text that nobody has says nothing of those to come.
    AsTheyAre,
    /// One as long as the model reads, of all texts, over and over: else nobody would look at the last positions.
    AndTheLongest,
}

impl Sample {
    /// At most so many of the texts, taken from all over the list. Those of which the tokenizer keeps nothing are
    /// left out.
    ///
    /// Where the model tells a pair's texts apart, every two neighbours are a pair too: else nobody would look at
    /// the second segment, and scales would come of sequences that no pipeline with pairs has.
    pub fn of(
        texts: &[String],
        most: usize,
        length: Length,
        tokenizer: &TextTokenizer,
        config: &SqueezeBertConfig,
    ) -> Result<Self, BuildError> {
        let step = texts.len().div_ceil(most).max(1);
        let of_text = |text: &String| tokenizer.encode(text, false).ok();
        let texts: Vec<Encoding> = texts.iter().step_by(step).filter_map(of_text).collect();
        if texts.is_empty() {
            return Err(BuildError::NoTexts);
        }
        let read = |first: &Encoding, second: Option<&Encoding>| {
            let plan = text::Plan::Text;
            let read = tokenizer.sequences(first.clone(), second, &plan, false).ok()?;
            read.tokens.into_iter().next()
        };
        let longest = match length {
            Length::AsTheyAre => None,
            Length::AndTheLongest => Some(over_and_over(&texts, tokenizer.max_length())),
        };
        let mut sequences: Vec<Tokens> =
            longest.iter().chain(&texts).filter_map(|text| read(text, None)).collect();
        let alone = sequences.len();
        // No task reads pairs token by token.
        if config.types > 1 && config.head != Head::TokenClassification {
            // A tokenizer may know more segments than the model.
            let known = |of: &u32| usize::try_from(*of).is_ok_and(|of| of < config.types);
            let neighbours = texts.as_chunks::<2>().0.iter().map(|[first, second]| (first, second));
            let pairs = longest.iter().map(|text| (text, text)).chain(neighbours);
            let pair = |(first, second)| read(first, Some(second));
            sequences.extend(pairs.filter_map(pair).filter(|pair| pair.types.iter().all(known)));
        }
        Ok(Self { pairs: sequences.len() - alone, sequences })
    }

    /// Those that are no pairs.
    pub fn texts(&self) -> usize {
        self.sequences.len() - self.pairs
    }
}

/// The texts one after the other until there are so many tokens.
fn over_and_over(texts: &[Encoding], tokens: usize) -> Encoding {
    let mut long = Encoding::default();
    for text in texts.iter().cycle() {
        if long.len() >= tokens {
            break;
        }
        long.merge_with(text.clone(), false);
    }
    long
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::compile::Checkpoint;
    use crate::config::settings::LongText;

    fn config(types: usize, head: Head) -> SqueezeBertConfig {
        let checkpoint = Checkpoint::open(Path::new("tests/checkpoints/tiny-squeezebert")).unwrap();
        SqueezeBertConfig { types, head, ..checkpoint.config }
    }

    fn sample(texts: &[&str], most: usize, length: Length, config: &SqueezeBertConfig) -> Sample {
        let json = std::fs::read("tests/packages/tiny-squeezebert/tokenizer.json").unwrap();
        let tokenizer = TextTokenizer::from_json(&json, 60, LongText::Truncate).unwrap();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Sample::of(&texts, most, length, &tokenizer, config).unwrap()
    }

    fn lengths(sample: &Sample) -> Vec<usize> {
        sample.sequences.iter().map(|tokens| tokens.ids.len()).collect()
    }

    #[test]
    fn a_few_short_texts_are_as_long_as_the_model_reads() {
        let one = config(1, Head::SequenceClassification);
        let short = sample(&["good", "\u{200b}", "a bad film"], 99, Length::AndTheLongest, &one);
        assert_eq!(lengths(&short), [60, 3, 5]);
        assert_eq!((short.texts(), short.pairs), (3, 0));
        assert_eq!(lengths(&sample(&["good"], 99, Length::AsTheyAre, &one)), [3]);
    }

    #[test]
    fn neighbours_are_pairs_where_the_model_tells_them_apart() {
        let texts = ["good", "a film", "bad", "not good", "film"];
        let two = config(2, Head::SequenceClassification);
        let pairs = sample(&texts, 99, Length::AndTheLongest, &two);
        assert_eq!((pairs.texts(), pairs.pairs), (6, 3));
        assert_eq!(lengths(&pairs)[6..], [60, 6, 6]);
        let second = |tokens: &Tokens| tokens.types.iter().filter(|of| **of == 1).count();
        let seconds: Vec<usize> = pairs.sequences.iter().map(second).collect();
        assert_eq!(seconds, [0, 0, 0, 0, 0, 0, 30, 3, 3], "with the special token at the end");
        assert_eq!(sample(&texts, 99, Length::AsTheyAre, &two).pairs, 2);
        for config in [config(1, Head::SequenceClassification), config(2, Head::TokenClassification)] {
            assert_eq!(sample(&texts, 99, Length::AndTheLongest, &config).pairs, 0);
        }
    }

    #[test]
    fn of_many_texts_some_are_taken_from_all_over() {
        let texts: Vec<&str> = (0..100).map(|i| if i < 90 { "good" } else { "a bad film" }).collect();
        let some = sample(&texts, 10, Length::AsTheyAre, &config(1, Head::None));
        assert_eq!(lengths(&some), [3, 3, 3, 3, 3, 3, 3, 3, 3, 5]);
    }
}
