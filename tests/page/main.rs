//! The page at the admin address: a real worker on a real Apache Kafka, in a real headless Chromium.
//!
//! `require_kafka!()` and `require_browser!()` skip a test, loudly, where one is not to be had; with
//! `CI=true` it fails. With `SQUEEZEFLOW_SCREENSHOT=1` (`make screenshot`) the run lasts some minutes, with
//! the bundled model and the demo's texts, and its pictures go into docs/.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod drip;

use std::time::Duration;

use browser::Browser;
use drip::Drip;
use serde_json::{Value, json};
use support::client::{Client, Message};
use support::cluster::Cluster;
use support::here;
use support::process::scratch;
use support::scene::Scene;
use support::wait::{PATIENCE, until};
use support::worker::{Pipeline, Worker};

/// In every text, and in no other place.
const TEXT: &str = "plantedtext";

fn page(worker: &Worker) -> String {
    format!("http://{}/", worker.address())
}

fn message(value: &str) -> Message {
    Message { value: Some(value.as_bytes().to_vec()), ..Message::default() }
}

/// A record that is enriched, and now and then one that passes or is dead.
fn mixed(number: usize) -> Message {
    match number % 20 {
        7 => message(&format!("{TEXT}, and no JSON")),
        13 => Message { value: None, ..Message::default() },
        17 => message(&json!({ "text": " ", "note": TEXT }).to_string()),
        _ => message(&json!({ "text": format!("{TEXT} number {} was good", number % 500) }).to_string()),
    }
}

/// The browser has nothing to complain of, and asked nobody but us.
#[track_caller]
fn assert_quiet(browser: &Browser, base: &str) {
    assert_eq!(browser.console(), [""; 0], "the console is not empty");
    let requests = browser.requests();
    assert!(requests.iter().any(|url| url.ends_with("/events")), "{requests:?}");
    let strange: Vec<_> = requests.iter().filter(|url| !url.starts_with(base)).collect();
    assert!(strange.is_empty(), "asked others: {strange:?}");
}

