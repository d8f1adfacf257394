//! Partitions of the network: bytes are held back, and the connections stay open. When the wall is
//! gone they arrive after all, late, as what TCP sends again does.

use std::sync::{Arc, Condvar, Mutex};

use super::rules::Side;

struct Wall {
    id: u64,
    client: Option<String>,
    broker: Option<i32>,
    /// `None`: both ways.
    side: Option<Side>,
}

impl Wall {
    fn stops(&self, client: &str, broker: i32, side: Side) -> bool {
        self.side.is_none_or(|s| s == side)
            && self.broker.is_none_or(|b| b == broker)
            && self.client.as_ref().is_none_or(|c| c == client)
    }
}

#[derive(Default)]
struct State {
    walls: Vec<Wall>,
    next: u64,
}

/// All walls that stand.
#[derive(Clone, Default)]
pub(super) struct Walls(Arc<(Mutex<State>, Condvar)>);

impl Walls {
    pub(super) fn build(&self, client: Option<&str>, broker: Option<i32>, side: Option<Side>) -> Partition {
        let mut state = self.0.0.lock().unwrap();
        state.next += 1;
        let id = state.next;
        state.walls.push(Wall { id, client: client.map(str::to_owned), broker, side });
        Partition { walls: self.clone(), id }
    }

    /// Returns when no wall is in the way (any more).
    pub(super) fn wait(&self, client: &str, broker: i32, side: Side) {
        let mut state = self.0.0.lock().unwrap();
        while state.walls.iter().any(|wall| wall.stops(client, broker, side)) {
            state = self.0.1.wait(state).unwrap();
        }
    }
}

/// A partition of the network, for as long as this is kept.
pub struct Partition {
    walls: Walls,
    id: u64,
}

impl Drop for Partition {
    fn drop(&mut self) {
        let (state, changed) = &*self.walls.0;
        state.lock().unwrap().walls.retain(|wall| wall.id != self.id);
        changed.notify_all();
    }
}
