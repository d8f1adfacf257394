//! The demo's producer: a thread that writes samples at a steady pace. Each record says in its
//! headers which one it is and when it was sent, so that it can be known again.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{DemoError, INPUT, Sample};
use crate::kafka::embedded::Quiet;
use crate::shutdown::Shutdown;

/// Header: the record's number.
pub(super) const ID: &str = "demo.id";
/// Header: microseconds between the demo's beginning and the record's sending.
pub(super) const SENT: &str = "demo.sent_us";
/// More than the embedded broker ever needs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A producer that is connected. To be made early: for its producer id, which orders its records,
/// librdkafka may wait half a second, and the first records would show that as their latency.
pub struct Feeder(BaseProducer<Quiet>);

/// A running producer.
pub struct Feed {
    thread: JoinHandle<Result<(), DemoError>>,
}

impl Feeder {
    /// Connects.
    ///
    /// # Errors
    /// When there is no client, or no broker.
    pub fn connect(bootstrap_servers: &str) -> Result<Self, DemoError> {
        let error = |source| DemoError::Client { what: "start its producer", source };
        let producer: BaseProducer<Quiet> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("client.id", "demo-feed")
            .set("enable.idempotence", "true")
            .create_with_context(Quiet)
            .map_err(error)?;
        producer.client().fetch_metadata(Some(INPUT), PATIENCE).map_err(error)?;
        Ok(Self(producer))
    }

    /// Begins to send, `per_second` records a second. Ends by itself, or when `stop` is requested.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start(
        self,
        samples: Arc<[Sample]>,
        per_second: u32,
        epoch: Instant,
        stop: Shutdown,
    ) -> Result<Feed, DemoError> {
        let send = move || send_all(&self.0, &samples, per_second.max(1), epoch, &stop);
        let thread = std::thread::Builder::new().name("demo-feed".to_owned()).spawn(send);
        let thread = thread.map_err(|source| DemoError::Io { what: "cannot start a thread", source })?;
        Ok(Feed { thread })
    }
}

impl Feed {
    /// Waits for its end.
    ///
    /// # Errors
    /// When a record could not be sent.
    pub fn join(self) -> Result<(), DemoError> {
        self.thread.join().unwrap_or(Err(DemoError::Panicked("producer")))
    }
}

fn send_all(
    producer: &BaseProducer<Quiet>,
    samples: &[Sample],
    per_second: u32,
    epoch: Instant,
    stop: &Shutdown,
) -> Result<(), DemoError> {
    let error = |source| DemoError::Client { what: "produce", source };
    let start = Instant::now();
    for (id, sample) in (0_u32..).zip(samples) {
        let due = start + Duration::from_secs(1) * id / per_second;
        while Instant::now() < due {
            if stop.is_requested() {
                return Ok(());
            }
            producer.poll(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)));
        }
        let sent = epoch.elapsed().as_micros().to_string();
        let headers = OwnedHeaders::new()
            .insert(Header { key: ID, value: Some(&id.to_string()) })
            .insert(Header { key: SENT, value: Some(&sent) });
        let mut record = BaseRecord::<str, [u8]>::to(INPUT).key(&sample.key).headers(headers);
        record.payload = sample.value.as_deref();
        while let Err((refused, again)) = producer.send(record) {
            if refused != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) || stop.is_requested() {
                return Err(error(refused));
            }
            producer.poll(Duration::from_millis(10));
            record = again;
        }
    }
    producer.flush(PATIENCE).map_err(error)
}
