//! A listener with so many connections at a time, so many of them from one place, each for so long, and
//! requests that are so long and come in so much time: axum's own has no bounds.
//!
//! All of it is before any token is seen, for the probes have none to show: whoever reaches the address
//! must not be able to keep a kubelet from it, or it would end a worker that is well.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Of connections.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// At a time. Those that come later wait.
    pub(super) connections: usize,
    /// Of them, from one address (of IPv6: one network of 64 bits, which one machine may have all of).
    /// Those that come later are closed.
    pub(super) from_one: usize,
    /// Who may have more than `from_one`: where all come from one address, it tells nobody apart.
    pub(super) is_trusted: fn(IpAddr) -> bool,
    /// One is closed after this long, whatever it does.
    pub(super) age: Duration,
    /// Until the first byte of the first request.
    pub(super) silence: Duration,
}

impl Bounds {
    /// A scraper and a prober need one each, a browser a few; the rest is a margin. Scrapers connect again.
    pub(super) const OURS: Self = Self {
        connections: 64,
        from_one: 16,
        is_trusted: |address| address.is_loopback(),
        age: Duration::from_secs(300),
        silence: Duration::from_secs(2),
    };
}

/// Accepts while a permit is free; each connection ends at its maximum age.
pub(super) struct Bounded {
    listener: TcpListener,
    bounds: Bounds,
    free: Arc<Semaphore>,
    from: Peers,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, bounds: Bounds) -> Self {
        let free = Arc::new(Semaphore::new(bounds.connections));
        Self { listener, bounds, free, from: Peers::default() }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed: then it is as good as free.
        let permit = self.free.clone().acquire_owned().await.ok();
        let Bounds { from_one, is_trusted, age, silence, .. } = self.bounds;
        loop {
            // axum's own: sleeps and tries again where the process has too many files open.
            let (stream, from) = Listener::accept(&mut self.listener).await;
            let peer = from.ip().to_canonical();
            let most = if is_trusted(peer) { usize::MAX } else { from_one };
            let Some(place) = self.from.place(peer, most) else { continue };
            let end = Box::pin(tokio::time::sleep_until(Instant::now() + age));
            let pause = Box::pin(tokio::time::sleep(silence));
            return (Connection { stream, end, pause, bytes: 0, _permit: permit, _place: place }, from);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// How many connections there are from where.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them.
struct Place {
    all: Peers,
    peer: IpAddr,
}

impl Peers {
    /// `None`: it has so many already.
    fn place(&self, from: IpAddr, most: usize) -> Option<Place> {
        let peer = match from {
            IpAddr::V4(_) => from,
            IpAddr::V6(all) => Ipv6Addr::from_bits(all.to_bits() >> 64 << 64).into(),
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { all: self.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// No request of ours has a body, and no browser's headers are that long.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// From the first byte of a request to the first of its answer, which nothing here waits for; and from
/// one answer to the next request.
const MAX_REQUEST_TIME: Duration = Duration::from_secs(10);
const MAX_IDLE_TIME: Duration = Duration::from_secs(90);

pub(super) struct Connection {
    stream: TcpStream,
    /// Of the connection.
    end: Pin<Box<Sleep>>,
    /// Of what it does now.
    pause: Pin<Box<Sleep>>,
    /// Of the request that is being read.
    bytes: usize,
    _permit: Option<OwnedSemaphorePermit>,
    _place: Place,
}

impl Connection {
    fn is_old(&mut self, cx: &mut Context<'_>) -> bool {
        self.end.as_mut().poll(cx).is_ready()
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.pause.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_old(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = to.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, to);
        // What is there is in time, however late we come to look.
        if read.is_pending() && self.is_late(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let came = to.filled().len() - before;
        if came > 0 {
            if self.bytes == 0 {
                self.pause.as_mut().reset(Instant::now() + MAX_REQUEST_TIME);
            }
            self.bytes += came;
        }
        match self.bytes > MAX_REQUEST_BYTES {
            true => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            false => read,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_old(cx) || self.is_late(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.bytes = 0;
            self.pause.as_mut().reset(Instant::now() + MAX_IDLE_TIME);
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_place() {
        let peers = Peers::default();
        let from = |address: &str| peers.place(address.parse().unwrap(), 2);
        let _one = from("2001:db8::1").unwrap();
        let two = from("2001:db8::ffff:2").unwrap();
        assert!(from("2001:db8:0:0:9::3").is_none());
        assert!(from("2001:db8:0:1::1").is_some() && from("10.0.0.1").is_some());
        drop(two);
        assert!(from("2001:db8::3").is_some());
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let peers = Peers::default();
        drop(peers.place("10.0.0.1".parse().unwrap(), 2));
        assert!(peers.0.lock().unwrap().is_empty());
    }
}
