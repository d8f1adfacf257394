//! One connection of a client to a broker through the proxy: two threads, one for each direction.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;

use super::rules::{Fate, Rules, Side};
use super::wall::Walls;
use super::wire::{Header, answered, header, read_frame};

/// A connection.
pub(super) struct Link {
    pub(super) broker: i32,
    client: TcpStream,
    server: TcpStream,
    /// What is not answered yet, by correlation id.
    asked: Mutex<HashMap<i32, Header>>,
    /// The client's end is gone, on purpose, and what is held may still go on to the broker.
    hung_up: AtomicBool,
}

impl Link {
    /// Forwards in both directions until one end closes.
    pub(super) fn start(
        broker: i32,
        client: TcpStream,
        server: TcpStream,
        rules: &Rules,
        walls: &Walls,
    ) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (asked, hung_up) = Default::default();
        let link = Arc::new(Self { broker, client, server, asked, hung_up });
        for side in [Side::Request, Side::Answer] {
            let (link, rules, walls) = (link.clone(), rules.clone(), walls.clone());
            std::thread::spawn(move || {
                // However it ends, there is nobody to tell: the ends see their sockets close.
                let _ = link.forward(side, &rules, &walls);
                if !(side == Side::Request && link.hung_up.load(Ordering::Acquire)) {
                    link.close();
                }
            });
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    pub(super) fn hang_up(&self) {
        self.hung_up.store(true, Ordering::Release);
        let _ = self.client.shutdown(Shutdown::Both);
    }

    fn forward(self: &Arc<Self>, side: Side, rules: &Rules, walls: &Walls) -> io::Result<()> {
        let (mut from, mut to) = match side {
            Side::Request => (&self.client, &self.server),
            Side::Answer => (&self.server, &self.client),
        };
        while let Some(frame) = read_frame(&mut from)? {
            let known = match side {
                Side::Request => header(&frame),
                Side::Answer => answered(&frame).and_then(|id| self.asked.lock().unwrap().remove(&id)),
            };
            let header = known.ok_or(io::ErrorKind::InvalidData)?;
            if side == Side::Request {
                self.asked.lock().unwrap().insert(header.correlation, header.clone());
            }
            let mut fate = rules.decide(self, &header, side);
            loop {
                match fate {
                    Fate::Pass => break,
                    Fate::Delay(time) => {
                        sleep(time);
                        break;
                    }
                    Fate::Swallow | Fate::Cut => break,
                    Fate::Hold(decision) => fate = decision.recv().unwrap_or(Fate::Pass),
                }
            }
            match fate {
                Fate::Swallow => continue,
                Fate::Cut => return Ok(()),
                _ => {}
            }
            walls.wait(&header.client, self.broker, side);
            to.write_all(&frame)?;
        }
        Ok(())
    }
}
