//! The demo around a stand-in for the worker: what it shows, and that it misses what is missing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::sync::Mutex;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message};

use super::*;

#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shown {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn args(records: usize) -> Args {
    Args { keep: false, records: NonZeroUsize::new(records).unwrap(), plain: true, model: None }
}

/// Reads as the worker does; tags by a word, and forgets every record that `lose` picks.
fn stand_in(
    settings: Settings,
    telemetry: Telemetry,
    shutdown: &Shutdown,
    lose: fn(usize) -> bool,
) -> Result<Summary, DemoError> {
    let servers = settings.kafka.unwrap().bootstrap_servers;
    let client = || ClientConfig::new().set("bootstrap.servers", &servers).clone();
    let consumer: BaseConsumer = client()
        .set("group.id", "stand-in")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let producer: BaseProducer = client().create().unwrap();
    consumer.subscribe(&[demo::INPUT]).unwrap();
    let Telemetry { metrics, health, .. } = telemetry;
    health.model_warm("stand-in", "sha256:0123456789abcdef", "none", "cpu");
    health.joined(4);
    while !shutdown.is_requested() {
        producer.poll(Duration::ZERO);
        let Some(message) = consumer.poll(Duration::from_millis(20)) else { continue };
        let message = message.unwrap().detach();
        let headers = message.headers().unwrap().clone();
        let id: usize = std::str::from_utf8(headers.get(0).value.unwrap()).unwrap().parse().unwrap();
        if lose(id) {
            continue;
        }
        metrics.batch(1, 7, 8, Duration::from_millis(1));
        let parsed = message.payload().map(serde_json::from_slice::<serde_json::Value>);
        let (topic, value, headers) = match parsed {
            None => (demo::OUTPUT, None, headers),
            Some(Ok(mut value)) if value["text"].as_str().is_some_and(|text| !text.trim().is_empty()) => {
                value["nlp"] = serde_json::json!({ "label": "positive", "score": 0.5 });
                (demo::OUTPUT, Some(value.to_string().into_bytes()), headers)
            }
            _ => {
                let reason = rdkafka::message::Header {
                    key: "__squeezeflow.errors.reason",
                    value: Some("invalid_json"),
                };
                (demo::DEAD, message.payload().map(<[u8]>::to_vec), headers.insert(reason))
            }
        };
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).headers(headers);
        record.payload = value.as_deref();
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(5)).unwrap();
    Ok(Summary::default())
}

#[test]
fn it_shows_every_record_and_a_summary() {
    let shown = Shown::default();
    let start = Instant::now();
    let played = play(&args(150), "nowhere".into(), View::to(shown.clone()), |s, telemetry, stop| {
        stand_in(s, telemetry, stop, |_| false)
    });
    let text = shown.text();
    played.unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(text.lines().filter(|line| line.contains(" ms ")).count(), 150, "{text}");
    for part in [
        "150 of 150",
        "passed       1 ",
        "invalid_json",
        "p99 ",
        "stand-in (sha256:0123456789ab, none on cpu)",
        "tokens       1050 real, 1200 computed",
        "A clever thriller",
        "positive   0.500",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "plain lines have no escape sequences");
}

#[test]
fn a_worker_that_stops_is_not_waited_for() {
    let start = Instant::now();
    let played = play(&args(20), "nowhere".into(), View::to(Shown::default()), |_, _, _| {
        Err(DemoError::Panicked("stand-in"))
    });
    assert!(matches!(played, Err(DemoError::Panicked("stand-in"))), "{played:?}");
    let played =
        play(&args(20), "nowhere".into(), View::to(Shown::default()), |_, _, _| panic!("on purpose"));
    assert!(matches!(played, Err(DemoError::Panicked("worker"))), "{played:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_record_that_is_lost_is_missed() {
    let mut tally = Tally::new(demo::stream(10).into());
    let broker = demo::broker().unwrap();
    let epoch = Instant::now();
    let bootstrap = broker.bootstrap_servers();
    let runtime = Runtime::new().unwrap();
    let (stop, never) = (Shutdown::new(), Shutdown::new());
    let mut worker = Worker::start(&runtime, stop.clone(), {
        let (settings, stop) = (demo::settings(bootstrap.clone(), "nowhere".into()), stop.clone());
        move || stand_in(settings, Telemetry::default(), &stop, |id| id == 4)
    })
    .unwrap();
    let feeder = Feeder::connect(&bootstrap).unwrap();
    feeder.start(demo::stream(10).into(), 1_000, epoch, never.clone()).unwrap().join().unwrap();
    let watch = Watch::start(&bootstrap, epoch).unwrap();
    let mut view = View::to(Shown::default());
    while tally.out() < 9 {
        follow_once(&watch, &mut tally, &mut view);
        assert!(epoch.elapsed() < Duration::from_secs(15), "{} came out", tally.out());
    }
    assert!(watch.next(Duration::from_millis(300)).unwrap().is_none());
    assert_eq!(tally.missing(), 1);
    stop.request();
    worker.join().unwrap();
}

fn follow_once(watch: &Watch, tally: &mut Tally, view: &mut View) {
    if let Some(seen) = watch.next(Duration::from_millis(50)).unwrap() {
        tally.note(&seen);
        view.line(&seen).unwrap();
    }
}

#[test]
fn a_model_is_found_where_it_is_said_to_be_or_the_places_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("models/sentiment");
    std::fs::create_dir_all(&here).unwrap();
    let error = find_model(None, std::slice::from_ref(&here)).unwrap_err();
    assert!(
        error.to_string().contains("models/sentiment") && error.to_string().contains("--model"),
        "{error}"
    );
    std::fs::write(here.join("config.json"), "{}").unwrap();
    assert_eq!(find_model(None, &["nowhere".into(), here.clone()]).unwrap(), here);
    assert!(find_model(Some(Path::new("nowhere")), std::slice::from_ref(&here)).is_err());
}
