//! What every scenario has: three brokers, topics, a stream, a reader that reads along, and at the
//! end a judgement.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::crew::Crew;
use crate::report::Report;
use crate::support::check::{Verdict, check};
use crate::support::cluster::{Cluster, Three};
use crate::support::feeder::{AHEAD, Feeder};
use crate::support::observer::{Observer, Seen, read_all};
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until_some};

/// The longest that anything may take on two cores that also carry three brokers.
pub const LONG: Duration = Duration::from_secs(240);
const KEYS: usize = 300;

/// What the workers promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    AtLeastOnce,
    ExactlyOnce,
}

/// The three that scenarios share, or brokers of a scenario's own.
pub enum Brokers {
    Shared(Three),
    Own(Box<Cluster>),
}

impl From<Three> for Brokers {
    fn from(three: Three) -> Self {
        Self::Shared(three)
    }
}

impl From<Box<Cluster>> for Brokers {
    fn from(own: Box<Cluster>) -> Self {
        Self::Own(own)
    }
}

impl std::ops::Deref for Brokers {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        match self {
            Self::Shared(three) => three,
            Self::Own(own) => own,
        }
    }
}

/// A scenario that runs.
pub struct Scenario {
    pub report: Report,
    promise: Promise,
    feeder: Option<Feeder>,
    fed: usize,
    pub output: Observer,
    pub scene: Scene,
    /// The last to go.
    pub cluster: Brokers,
}

impl Scenario {
    /// With so many partitions of input and output each.
    pub fn new(name: &str, promise: Promise, topics: &str, partitions: i32) -> Self {
        let cluster = Cluster::three();
        drop(Scene::new(&cluster, topics, partitions, partitions));
        Self::in_topics(name, promise, cluster, topics)
    }

    /// In topics that are there already.
    pub fn in_topics(name: &str, promise: Promise, cluster: impl Into<Brokers>, topics: &str) -> Self {
        let cluster = cluster.into();
        let mut report = Report::new(name, promise);
        let scene = Scene::without_topics(&cluster, topics);
        let output = scene.observer();
        report.state(format!("{} partitions", scene.client.partitions(&scene.input())));
        Self { report, promise, cluster, scene, output, feeder: None, fed: 0 }
    }

    pub fn crew(&self) -> Crew {
        Crew::new(&self.scene, &self.cluster.proxy.bootstrap, self.promise)
    }

    /// So many records more go in, in the background and a little ahead of the output. Returns when
    /// a quarter of them has come out: the workers are at work, and in the middle of it.
    #[track_caller]
    pub fn flow(&mut self, more: usize) {
        self.feed(more);
        self.output.wait_distinct(self.fed - more + more / 4, LONG);
    }

    /// So many records more may go in.
    pub fn feed(&mut self, more: usize) {
        self.fed += more;
        let start = || self.scene.feeder(Stream::new(KEYS), &self.output);
        self.feeder.get_or_insert_with(start).allow(self.fed);
    }

    /// Lets records come until the answer is there: without records there are no transactions.
    #[track_caller]
    pub fn feed_until<T>(&mut self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        until_some(what, PATIENCE, || {
            // Never far ahead: what is allowed here must come out in the end.
            if self.fed < self.output.counter().load(Ordering::Relaxed) + AHEAD {
                self.feed(20);
            }
            ask()
        })
    }

    /// The stream has ended and the faults are over: everything comes out, everything is
    /// committed, and the workers end as they should. Then compares it all.
    #[track_caller]
    pub fn finish(mut self, mut crew: Crew) -> Verdict {
        crew.assert_alive();
        if let Some(feeder) = self.feeder.take() {
            self.output.wait_distinct(self.fed, LONG);
            drop(feeder);
        }
        let input = read_all(&self.scene.client, &[&self.scene.input()]);
        self.output.wait_distinct(input.len(), LONG);
        self.scene.wait_caught_up(&input, LONG);
        crew.terminate(crew.members());
        self.judge(&input)
    }

    /// Compares what came of this input. Nobody is at work any more.
    #[track_caller]
    pub fn judge(mut self, input: &[Seen]) -> Verdict {
        let (output, dead) = (self.scene.output(), self.scene.dead());
        let topics = [output.as_str(), dead.as_str()];
        self.scene.client.wait_settled(&topics);
        let last = read_all(&self.scene.client, &topics);
        let verdict = check(input, &last).with_reader(&self.output.seen(), &last);
        let exact = self.promise == Promise::AtLeastOnce || verdict.duplicates.is_empty();
        self.report.state(format!("{} records", input.len()));
        self.report.judge(&verdict, exact && verdict.is_at_least_once());
        match self.promise {
            Promise::AtLeastOnce => verdict.at_least_once(),
            Promise::ExactlyOnce => verdict.exactly_once(),
        };
        // What the brokers need not carry along through the next scenario.
        if let Brokers::Shared(_) = &self.cluster {
            for topic in [&self.scene.input(), &output, &dead] {
                self.scene.client.delete_topic(topic);
            }
        }
        verdict
    }
}
