//! The last five minutes, one scrape every two seconds, and what the page is told of them. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::figures::{Buckets, Counts, Gauges, Label, PROCESSING, Partition, Quantile, Scrape, TIMES};
use crate::telemetry::Station;

/// Between two scrapes.
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// How far back the page sees.
const WINDOW: Duration = Duration::from_secs(300);
const SCRAPES: usize = 151;
const MINUTE: Duration = Duration::from_secs(60);
/// A percentile of two seconds jumps about.
const SMOOTH: Duration = Duration::from_secs(10);
/// Rows of the table of partitions.
const PARTITIONS: usize = 50;
/// Labels of a result that have a name of their own; the rest is told together.
const LABELS: usize = 8;

/// The scrapes, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    kept: VecDeque<Kept>,
    /// By the place of their counts.
    labels: Vec<Label>,
    /// Of the last scrape.
    partitions: Vec<Partition>,
    gauges: Gauges,
    depths: [u64; Station::ALL.len()],
    /// Before the first scrape.
    nothing: Counts,
}

/// What is kept of a scrape.
#[derive(Debug)]
struct Kept {
    when: Instant,
    /// Milliseconds since the Unix epoch.
    at: u64,
    counts: Counts,
    labels: Vec<u64>,
    times: [Buckets; TIMES.len()],
}

/// A moment in the charts: what happened since the scrape before, a second.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Point {
    at: u64,
    read: f64,
    delivered: f64,
    dead: f64,
    /// Of processing, over ten seconds.
    p50: Option<Quantile>,
    p99: Option<Quantile>,
    /// By result; there are none before there is a label.
    labels: Vec<LabelsOf>,
}

/// The labels of one result.
#[derive(Debug, PartialEq, Serialize)]
struct LabelsOf {
    /// `None`: of the only one.
    of: Option<String>,
    /// Records by label; of the labels that have few, together as `None`.
    counts: Vec<(Option<String>, u64)>,
}

/// Of the labels of one result: the places of those that are named, and of the rest.
struct Named<'a> {
    of: Option<&'a str>,
    named: Vec<usize>,
    rest: Vec<usize>,
}

/// What there is to say now.
#[derive(Debug, Serialize)]
pub(super) struct Figures<'a> {
    point: Option<Point>,
    rates: Rates,
    totals: Totals<'a>,
    depths: BTreeMap<&'static str, u64>,
    gauges: &'a Gauges,
    times: Vec<Times>,
    lag: Lag<'a>,
}

/// A second, since the scrape before.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Rates {
    read: f64,
    bytes: f64,
    tokenized: f64,
    inferred: f64,
    batches: f64,
    reused: f64,
    tokens: f64,
    enriched: f64,
    passed: f64,
    dead: f64,
    /// Passed or dead without having seen the model.
    aside: f64,
    commits: f64,
}

/// Since the start, and of dead letters in the window.
#[derive(Debug, Serialize)]
struct Totals<'a> {
    read: u64,
    enriched: u64,
    passed: u64,
    dead: u64,
    /// By reason: since the start, and in the last five minutes.
    reasons: Vec<(&'a str, u64, u64)>,
    rebalances: u64,
    aborts: u64,
}

/// Of one stage.
#[derive(Debug, Serialize)]
struct Times {
    name: &'static str,
    one_minute: Percentiles,
    five_minutes: Percentiles,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    count: u64,
    p50: Option<Quantile>,
    p95: Option<Quantile>,
    p99: Option<Quantile>,
}

/// The partitions that are behind, worst first.
#[derive(Debug, Serialize)]
struct Lag<'a> {
    /// Of all.
    records: f64,
    seconds: f64,
    /// Those that are not in the table.
    hidden: usize,
    partitions: Vec<&'a Partition>,
}

impl History {
    /// One more scrape; the oldest one goes.
    pub(super) fn push(&mut self, when: Instant, at: u64, scrape: Scrape) {
        let Scrape { counts, labels, times, depths, partitions, gauges } = scrape;
        let labels = self.by_place(labels);
        while self.kept.len() >= SCRAPES
            || self.kept.front().is_some_and(|first| when.duration_since(first.when) > WINDOW + EVERY)
        {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { when, at, counts, labels, times });
        (self.depths, self.partitions, self.gauges) = (depths, partitions, gauges);
    }

    /// The charts, as far back as they are known.
    pub(super) fn points(&self) -> Vec<Point> {
        let named = self.named();
        (1..self.kept.len()).filter_map(|at| self.point(at, &named)).collect()
    }

