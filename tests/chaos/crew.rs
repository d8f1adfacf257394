//! Workers that come and go under names that stay: the first, the second, … Each is known to the
//! proxy by its name (`client.id`), and to the brokers by a transactional id that is its own.

use std::collections::BTreeMap;

use crate::scenario::Promise;
use crate::support::scene::Scene;
use crate::support::worker::{Pipeline, Worker};

pub struct Crew {
    group: String,
    pipeline: Pipeline,
    promise: Promise,
    /// Do they keep their place in the group over a restart?
    is_static: bool,
    workers: BTreeMap<usize, Worker>,
}

impl Crew {
    /// Of nobody yet. They reach the brokers through the proxy only.
    pub fn new(scene: &Scene, proxy: &str, promise: Promise) -> Self {
        let (delivery, interval) = match promise {
            Promise::AtLeastOnce => ("at-least-once", "1s"),
            Promise::ExactlyOnce => ("exactly-once", "200ms"),
        };
        let pipeline = scene.pipeline.clone().set("delivery", delivery);
        let pipeline = pipeline.set("kafka.bootstrap_servers", proxy).set("kafka.commit_interval", interval);
        let group = scene.name.clone();
        Self { group, pipeline, promise, is_static: false, workers: BTreeMap::new() }
    }

    /// They keep their place in the group when they come back before the session time-out.
    pub fn keep_places(&mut self) {
        self.is_static = true;
    }

    /// Changes the pipeline of those who start from now on.
    pub fn set(&mut self, path: &str, value: impl Into<serde_json::Value>) {
        self.pipeline = self.pipeline.clone().set(path, value);
    }

    /// The `client.id` of a member.
    pub fn name(&self, member: usize) -> String {
        format!("{}-{member}", self.group)
    }

    fn pipeline(&self, member: usize) -> Pipeline {
        let name = self.name(member);
        let mut pipeline = self.pipeline.clone().set("kafka.client_id", name.as_str());
        if self.promise == Promise::ExactlyOnce {
            pipeline = pipeline.set("kafka.transactional_id", name.as_str());
        }
        if self.is_static {
            pipeline = pipeline.set("kafka.group_instance_id", name);
        }
        pipeline
    }

    /// Starts a member that is not there.
    #[track_caller]
    pub fn start(&mut self, member: usize) {
        let worker = self.pipeline(member).start();
        assert!(self.workers.insert(member, worker).is_none(), "{member} runs already");
    }

    /// Starts a member under the transactional id of another.
    #[track_caller]
    pub fn start_as(&mut self, member: usize, other: &str) {
        let worker = self.pipeline(member).set("kafka.transactional_id", other).start();
        assert!(self.workers.insert(member, worker).is_none(), "{member} runs already");
    }

    /// Starts a member in the place that another has in the group.
    #[track_caller]
    pub fn start_in_place(&mut self, member: usize, other: &str) {
        let worker = self.pipeline(member).set("kafka.group_instance_id", other).start();
        assert!(self.workers.insert(member, worker).is_none(), "{member} runs already");
    }

    #[track_caller]
    pub fn start_ready(&mut self, member: usize) {
        self.start(member);
        self.get_mut(member).wait_ready();
    }

    #[track_caller]
    pub fn start_all(&mut self, members: impl IntoIterator<Item = usize>) {
        let members: Vec<usize> = members.into_iter().collect();
        members.iter().for_each(|member| self.start(*member));
        members.iter().for_each(|member| self.get_mut(*member).wait_ready());
    }

    pub fn get(&self, member: usize) -> &Worker {
        &self.workers[&member]
    }

    pub fn get_mut(&mut self, member: usize) -> &mut Worker {
        self.workers.get_mut(&member).unwrap()
    }

    pub fn members(&self) -> Vec<usize> {
        self.workers.keys().copied().collect()
    }

    /// `kill -9`, and gone.
    pub fn kill(&mut self, member: usize) {
        self.take(member).kill();
    }

    /// Out of the crew, to be looked at.
    pub fn take(&mut self, member: usize) -> Worker {
        self.workers.remove(&member).unwrap()
    }

    /// SIGTERM: all must end with exit code 0.
    #[track_caller]
    pub fn terminate(&mut self, members: impl IntoIterator<Item = usize>) {
        let leaving: Vec<Worker> = members.into_iter().map(|member| self.take(member)).collect();
        leaving.iter().for_each(|worker| worker.signal(libc::SIGTERM));
        for mut worker in leaving {
            assert_eq!(worker.wait().code(), Some(0), "SIGTERM must end in exit code 0");
        }
    }

    /// Nobody has ended by itself.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        for (member, worker) in &mut self.workers {
            if let Some(status) = worker.ended() {
                panic!("member {member} ended by itself ({status}); its log:\n{}", worker.log());
            }
        }
    }
}
