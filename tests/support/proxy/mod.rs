//! A proxy between workers and brokers that knows Kafka: it delays, drops, cuts or holds requests
//! and answers by their kind, and parts the network as a whole. Each broker has a listener that it
//! advertises under the proxy's address, so whoever begins at [`Proxy::bootstrap`] is never told of
//! a way around. The tests' own clients go straight to the brokers.
//!
//! | file | what |
//! |---|---|
//! | `wire` | frames and request headers |
//! | `rules` | traps for frames |
//! | `wall` | partitions of the network |
//! | `link` | one connection |

mod link;
mod rules;
mod wall;
mod wire;

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use link::Link;
use rules::Rules;
pub use rules::{Caught, Holding, On, Side, Trap};
pub use wall::Partition;
use wall::Walls;
pub use wire::{Api, Header, read_frame};

/// One listener for each broker.
pub struct Proxy {
    listeners: Vec<TcpListener>,
    pub bootstrap: String,
    rules: Rules,
    walls: Walls,
}

impl Proxy {
    /// Takes a port for each of so many brokers.
    pub fn bind(brokers: i32) -> Self {
        let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listeners: Vec<TcpListener> = (0..brokers).map(bind).collect();
        let addresses: Vec<String> = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
        let (rules, walls) = Default::default();
        Self { listeners, bootstrap: addresses.join(","), rules, walls }
    }

    /// The port that stands for a broker.
    pub fn port(&self, broker: i32) -> u16 {
        self.listeners[broker as usize - 1].local_addr().unwrap().port()
    }

    /// From now on forwards to a broker's listener. A thread of its own takes the connections, for
    /// as long as the test process lives.
    pub fn forward(&self, broker: i32, port: u16) {
        let listener = self.listeners[broker as usize - 1].try_clone().unwrap();
        let (rules, walls) = (self.rules.clone(), self.walls.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A broker that is down: the client's connection closes.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                    let _ = Link::start(broker, client, server, &rules, &walls);
                }
            }
        });
    }

    /// A trap for requests of a kind, or for their answers.
    pub fn on(&self, api: Api, side: Side) -> On<'_> {
        self.rules.on(api, side)
    }

    /// Holds back everything of this client (or of all) to and from this broker (or all); with a
    /// side, only requests or only answers.
    pub fn part(&self, client: Option<&str>, broker: Option<i32>, side: Option<Side>) -> Partition {
        self.walls.build(client, broker, side)
    }
}