    /// What there is to say now.
    pub(super) fn figures(&self) -> Figures<'_> {
        let point = self.kept.len().checked_sub(1).and_then(|last| self.point(last, &self.named()));
        let now = self.kept.back().map_or(&self.nothing, |last| &last.counts);
        let then = self.before(WINDOW).map_or(&self.nothing, |kept| &kept.counts);
        let reasons = now.dead.iter().map(|(reason, count)| {
            let before = then.dead.get(reason).copied().unwrap_or(0);
            (reason.as_str(), *count, count.saturating_sub(before))
        });
        Figures {
            point,
            rates: self.rates(),
            totals: Totals {
                read: now.read,
                enriched: now.enriched,
                passed: now.passed,
                dead: now.dead.values().sum(),
                reasons: reasons.collect(),
                rebalances: now.rebalances,
                aborts: now.aborts,
            },
            depths: Station::ALL.iter().map(|s| s.as_str()).zip(self.depths).collect(),
            gauges: &self.gauges,
            times: (0..TIMES.len()).filter_map(|at| self.times(at)).collect(),
            lag: self.lag(),
        }
    }

    /// Counts in the order of labels, which only ever gets longer.
    fn by_place(&mut self, labels: Vec<(Label, u64)>) -> Vec<u64> {
        let mut counts = vec![0; self.labels.len()];
        for (label, count) in labels {
            match self.labels.iter().position(|known| *known == label) {
                Some(place) => counts[place] = count,
                None => {
                    self.labels.push(label);
                    counts.push(count);
                }
            }
        }
        counts
    }

    /// By result, the labels that have most records of the window.
    fn named(&self) -> Vec<Named<'_>> {
        let (Some(first), Some(last)) = (self.kept.front(), self.kept.back()) else { return Vec::new() };
        let since = |place: usize| count(last, place).saturating_sub(count(first, place));
        let mut results: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for (place, label) in self.labels.iter().enumerate() {
            results.entry(label.of.as_deref()).or_default().push(place);
        }
        let named = |(of, mut named): (_, Vec<usize>)| {
            named.sort_by_key(|place| std::cmp::Reverse(since(*place)));
            let rest = named.split_off(named.len().min(LABELS));
            named.sort_unstable();
            Named { of, named, rest }
        };
        results.into_iter().map(named).collect()
    }

    fn point(&self, at: usize, results: &[Named<'_>]) -> Option<Point> {
        let (now, before) = (self.kept.get(at)?, self.kept.get(at.checked_sub(1)?)?);
        let (seconds, c, b) = (seconds(before, now), &now.counts, &before.counts);
        let a_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let done = |c: &Counts| c.enriched + c.passed + c.dead.values().sum::<u64>();
        let since = |place: usize| count(now, place).saturating_sub(count(before, place));
        let labels = results.iter().map(|Named { of, named, rest }| {
            let told = |place: &usize| Some((Some(self.labels.get(*place)?.name.clone()), since(*place)));
            let mut counts: Vec<_> = named.iter().filter_map(told).collect();
            if !rest.is_empty() {
                counts.push((None, rest.iter().copied().map(since).sum()));
            }
            LabelsOf { of: of.map(str::to_owned), counts }
        });
        let labels = labels.collect();
        let smooth = self.kept.iter().take(at).find(|k| now.when.duration_since(k.when) <= SMOOTH);
        let times = now.times[PROCESSING].since(&smooth.unwrap_or(before).times[PROCESSING]);
        Some(Point {
            at: now.at,
            read: a_second(c.read, b.read),
            delivered: a_second(done(c), done(b)),
            dead: a_second(c.dead.values().sum(), b.dead.values().sum()),
            p50: times.quantile(0.5),
            p99: times.quantile(0.99),
            labels,
        })
    }

    fn rates(&self) -> Rates {
        let last_two = self.kept.back().zip(self.kept.iter().rev().nth(1));
        let Some((now, before)) = last_two else { return Rates::default() };
        let (seconds, c, b) = (seconds(before, now), &now.counts, &before.counts);
        let rate = |of: fn(&Counts) -> u64| of(c).saturating_sub(of(b)) as f64 / seconds;
        Rates {
            read: rate(|c| c.read),
            bytes: rate(|c| c.bytes),
            tokenized: rate(|c| c.tokenized),
            inferred: rate(|c| c.inferred),
            batches: rate(|c| c.batches),
            reused: rate(|c| c.reused),
            tokens: rate(|c| c.tokens),
            enriched: rate(|c| c.enriched),
            passed: rate(|c| c.passed),
            dead: rate(|c| c.dead.values().sum()),
            aside: rate(Counts::aside),
            commits: rate(|c| c.commits),
        }
    }

    fn times(&self, at: usize) -> Option<Times> {
        let (name, ..) = TIMES.get(at)?;
        let now = self.kept.back()?.times.get(at)?;
        let over = |window| {
            let earlier = self.before(window).and_then(|kept| kept.times.get(at));
            let times = earlier.map_or_else(|| now.clone(), |earlier| now.since(earlier));
            Percentiles {
                count: times.count(),
                p50: times.quantile(0.5),
                p95: times.quantile(0.95),
                p99: times.quantile(0.99),
            }
        };
        Some(Times { name, one_minute: over(MINUTE), five_minutes: over(WINDOW) })
    }

    /// The scrape that a window begins with; `None`: it reaches back to the start.
    fn before(&self, window: Duration) -> Option<&Kept> {
        let last = self.kept.back()?;
        // Half a step more: ticks are not to the nanosecond.
        let mut inside =
            self.kept.iter().skip_while(|k| last.when.duration_since(k.when) > window + EVERY / 2);
        inside.next().filter(|kept| kept.when < last.when)
    }

    fn lag(&self) -> Lag<'_> {
        let behind = |p: &Partition| (p.records.unwrap_or(0.0), p.seconds.unwrap_or(0.0));
        let mut partitions: Vec<&Partition> = self.partitions.iter().collect();
        // Stable: equal ones stay in their order.
        partitions.sort_by(|a, b| {
            let ((a, a_time), (b, b_time)) = (behind(a), behind(b));
            b.total_cmp(&a).then(b_time.total_cmp(&a_time))
        });
        partitions.truncate(PARTITIONS);
        Lag {
            records: self.partitions.iter().map(|p| behind(p).0).sum(),
            seconds: self.partitions.iter().map(|p| behind(p).1).fold(0.0, f64::max),
            hidden: self.partitions.len() - partitions.len(),
            partitions,
        }
    }
}

