//! What the proxy does to which frames. A test sets a trap; the trap is gone when it is dropped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::link::Link;
use super::wire::{Api, Header};
use crate::support::wait::until_some;

/// A request on its way to the broker, or the answer on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Request,
    Answer,
}

/// What becomes of a frame.
pub(super) enum Fate {
    Pass,
    /// Late, and what comes behind it on the connection with it.
    Delay(Duration),
    /// It never arrives, and the connection stays.
    Swallow,
    /// It never arrives, and the connection is closed at both ends.
    Cut,
    /// The test decides, when it likes.
    Hold(Receiver<Fate>),
}

enum Action {
    Watch,
    Delay(Duration),
    Swallow,
    Cut,
    Hold(Sender<Caught>),
}

struct Which {
    api: Api,
    side: Side,
    client: Option<String>,
    broker: Option<i32>,
    after: usize,
    times: usize,
}

impl Which {
    fn fits(&self, header: &Header, side: Side, broker: i32) -> bool {
        header.api == self.api as i16
            && side == self.side
            && self.broker.is_none_or(|b| b == broker)
            && self.client.as_ref().is_none_or(|c| *c == header.client)
    }
}

struct Rule {
    which: Which,
    action: Action,
    met: AtomicUsize,
    hits: AtomicUsize,
}

/// All traps that are set.
#[derive(Clone, Default)]
pub(super) struct Rules(Arc<Mutex<Vec<Arc<Rule>>>>);

impl Rules {
    pub(super) fn on(&self, api: Api, side: Side) -> On<'_> {
        On {
            rules: self,
            which: Which { api, side, client: None, broker: None, after: 0, times: usize::MAX },
        }
    }

    /// The first trap that it steps into decides.
    pub(super) fn decide(&self, link: &Arc<Link>, header: &Header, side: Side) -> Fate {
        let rules = self.0.lock().unwrap();
        for rule in rules.iter().filter(|rule| rule.which.fits(header, side, link.broker)) {
            let met = rule.met.fetch_add(1, Ordering::Relaxed);
            if met < rule.which.after || met - rule.which.after >= rule.which.times {
                continue;
            }
            rule.hits.fetch_add(1, Ordering::Relaxed);
            match &rule.action {
                Action::Watch => continue,
                Action::Delay(time) => return Fate::Delay(*time),
                Action::Swallow => return Fate::Swallow,
                Action::Cut => return Fate::Cut,
                Action::Hold(to) => {
                    let (decide, decision) = channel();
                    // Nobody to decide any more: it passes.
                    let _ = to.send(Caught { header: header.clone(), link: link.clone(), decide });
                    return Fate::Hold(decision);
                }
            }
        }
        Fate::Pass
    }
}

/// A choice of frames; without further words, every one of its kind.
pub struct On<'a> {
    rules: &'a Rules,
    which: Which,
}

impl On<'_> {
    /// Only those of the client with this `client.id`.
    pub fn of(mut self, client: &str) -> Self {
        self.which.client = Some(client.to_owned());
        self
    }

    /// Only those to or from this broker.
    pub fn at(mut self, broker: i32) -> Self {
        self.which.broker = Some(broker);
        self
    }

    /// Not the first so many.
    pub fn after(mut self, count: usize) -> Self {
        self.which.after = count;
        self
    }

    /// Only so many.
    pub fn times(mut self, count: usize) -> Self {
        self.which.times = count;
        self
    }

    /// Only counts them.
    pub fn watch(self) -> Trap {
        self.set(Action::Watch)
    }

    /// Each comes so much later, and everything behind it on its connection.
    pub fn delay(self, time: Duration) -> Trap {
        self.set(Action::Delay(time))
    }

    /// They never arrive; the connection stays.
    pub fn swallow(self) -> Trap {
        self.set(Action::Swallow)
    }

    /// They never arrive, and their connection breaks.
    pub fn cut(self) -> Trap {
        self.set(Action::Cut)
    }

    /// Holds each until the test has decided what becomes of it.
    pub fn hold(self) -> Holding {
        let (to, caught) = channel();
        Holding { trap: self.set(Action::Hold(to)), caught }
    }

    fn set(self, action: Action) -> Trap {
        let (met, hits) = Default::default();
        let rule = Arc::new(Rule { which: self.which, action, met, hits });
        self.rules.0.lock().unwrap().push(rule.clone());
        Trap { rules: self.rules.clone(), rule }
    }
}

/// A trap that is set until this is dropped.
pub struct Trap {
    rules: Rules,
    rule: Arc<Rule>,
}

impl Trap {
    /// How many frames stepped into it.
    pub fn hits(&self) -> usize {
        self.rule.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.rules.0.lock().unwrap().retain(|rule| !Arc::ptr_eq(rule, &self.rule));
    }
}

/// A trap that holds what steps into it. Dropped, it lets go of everything.
pub struct Holding {
    trap: Trap,
    caught: Receiver<Caught>,
}

impl Holding {
    /// The next frame that is held, if there is one.
    pub fn take(&self) -> Option<Caught> {
        self.caught.try_recv().ok()
    }

    /// Waits for the next one.
    #[track_caller]
    pub fn wait(&self, patience: Duration) -> Caught {
        let which = &self.trap.rule.which;
        until_some(&format!("a frame of {:?} ({:?})", which.api, which.side), patience, || self.take())
    }

    pub fn hits(&self) -> usize {
        self.trap.hits()
    }
}

/// A frame that is held, and its connection's direction with it. Dropped, it goes its way.
pub struct Caught {
    pub header: Header,
    link: Arc<Link>,
    decide: Sender<Fate>,
}

impl Caught {
    /// Goes its way.
    pub fn pass(self) {
        let _ = self.decide.send(Fate::Pass);
    }

    /// Never arrives; the connection stays.
    pub fn swallow(self) {
        let _ = self.decide.send(Fate::Swallow);
    }

    /// Never arrives; its connection breaks.
    pub fn cut(self) {
        self.link.close();
        let _ = self.decide.send(Fate::Cut);
    }

    /// Breaks the client's end of the connection. A request that is held can still go its way to
    /// the broker, long after the client thinks it lost.
    pub fn hang_up(&self) {
        self.link.hang_up();
    }

    /// Where it was going to, or came from.
    pub fn broker(&self) -> i32 {
        self.link.broker
    }
}
