//! The topics, the group and the pipeline of one test.

use super::check::{Verdict, check};
use super::client::Client;
use super::cluster::Cluster;
use super::feeder::Feeder;
use super::observer::{Observer, read_all};
use super::records::Stream;
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
