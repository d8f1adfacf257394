//! Tuning beside a working worker: the input is read, and nobody notices.

use std::time::Duration;

use serde_json::Value;

use crate::support::client::Sender;
use crate::support::cluster::Cluster;
use crate::support::observer::read_all;
use crate::support::process::Process;
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;
use crate::support::worker::onnxruntime;

#[test]
fn texts_come_from_the_input_and_the_group_is_left_alone() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "tune");
    scene.client.create_topic(&scene.input(), 2, &[]);
    // In transactions, with their markers and with some that were given up.
    let (mut sender, mut stream) = (Sender::transactional(&scene.client, &scene.input()), Stream::new(9));
    for n in 0..20 {
        sender.transaction(&stream.take(50), n % 5 > 0);
    }
    let committed = read_all(&scene.client, &[&scene.input()]).len();
    assert_eq!(committed, 800);
    scene.client.commit(&scene.name, &scene.input(), 0, 3);
    let ends = scene.client.ends(&scene.input());

    let (mut command, dir) = scene.pipeline.command(&["tune", "--for", "2s", "--json"]);
    command.env("ORT_DYLIB_PATH", onnxruntime());
    let mut tune = Process::start(command);
    while tune.ended().is_none() {
        assert!(scene.client.members(&scene.name).is_empty(), "nobody joins the group");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        tune.wait("tune", PATIENCE).success(),
        "{}",
        std::fs::read_to_string(dir.join("stderr")).unwrap()
    );
    let report = std::fs::read_to_string(dir.join("stdout")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["texts"]["records"], committed, "what was given up is not read");
    assert_eq!(scene.client.committed(&scene.name, &scene.input()), [(0, 3)].into(), "nothing is committed");
    assert_eq!(scene.client.ends(&scene.input()), ends, "nothing is written");
}