fn count(kept: &Kept, place: usize) -> u64 {
    kept.labels.get(place).copied().unwrap_or(0)
}

fn seconds(before: &Kept, now: &Kept) -> f64 {
    now.when.duration_since(before.when).as_secs_f64().max(0.001)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    fn scrape(read: u64, labels: &[(&str, u64)]) -> Scrape {
        let label = |(name, count): &(&str, u64)| (Label { of: None, name: (*name).to_owned() }, *count);
        let labels = labels.iter().map(label).collect();
        let counts = Counts { read, enriched: read / 2, ..Counts::default() };
        Scrape { counts, labels, ..Scrape::default() }
    }

    /// A scrape every two seconds, from the first.
    fn history(scrapes: impl IntoIterator<Item = Scrape>) -> History {
        let (mut history, start) = (History::default(), Instant::now());
        for (tick, scrape) in scrapes.into_iter().enumerate() {
            history.push(start + EVERY * tick as u32, 2_000 * tick as u64, scrape);
        }
        history
    }

    fn told(history: &History) -> Value {
        serde_json::to_value(history.figures()).unwrap()
    }

    #[test]
    fn nothing_is_known_before_the_first_scrape_and_no_rate_before_the_second() {
        let json = told(&History::default());
        assert_eq!((&json["point"], &json["rates"]["read"]), (&Value::Null, &0.0.into()));
        let json = told(&history([scrape(100, &[])]));
        assert_eq!((&json["point"], &json["totals"]["read"]), (&Value::Null, &100.into()));
        let json = told(&history([scrape(100, &[]), scrape(150, &[])]));
        assert_eq!((&json["point"]["read"], &json["rates"]["read"]), (&25.0.into(), &25.0.into()));
        assert_eq!(json["point"]["delivered"], 12.5);
    }

    #[test]
    fn five_minutes_are_kept_and_no_more() {
        let history = history((0..400).map(|n| scrape(n * 10, &[])));
        assert_eq!(history.kept.len(), SCRAPES);
        let points = history.points();
        assert_eq!(points.len(), SCRAPES - 1);
        assert!(points.iter().all(|point| point.read == 5.0));
        assert_eq!(points.last().unwrap().at, 2_000 * 399);
    }

    #[test]
    fn labels_that_come_later_and_many_of_them() {
        let labels: Vec<String> = (0..20).map(|n| format!("l{n:02}")).collect();
        let many: Vec<(&str, u64)> = labels.iter().map(String::as_str).zip(1..).collect();
        let history = history([scrape(0, &[]), scrape(0, &[("l05", 2)]), scrape(0, &many)]);
        let points = history.points();
        let first = &points.first().unwrap().labels[0].counts;
        assert_eq!(first.iter().map(|(_, count)| count).sum::<u64>(), 2);
        let last = &points.last().unwrap().labels[0].counts;
        assert_eq!(last.len(), LABELS + 1);
        assert_eq!(last.iter().map(|(_, count)| count).sum::<u64>(), (1..=20).sum::<u64>() - 2);
        assert!(last.contains(&(Some("l19".to_owned()), 20)), "{last:?}");
        assert_eq!(last.last().unwrap().0, None);
    }

    #[test]
    fn each_result_has_labels_of_its_own() {
        let of = |of: &str, name: &str| Label { of: Some(of.to_owned()), name: name.to_owned() };
        let many = (0..20).map(|n| (of("topic", &n.to_string()), 100));
        let both = [(of("mood", "positive"), 30), (of("tone", "positive"), 4), (of("tone", "negative"), 1)];
        let last = Scrape { labels: both.into_iter().chain(many).collect(), ..Scrape::default() };
        let history = history([Scrape::default(), last]);
        let json = told(&history);
        let labels = json["point"]["labels"].as_array().unwrap();
        let json = |of: &str| &labels.iter().find(|one| one["of"] == of).unwrap()["counts"];
        assert_eq!(*json("mood"), serde_json::json!([["positive", 30]]));
        assert_eq!(*json("tone"), serde_json::json!([["positive", 4], ["negative", 1]]));
        assert_eq!(json("topic").as_array().unwrap().len(), LABELS + 1);
        assert_eq!(labels.len(), 3);
    }

    #[test]
    fn dead_letters_of_the_window_by_reason() {
        let dead = |count| {
            let dead = BTreeMap::from([("invalid_json".to_owned(), count)]);
            Scrape { counts: Counts { dead, ..Counts::default() }, ..Scrape::default() }
        };
        let json = told(&history((0..300).map(dead)));
        assert_eq!(json["totals"]["reasons"], serde_json::json!([["invalid_json", 299, 150]]));
        assert_eq!((&json["totals"]["dead"], &json["rates"]["dead"]), (&299.into(), &0.5.into()));
        let json = told(&history([dead(7)]));
        assert_eq!(json["totals"]["reasons"], serde_json::json!([["invalid_json", 7, 7]]));
    }

    #[test]
    fn the_worst_partitions_are_told_and_how_many_are_not() {
        let partitions = (0..120).map(|n| Partition {
            topic: "t".to_owned(),
            partition: n.to_string(),
            records: Some(f64::from(n)).filter(|_| n != 119),
            seconds: Some(0.5),
            oldest: 0.0,
        });
        let scrape = Scrape { partitions: partitions.collect(), ..Scrape::default() };
        let json = told(&history([scrape]));
        let lag = &json["lag"];
        assert_eq!((&lag["hidden"], &lag["records"]), (&70.into(), &f64::from((0..119).sum::<i32>()).into()));
        assert_eq!(lag["partitions"][0]["partition"], "118");
        assert_eq!(lag["partitions"].as_array().unwrap().len(), PARTITIONS);
    }

    #[test]
    fn a_window_has_what_happened_in_it() {
        let (metrics, registry) = crate::telemetry::Metrics::new(&crate::telemetry::Health::new()).unwrap();
        let scrapes = (0..200).map(|n| {
            let began =
                Instant::now().checked_sub(Duration::from_millis(if n < 100 { 40 } else { 3 })).unwrap();
            metrics.delivered(began, began, crate::record::Timestamp(None));
            Scrape::of(&registry.gather())
        });
        let json = told(&history(scrapes));
        let of = json["times"].as_array().unwrap().iter().find(|t| t["name"] == "processing").unwrap();
        assert_eq!((&of["one_minute"]["count"], &of["five_minutes"]["count"]), (&30.into(), &150.into()));
        assert!(of["one_minute"]["p99"].as_f64().unwrap() <= 0.02, "{of}");
        assert!(of["five_minutes"]["p99"].as_f64().unwrap() > 0.02, "{of}");
    }
}
