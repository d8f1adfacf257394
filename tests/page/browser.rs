//! Debian's Chromium, driven over WebDriver. What is used of that protocol is a few JSON requests, for
//! which the client that the program has anyway is enough; a client of its own would bring a second one.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::kafka::aloud;
use crate::support::process::{Process, last_words, scratch};
use crate::support::wait::{PATIENCE, until_some};

/// Are both programs there? Without them a test is skipped, and it is said which; with `CI=true` it fails.
pub fn is_here(test: &str) -> bool {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    let runs = |program: &&str| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(missing) = ["chromium", "chromedriver"].into_iter().find(|program| !runs(program)) else {
        return true;
    };
    let why = format!("no {missing} (Debian's packages chromium and chromium-driver)");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs a browser: {why}");
    aloud(&format!("SKIPPED {test}: {why}"));
    if SKIPPED.fetch_add(1, Ordering::Relaxed) == 0 {
        last_words(|| {
            let skipped = SKIPPED.load(Ordering::Relaxed);
            format!("{skipped} tests in a real browser were SKIPPED (libtest counts them as passed)")
        });
    }
    false
}

/// Leaves the test where there is no browser. A macro, because only it can return from the test.
#[macro_export]
macro_rules! require_browser {
    () => {
        if !$crate::browser::is_here(std::thread::current().name().unwrap_or("a test")) {
            return;
        }
    };
}

/// One browser with a profile of its own. Dropped, it is closed.
pub struct Browser {
    agent: ureq::Agent,
    session: String,
    _driver: Process,
}

impl Browser {
    #[track_caller]
    pub fn start() -> Self {
        let dir = scratch("browser");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null());
        command.stdout(std::fs::File::create(dir.join("stdout")).unwrap());
        command.stderr(std::fs::File::create(dir.join("stderr")).unwrap());
        let driver = Process::start(command);
        let port: u16 = until_some("chromedriver to say its port", PATIENCE, || {
            let said = std::fs::read_to_string(dir.join("stdout")).unwrap();
            let (_, rest) = said.split_once("started successfully on port ")?;
            rest.split_once('.')?.0.parse().ok()
        });
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build()
            .into();
        let profile = format!("--user-data-dir={}", dir.join("profile").display());
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1280,900",
            profile,
        ]);
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let url = format!("http://127.0.0.1:{port}/session");
        let id = ask(&agent, &url, Some(&wanted))["sessionId"].as_str().unwrap().to_owned();
        let browser = Self { agent, session: format!("{url}/{id}"), _driver: driver };
        // Not the page that it greets with.
        browser.open("about:blank");
        browser.console();
        browser.requests();
        browser
    }

    pub fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// What this JavaScript function's body returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the element with this id, as somebody sees it.
    pub fn text(&self, id: &str) -> String {
        let text = self.run(&format!("return document.getElementById('{id}').innerText"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits for something to be true in the page.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: &str) {
        until_some(what, PATIENCE, || (self.run(&format!("return !!({condition})")) == true).then_some(()));
    }

    /// What the console holds since the last time: errors, warnings and all else.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" }));
        entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| format!("{} {}", entry["level"], entry["message"]))
            .collect()
    }

    /// The addresses that it asked since the last time, but for pages of its own.
    pub fn requests(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "performance" }));
        let messages = entries.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap());
        let events =
            messages.map(|message| serde_json::from_str::<Value>(message).unwrap()["message"].clone());
        let requests = events.filter(|event| event["method"] == "Network.requestWillBeSent");
        let urls = requests.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned());
        urls.filter(|url| ["chrome:", "about:", "data:"].iter().all(|own| !url.starts_with(own))).collect()
    }

    /// Light or dark, as the system would ask for it.
    pub fn scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", &size);
    }

    /// A picture of the window's content.
    pub fn picture(&self, file: &Path) {
        let png = self.command("Page.captureScreenshot", &json!({ "format": "png" }));
        let png = base64::decode(png["data"].as_str().unwrap()).unwrap();
        std::fs::File::create(file).unwrap().write_all(&png).unwrap();
    }

    fn command(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        ask(&self.agent, &format!("{}/{path}", self.session), Some(body))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver closes the browser; without this it would be killed and the browser left.
        let _ = self.agent.delete(&self.session).call();
    }
}

/// The value of an answer.
#[track_caller]
fn ask(agent: &ureq::Agent, url: &str, body: Option<&Value>) -> Value {
    let body = body.map_or_else(String::new, Value::to_string);
    let answer = agent.post(url).content_type("application/json").send(body.as_str());
    let mut answer = answer.unwrap_or_else(|error| panic!("chromedriver at {url}: {error}"));
    // A log of a long run is long.
    let text = answer.body_mut().with_config().limit(256 << 20).read_to_string().unwrap();
    assert!(answer.status().is_success(), "chromedriver at {url}: {text}");
    serde_json::from_str::<Value>(&text).unwrap()["value"].take()
}
