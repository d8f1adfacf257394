//! Reads topics along from their beginnings while a test runs, with no group of its own.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message as _};
use rdkafka::topic_partition_list::Offset;

use super::client::Client;
use super::wait::until;

/// A record as it lies in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp: Option<i64>,
}

impl Seen {
    /// Where it lies.
    pub fn place(&self) -> Place {
        (self.topic.clone(), self.partition, self.offset)
    }

    /// The last header of this name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(n, _)| n == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// Its value as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.value.as_deref().unwrap()).unwrap()
    }
}

/// Topic, partition, offset.
pub type Place = (String, i32, i64);

/// What was seen, and the different sources among the first `looked_at` of it.
#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    sources: HashSet<Place>,
    looked_at: usize,
}

/// Reads in a thread of its own until dropped.
pub struct Observer {
    log: Arc<Mutex<Log>>,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Of all partitions that these topics have now.
    pub fn of(client: &Client, topics: &[&str]) -> Self {
        let consumer = reader(client, topics);
        let (log, count, stop) = <(Arc<Mutex<Log>>, Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let (to, counter, stopped) = (log.clone(), count.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                    to.lock().unwrap().seen.push(copy(&message));
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { log, count, stop, thread: Some(thread) }
    }

    /// The count, for a thread of its own to look at.
    pub fn counter(&self) -> Arc<AtomicUsize> {
        self.count.clone()
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until at least so many records were seen.
    #[track_caller]
    pub fn wait(&self, count: usize, patience: Duration) {
        until(&format!("{count} records in the output"), patience, || self.count() >= count);
    }

    /// How many different records stand behind what was seen (see [`source_of`]).
    pub fn distinct(&self) -> usize {
        let Log { seen, sources, looked_at } = &mut *self.log.lock().unwrap();
        sources.extend(seen[*looked_at..].iter().map(source_of));
        *looked_at = seen.len();
        sources.len()
    }

    /// Waits until so many different input records have come out, however often.
    #[track_caller]
    pub fn wait_distinct(&self, count: usize, patience: Duration) {
        let what = format!("{count} different records in the output");
        until(&what, patience, || self.count() >= count && self.distinct() >= count);
    }

    /// Everything seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().seen.clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Everything that is in these topics now.
pub fn read_all(client: &Client, topics: &[&str]) -> Vec<Seen> {
    let consumer = reader(client, topics);
    let mut open = consumer.assignment().unwrap().count();
    let mut all = Vec::new();
    while open > 0 {
        match consumer.poll(Duration::from_secs(30)).expect("a topic's end") {
            Ok(message) => all.push(copy(&message)),
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => eprintln!("reader: {error}"),
        }
    }
    all
}

/// Shows each record of these topics as it comes, and keeps none, until `each` has seen enough.
#[track_caller]
pub fn follow(client: &Client, topics: &[&str], patience: Duration, mut each: impl FnMut(Seen) -> bool) {
    let consumer = reader(client, topics);
    let mut last = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                last = Instant::now();
                if !each(copy(&message)) {
                    return;
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => eprintln!("reader: {error}"),
        }
        assert!(last.elapsed() < patience, "nothing more came for {patience:?}");
    }
}

/// Everything that lies in front of these offsets, by partition, of a topic that may hold much more.
pub fn read_before(client: &Client, topic: &str, ends: &BTreeMap<i32, i64>) -> Vec<Seen> {
    let consumer = reader(client, &[topic]);
    let mut open: BTreeMap<i32, i64> =
        ends.iter().filter(|(_, end)| **end > 0).map(|(p, end)| (*p, *end)).collect();
    let mut all = Vec::new();
    while !open.is_empty() {
        match consumer.poll(Duration::from_secs(30)).expect("more of a topic") {
            Ok(message) => {
                let (partition, offset) = (message.partition(), message.offset());
                if ends.get(&partition).is_some_and(|end| offset < *end) {
                    all.push(copy(&message));
                }
                if open.get(&partition).is_some_and(|end| offset + 1 >= *end) {
                    open.remove(&partition);
                }
            }
            Err(KafkaError::PartitionEOF(partition)) => drop(open.remove(&partition)),
            Err(error) => eprintln!("reader: {error}"),
        }
    }
    all
}

/// The input record behind an output or a dead letter, as its headers name it.
pub fn source_of(seen: &Seen) -> Place {
    let named = |prefix: &str| {
        let topic = seen.header(&format!("{prefix}.topic"))?.to_owned();
        let number = |name| seen.header(&format!("{prefix}.{name}"))?.parse::<i64>().ok();
        Some((topic, number("partition")? as i32, number("offset")?))
    };
    named("__squeezeflow.errors")
        .or_else(|| named("squeezeflow.source"))
        .unwrap_or_else(|| panic!("{:?} does not name its source: {:?}", seen.place(), seen.headers))
}

fn reader(client: &Client, topics: &[&str]) -> BaseConsumer {
    let mut config = client.config();
    config.set("group.id", "observer").set("enable.auto.commit", "false");
    config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    config.set("fetch.wait.max.ms", "50").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..client.partitions(topic) {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
    }
    consumer.assign(&list).unwrap();
    consumer
}

fn copy(message: &rdkafka::message::BorrowedMessage<'_>) -> Seen {
    Seen {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(headers).unwrap_or_default(),
        timestamp: message.timestamp().to_millis(),
    }
}

/// rdkafka's own reader panics at a name that is not UTF-8; here such bytes become U+FFFD.
#[allow(unsafe_code)]
fn headers(all: &rdkafka::message::BorrowedHeaders) -> Vec<(String, Option<Vec<u8>>)> {
    let one = |index| {
        let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: rdkafka's view is the C structure itself; what is pointed to lives as long as it, and
        // is copied at once.
        unsafe {
            let native = std::ptr::from_ref(all).cast();
            rdkafka_sys::rd_kafka_header_get_all(native, index, &mut name, &mut value, &mut size);
            let name = std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned();
            let bytes =
                (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec());
            (name, bytes)
        }
    };
    (0..all.count()).map(one).collect()
}
