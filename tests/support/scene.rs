//! The topics, the group and the pipeline of one test.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::{Verdict, check};
use super::client::Client;
use super::cluster::Cluster;
use super::feeder::Feeder;
use super::observer::{Observer, Seen, read_all};
use super::records::Stream;
use super::wait::until;
use super::worker::Pipeline;

/// `NAME.in`, `NAME.out` and `NAME.dead` exist; the group is `NAME`.
pub struct Scene {
    pub name: String,
    pub client: Client,
    pub pipeline: Pipeline,
}

impl Scene {
    /// With so many partitions for input and output each.
    pub fn new(cluster: &Cluster, name: &str, input: i32, output: i32) -> Self {
        let scene = Self::without_topics(cluster, name);
        scene.client.create_topic(&scene.input(), input, &[]);
        scene.client.create_topic(&scene.output(), output, &[]);
        scene.client.create_topic(&scene.dead(), 1, &[]);
        scene
    }

    pub fn without_topics(cluster: &Cluster, name: &str) -> Self {
        let client = Client::new(&cluster.bootstrap);
        Self { name: name.to_owned(), client, pipeline: Pipeline::new(&cluster.bootstrap, name) }
    }

    pub fn input(&self) -> String {
        format!("{}.in", self.name)
    }

    pub fn output(&self) -> String {
        format!("{}.out", self.name)
    }

    pub fn dead(&self) -> String {
        format!("{}.dead", self.name)
    }

    /// Of outputs and dead letters.
    pub fn observer(&self) -> Observer {
        Observer::of(&self.client, &[&self.output(), &self.dead()])
    }

    /// Sends to the input in the background.
    pub fn feeder(&self, stream: Stream, output: &Observer) -> Feeder {
        Feeder::start(&self.client, &self.input(), stream, output)
    }

    /// Compares all that went in with all that came out.
    pub fn verdict(&self) -> Verdict {
        let input = read_all(&self.client, &[&self.input()]);
        check(&input, &read_all(&self.client, &[&self.output(), &self.dead()]))
    }

    /// What the group has committed is the end of every partition that has records.
    #[track_caller]
    pub fn assert_committed_to_the_end(&self) {
        let ends = self.client.ends(&self.input());
        let ends = ends.into_iter().filter(|(_, (low, high))| low < high).map(|(p, (_, high))| (p, high));
        assert_eq!(self.client.committed(&self.name, &self.input()), ends.collect());
    }
}

impl Scene {
    /// Waits until the group has committed every record of the input: no partition is behind, and
    /// none that is behind stands still for ever.
    #[track_caller]
    pub fn wait_caught_up(&self, input: &[Seen], patience: Duration) {
        // Where the last visible record ends; what follows it are marks of transactions.
        let mut ends = BTreeMap::new();
        for record in input {
            let end = ends.entry(record.partition).or_insert(0);
            *end = record.offset.max(*end - 1) + 1;
        }
        until("the group to have committed every record", patience, || {
            let committed = self.client.committed(&self.name, &self.input());
            ends.iter().all(|(partition, end)| committed.get(partition).is_some_and(|c| c >= end))
        });
    }
}

impl Drop for Scene {
    /// A failed test shows how far everything was.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                eprintln!("--- topics and group ---");
                eprintln!("input: {:?}", self.client.ends(&self.input()));
                eprintln!("committed: {:?}", self.client.committed(&self.name, &self.input()));
                eprintln!("output: {:?}", self.client.ends(&self.output()));
                eprintln!("members: {:?}", self.client.members(&self.name));
            }));
        }
    }
}
