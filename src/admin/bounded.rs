//! A listener with so many connections at a time, each for so long, and requests that are so long and
//! come in so much time: axum's own has no bounds.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Accepts while a permit is free; each connection ends at its maximum age.
pub(super) struct Bounded {
    listener: TcpListener,
    free: Arc<Semaphore>,
    max_age: Duration,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, max_connections: usize, max_age: Duration) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(max_connections)), max_age }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed: then it is as good as free.
        let permit = self.free.clone().acquire_owned().await.ok();
        // axum's own: sleeps and tries again where the process has too many files open.
        let (stream, from) = Listener::accept(&mut self.listener).await;
        let end = Box::pin(tokio::time::sleep_until(Instant::now() + self.max_age));
        let pause = Box::pin(tokio::time::sleep(MAX_REQUEST_TIME));
        (Connection { stream, end, pause, bytes: 0, _permit: permit }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
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
}

impl Connection {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.end.as_mut().poll(cx).is_ready() || self.pause.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = to.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, to);
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
        if self.is_over(cx) {
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