fn read_so_far(browser: &Browser) -> u64 {
    let tile = browser.text("t-read");
    let digits = tile.split(';').nth(1).unwrap_or_default().chars().filter(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap_or(0)
}

#[test]
fn it_shows_a_run_as_it_goes() {
    crate::require_kafka!();
    crate::require_browser!();
    let scene = Scene::new(Cluster::shared(), "page", 3, 1);
    let pipeline = scene
        .pipeline
        .clone()
        .set("kafka.librdkafka", json!({ "client.rack": "planted-rack", "linger.ms": 5 }))
        .set("telemetry.otlp.headers", json!({ "authorization": "planted-header" }));
    let worker = pipeline.start_ready();
    let base = page(&worker);
    let browser = Browser::start();
    let _drip = Drip::start(&scene.client, &scene.input(), mixed);
    browser.open(&base);
    browser
        .wait("the page to be connected", "document.getElementById('link').innerText.includes('connected')");

    // It moves.
    browser.wait("records to be read", "document.querySelector('#flow [data-way=\"in tokenize\"].on')");
    for _ in 0..2 {
        let before = read_so_far(&browser);
        until("the figures to move", PATIENCE, || read_so_far(&browser) > before.max(1));
    }
    // All there is to see is there, and there is no more than may be seen.
    browser.wait("dead letters, labels and passed records", "document.querySelector('#dead table + table') \
        && document.querySelectorAll('#c-label .area').length && document.getElementById('lag').innerText.includes('page.in 2')");
    for (id, words) in [
        ("ready", "ready"),
        ("alive", "alive"),
        ("dead", "invalid_json"),
        ("dead", "text_empty"),
        ("lag", "page.in 0"),
        ("made", "sha256:"),
        ("made", "cpu"),
        ("made", "exactly-once"),
        ("times", "processing"),
        ("c-rate", "delivered"),
        ("c-late", "p99"),
        ("who", "page: page.in → page.out"),
    ] {
        let text = browser.text(id);
        assert!(text.contains(words), "{words} is not in {id}: {text}");
    }
    let waits = "[...document.querySelectorAll('#times tbody tr')].find(r => r.innerText.includes('inference')).innerText";
    browser.wait("the times of stages", &format!("/[0-9] ms/.test({waits})"));
    browser.run("document.getElementById('settings').open = true");
    let settings = browser.text("set");
    for words in ["kafka.group_id", "kafka.librdkafka.linger.ms", "[redacted]", "default", "file"] {
        assert!(settings.contains(words), "{words} is not among the settings: {settings}");
    }
    let all = browser.run("return document.documentElement.outerHTML");
    let all = all.as_str().unwrap();
    assert!(!all.contains("planted"), "a text or a secret is in the page");
    assert_eq!(browser.run("return document.getElementById('texts').hidden"), true);

    // In the dark, in the light, and on a telephone.
    let colour = "return getComputedStyle(document.body).backgroundColor";
    let colours = ["light", "dark"].map(|scheme| {
        browser.scheme(scheme);
        browser.run(colour).as_str().unwrap().to_owned()
    });
    assert_ne!(colours[0], colours[1], "light and dark look the same");
    for width in [1280, 768, 360] {
        browser.resize(width, 900);
        let overflow =
            browser.run("const e = document.documentElement; return e.scrollWidth - e.clientWidth");
        assert_eq!(overflow, 0, "{width} pixels are not enough");
    }
    // Whoever does not see it is told in words.
    let unnamed = browser.run(
        "return [...document.querySelectorAll('svg[role=img]')].filter(s => !s.getAttribute('aria-label')).length",
    );
    assert_eq!(unnamed, 0, "pictures without words");
    assert_quiet(&browser, &base);
    drop(browser);
    worker.terminate();
}

#[test]
fn texts_are_shown_if_asked_for_and_are_text() {
    crate::require_kafka!();
    crate::require_browser!();
    let scene = Scene::new(Cluster::shared(), "page-texts", 1, 1);
    let worker = scene.pipeline.clone().set("admin.show_text", true).start_ready();
    let base = page(&worker);
    let browser = Browser::start();
    let markup = "<img src=x onerror=\"window.hit=1\"><script>window.hit=2</script><b>bold</b> ";
    let text = format!("{markup}{}", "long ".repeat(100));
    let value = json!({ "text": text }).to_string();
    let _drip = Drip::start(&scene.client, &scene.input(), move |_| message(&value));
    browser.open(&base);
    browser.wait("a text", "document.querySelector('#text tbody td.wrap')");
    let shown = browser.run("return document.querySelector('#text tbody td.wrap').textContent");
    let shown = shown.as_str().unwrap();
    assert!(shown.starts_with(markup) && shown.ends_with('…'), "{shown}");
    assert_eq!(shown.chars().count(), 201);
    let row = browser.text("text");
    assert!(row.contains("0."), "a label and its score: {row}");
    let alive = browser.run("return [window.hit === undefined, document.querySelectorAll('#text img, #text script, #text b').length]");
    assert_eq!(alive, json!([true, 0]), "a text became markup");
    assert_quiet(&browser, &base);
}

#[test]
fn of_several_results_each_has_its_chart_and_its_receipts() {
    crate::require_kafka!();
    crate::require_browser!();
    let scene = Scene::new(Cluster::shared(), "page-results", 1, 1);
    let result =
        |package: &str| json!({ "model": { "path": here(package), "provider": "cpu", "sessions": 1 } });
    let results = json!({
        "mood": result("tests/packages/tiny-squeezebert"),
        "tone": result("tests/packages/tiny-bert"),
    });
    let worker =
        scene.pipeline.clone().set_top("model", Value::Null).set_top("results", results).start_ready();
    let base = page(&worker);
    let browser = Browser::start();
    let _drip = Drip::start(&scene.client, &scene.input(), mixed);
    browser.open(&base);
    browser.wait(
        "a chart for each",
        "document.querySelectorAll('#c-label svg[role=img]').length === 2 \
        && [...document.querySelectorAll('#c-label svg[role=img]')].every(s => s.querySelector('.area'))",
    );
    let labels = browser.text("c-label");
    assert!(labels.contains("mood: ") && labels.contains("tone: "), "{labels}");
    let rows = browser.run("return [...document.querySelectorAll('#made dd')].map(d => d.textContent)");
    let rows: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect();
    assert_eq!(rows.iter().filter(|row| row.starts_with("sha256:")).count(), 2, "{rows:?}");
    let made = browser.text("made");
    for words in ["tiny-squeezebert", "tiny-bert", "sessions"] {
        assert!(made.contains(words), "{words} is not in {made}");
    }
    assert_quiet(&browser, &base);
}

#[test]
fn cut_off_it_says_so_and_goes_on() {
    crate::require_kafka!();
    crate::require_browser!();
    let scene = Scene::new(Cluster::shared(), "page-cut", 1, 1);
    let worker = scene.pipeline.start_ready();
    let (base, address) = (page(&worker), worker.address());
    let browser = Browser::start();
    let _drip = Drip::start(&scene.client, &scene.input(), mixed);
    browser.open(&base);
    let link = |words: &str| format!("document.getElementById('link').innerText.includes('{words}')");
    browser.wait("the page to be connected", &link("connected"));
    until("figures", PATIENCE, || read_so_far(&browser) > 0);
    assert_quiet(&browser, &base);
    worker.terminate();
    browser.wait("the page to see that it is cut off", &link("reconnecting"));
    // In the place of the one that ended.
    let mut worker = scene.pipeline.clone().set("admin.address", address).start();
    worker.wait_ready();
    browser.wait("the page to be connected again", &link("connected"));
    let before = read_so_far(&browser);
    until("figures again", PATIENCE, || read_so_far(&browser) > before);
    // That it was cut off is all that the console has to say.
    for line in browser.console() {
        assert!(line.contains("/events") && line.contains("net::ERR_"), "{line}");
    }
    worker.terminate();
}

#[test]
fn with_a_token_a_browser_gets_in_by_password() {
    crate::require_kafka!();
    crate::require_browser!();
    let scene = Scene::new(Cluster::shared(), "page-token", 1, 1);
    let pipeline =
        scene.pipeline.clone().set("admin.token", json!({ "env": "TOKEN" })).env("TOKEN", "open:sesame");
    let worker = pipeline.start_ready();
    let base = page(&worker);
    let browser = Browser::start();
    browser.open(&base.replace("http://", "http://anybody:wrong@"));
    assert_eq!(browser.run("return document.getElementById('link') === null"), true, "it got in");
    browser.console(); // It says 401.
    browser.requests();
    browser.open(&base.replace("http://", "http://anybody:open%3Asesame@"));
    browser
        .wait("the page to be connected", "document.getElementById('link').innerText.includes('connected')");
    assert_eq!(browser.console(), [""; 0]);
    let all = browser.run("return document.documentElement.outerHTML");
    assert!(!all.as_str().unwrap().contains("sesame"), "the token is in the page");
    worker.terminate();
}

/// What is in the README and in docs/. In every run in small, so that it can be made at any time.
#[test]
fn its_pictures() {
    crate::require_kafka!();
    crate::require_browser!();
    let in_earnest = std::env::var("SQUEEZEFLOW_SCREENSHOT").as_deref() == Ok("1");
    let cluster = Cluster::shared();
    let client = Client::new(&cluster.bootstrap);
    for (topic, partitions) in [("reviews", 6), ("reviews.tagged", 6), ("reviews.dead", 1)] {
        client.create_topic(topic, partitions, &[]);
    }
    let mut pipeline = Pipeline::new(&cluster.bootstrap, "sentiment")
        .set("input.topics", json!(["reviews"]))
        .set("output.topic", "reviews.tagged")
        .set("dead_letter.topic", "reviews.dead")
        .set("kafka.commit_interval", "200ms")
        .set("admin.show_text", true);
    if in_earnest {
        pipeline =
            pipeline.set("model.path", here("models/sentiment").to_str().unwrap()).set("output.below", 0.9);
    }
    let worker = pipeline.start_ready();
    let samples = squeezeflow::demo::stream(4_000);
    let _drip = Drip::start(&client, "reviews", move |number| {
        let sample = &samples[number % samples.len()];
        let mut value = sample.value.clone();
        // Every other one as nobody wrote it before.
        let parsed = value.as_deref().and_then(|value| serde_json::from_slice::<Value>(value).ok());
        if let Some(mut document) = parsed.filter(|document| number % 2 == 0 && document.get("id").is_some())
        {
            let text = format!("{} ({number})", document["text"].as_str().unwrap_or_default());
            document["text"] = text.into();
            value = Some(document.to_string().into_bytes());
        }
        Message { key: Some(sample.key.clone().into_bytes()), value, ..Message::default() }
    });
    let browser = Browser::start();
    browser.resize(1280, 1640);
    browser.open(&page(&worker));
    let points = if in_earnest { 75 } else { 3 };
    let patience = Duration::from_secs(if in_earnest { 400 } else { 60 });
    until("the charts to fill", patience, || {
        browser.run("return state.points.length").as_u64().is_some_and(|n| n >= points)
    });
    let dir = if in_earnest { here("docs") } else { scratch("pictures") };
    for (scheme, file) in [("light", "page.png"), ("dark", "page-dark.png")] {
        browser.scheme(scheme);
        browser.picture(&dir.join(file));
        let bytes = std::fs::read(dir.join(file)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 50_000, "{file} is no picture");
    }
    worker.terminate();
}
