//! `input`, `output` and `dead_letter`: what is read and what is written.

use super::count;
use crate::config::problem::Problem;
use crate::config::settings as to;
use crate::config::topics::{self, Subscription};
use crate::config::values::Check;
use crate::config::{defaults, path, raw, selector, units, words};

impl Check<'_> {
    pub(super) fn input(&mut self, raw: &raw::Input) -> to::Input {
        for (i, topic) in raw.topics.iter().enumerate() {
            if let Err(e) = Subscription::parse(topic) {
                let problem = Problem::error(format!("input.topics[{i}]"), e.to_string());
                self.found.push(match e {
                    topics::TopicError::Characters => {
                        problem.hint("a pattern begins with `^`, such as `^reviews[.].*$`")
                    }
                    topics::TopicError::NotPosix => {
                        problem.hint("write `[0-9]` for `\\d`, `[[:space:]]` for `\\s`, and no `(?…)`")
                    }
                    _ => problem,
                });
            }
        }
        let format = match (raw.format, raw.text.as_deref()) {
            (raw::Format::Text, None) => to::Format::Text,
            (raw::Format::Text, Some(_)) => {
                let problem = Problem::error(
                    "input.text",
                    "says where the text is in JSON, but `input.format` is `text`",
                );
                self.found
                    .push(problem.hint("remove it: the whole value is the text").also(&["input.format"]));
                to::Format::Text
            }
            (raw::Format::Json, text) => match selector::parse(text.unwrap_or("/text")) {
                Ok(selector) => to::Format::Json(selector),
                Err(e) => {
                    let problem = Problem::error("input.text", e.to_string());
                    self.found.push(problem.hint("such as `/text`, or `{/title}. {/body}`"));
                    to::Format::Text
                }
            },
        };
        let start = match raw.start.0.as_str() {
            "earliest" => Some(to::Start::Earliest),
            "latest" => Some(to::Start::Latest),
            time => units::timestamp(time).map(to::Start::Timestamp),
        };
        if start.is_none() {
            self.found.push(Problem::error("input.start", "is a day or an hour that does not exist"));
        }
        let unheard = |key: &str| {
            Problem::warning(path::key("input", key), "has no effect: `input.long_text` is not `windows`")
                .also(&["input.long_text"])
        };
        if raw.long_text != raw::LongText::Windows {
            let written = [
                ("stride", raw.stride.0 != 0),
                ("max_windows", raw.max_windows.0 != defaults::max_windows().0),
                ("combine", raw.combine != raw::Combine::default()),
            ];
            self.found.extend(written.iter().filter(|(_, written)| *written).map(|(key, _)| unheard(key)));
        }
        let pair = raw.pair.as_deref().and_then(|pair| match (raw.format, selector::pointer(pair)) {
            (raw::Format::Json, Ok(pointer)) => Some(pointer),
            (raw::Format::Text, _) => {
                let problem = Problem::error(
                    "input.pair",
                    "says where the second text is in JSON, but `input.format` is `text`",
                );
                self.found.push(problem.hint("remove it").also(&["input.format"]));
                None
            }
            (_, Err(e)) => {
                self.found.push(Problem::error("input.pair", e.to_string()).hint("such as `/answer`"));
                None
            }
        });
        if pair.is_some() && raw.long_text == raw::LongText::Windows {
            let problem =
                Problem::error("input.long_text", "`windows` are for one text, and `input.pair` makes two");
            self.found.push(problem.hint("write `truncate` or `dead-letter`").also(&["input.pair"]));
        }
        let max_text_bytes = self.size("input.max_text_bytes", &raw.max_text_bytes);
        to::Input {
            topics: raw.topics.clone(),
            format,
            pair,
            start: start.unwrap_or(to::Start::Earliest),
            on_gap: match raw.on_gap {
                raw::OnGap::Fail => to::OnGap::Fail,
                raw::OnGap::Earliest => to::OnGap::Earliest,
            },
            max_text_bytes,
            mask: raw.mask.iter().map(|kind| mask(*kind)).collect(),
            long_text: match raw.long_text {
                raw::LongText::Truncate => to::LongText::Truncate,
                raw::LongText::DeadLetter => to::LongText::DeadLetter,
                raw::LongText::Windows => to::LongText::Windows(to::Windows {
                    stride: raw.stride.0 as usize,
                    most: count(raw.max_windows),
                    combine: match raw.combine {
                        raw::Combine::Mean => to::Combine::Mean,
                        raw::Combine::Max => to::Combine::Max,
                        raw::Combine::First => to::Combine::First,
                    },
                }),
            },
            on_empty: without_text(raw.on_empty),
            on_missing_text: without_text(raw.on_missing_text),
            when: raw.when.as_ref().and_then(|when| self.when(when, raw.format)),
        }
    }

    pub(super) fn output(&mut self, raw: &raw::Output, format: raw::Format) -> to::Output {
        if let Some(topic) = &raw.topic {
            self.topic("output.topic", topic);
        }
        let mode = match (raw.mode, format) {
            (Some(raw::Mode::Splice), raw::Format::Text) => {
                let problem = Problem::error(
                    "output.mode",
                    "`splice` needs JSON to splice into, but `input.format` is `text`",
                );
                self.found.push(problem.hint("write `envelope` or `headers`").also(&["input.format"]));
                to::OutputMode::Splice
            }
            (Some(raw::Mode::Splice), _) | (None, raw::Format::Json) => to::OutputMode::Splice,
            (Some(raw::Mode::Envelope), _) | (None, raw::Format::Text) => to::OutputMode::Envelope,
            (Some(raw::Mode::Headers), _) => to::OutputMode::Headers,
        };
        if mode == to::OutputMode::Envelope && raw.field == "text" {
            let problem = Problem::error("output.field", "an envelope has a field `text` already");
            self.found.push(problem.hint("such as `nlp`").also(&["output.mode", "input.format"]));
        }
        for (label, topic) in &raw.route {
            self.topic(&path::key("output.route", label), topic);
        }
        to::Output {
            topic: raw.topic.clone(),
            mode,
            field: raw.field.clone(),
            on_existing: match raw.on_existing {
                raw::OnExisting::Replace => to::OnExisting::Replace,
                raw::OnExisting::Keep => to::OnExisting::Keep,
                raw::OnExisting::Error => to::OnExisting::Error,
            },
            scores: raw.scores,
            partition: match raw.partition {
                raw::Partition::Key => to::OutputPartition::Key,
                raw::Partition::Input => to::OutputPartition::Input,
            },
            source_headers: raw.source_headers,
            redact: raw.redact.iter().map(|kind| mask(*kind)).collect(),
            route_by: raw.route_by.clone(),
            uncertain: raw
                .below
                .map(|below| to::Uncertain { below: below.0 as f32, label: raw.uncertain_label.clone() }),
            route: raw.route.clone(),
        }
    }

    pub(super) fn dead_letter(&mut self, raw: &raw::DeadLetter) -> to::DeadLetterTopic {
        self.topic("dead_letter.topic", &raw.topic);
        let window = count(raw.window);
        let surge = raw.max_ratio.map(|ratio| to::SurgeLimit { max_ratio: ratio.0, window });
        to::DeadLetterTopic { topic: raw.topic.clone(), surge }
    }

    /// The schema has seen to each key by itself; here it is which of them are there.
    fn when(&mut self, raw: &raw::When, format: raw::Format) -> Option<to::When> {
        let refuse = |at: &str, what: &str, hint: &str| {
            Err(Box::new(Problem::error(path::key("input.when", at), what).hint(hint)))
        };
        let subject = match (&raw.field, &raw.header) {
            (Some(field), None) if format == raw::Format::Json => match selector::pointer(field) {
                Ok(field) => Ok(to::Subject::Field(field)),
                Err(e) => refuse("field", &e.to_string(), "such as `/lang`"),
            },
            (Some(_), None) => refuse(
                "field",
                "needs JSON to look into, but `input.format` is `text`",
                "a `header` it can be",
            )
            .map_err(|p| Box::new(p.also(&["input.format"]))),
            (None, Some(header)) => Ok(to::Subject::Header(header.clone())),
            (Some(_), Some(_)) => refuse("header", "stands beside `field`", "one of the two"),
            (None, None) => refuse("field", "is missing", "`field: /lang`, or `header: lang`"),
        };
        let named = raw.equals.iter().chain(&raw.not_equals);
        let listed = raw.one_of.iter().chain(&raw.not_in).flatten();
        if raw.header.is_some() && named.chain(listed).any(words::Scalar::is_fraction) {
            let what =
                "compares a header, which is text, with a number that has a fraction: 1.10 would be 1.1";
            self.found.push(Problem::error("input.when", what).hint("put the number in quotes"));
        }
        let values = |of: &[words::Scalar]| of.iter().map(words::Scalar::json).collect::<Vec<_>>();
        let one = |of: &words::Scalar| vec![of.json()];
        let mut tests = [
            raw.equals.as_ref().map(|v| to::Test::In(one(v))),
            raw.not_equals.as_ref().map(|v| to::Test::NotIn(one(v))),
            raw.one_of.as_deref().map(|v| to::Test::In(values(v))),
            raw.not_in.as_deref().map(|v| to::Test::NotIn(values(v))),
            raw.exists.map(to::Test::Exists),
        ]
        .into_iter()
        .flatten();
        let test = match (tests.next(), tests.next()) {
            (Some(test), None) => Ok(test),
            _ => Err(Box::new(
                Problem::error("input.when", "needs exactly one test")
                    .hint("`equals`, `not_equals`, `in`, `not_in` or `exists`"),
            )),
        };
        match (subject, test) {
            (Ok(subject), Ok(test)) => Some(to::When { subject, test }),
            (subject, test) => {
                self.found.extend(subject.err().into_iter().chain(test.err()).map(|problem| *problem));
                None
            }
        }
    }
}

fn mask(raw: raw::Mask) -> to::Mask {
    match raw {
        raw::Mask::Numbers => to::Mask::Numbers,
        raw::Mask::Hex => to::Mask::Hex,
        raw::Mask::Uuids => to::Mask::Uuids,
        raw::Mask::Ips => to::Mask::Ips,
        raw::Mask::Paths => to::Mask::Paths,
    }
}

fn without_text(raw: raw::WithoutText) -> to::WithoutText {
    match raw {
        raw::WithoutText::DeadLetter => to::WithoutText::DeadLetter,
        raw::WithoutText::PassThrough => to::WithoutText::PassThrough,
    }
}
