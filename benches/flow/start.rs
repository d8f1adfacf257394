//! From nothing to a warm model, and what an idle worker holds.

use std::time::{Duration, Instant};

use crate::common::report::{self, Rounds, head, row};
use crate::support::cluster::Cluster;
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;
use crate::{base, bundled};

pub fn bench() {
    let cluster = Cluster::start(1);
    let rounds = report::rounds();
    let models = [bundled(), base()];
    let mut measured: [(Rounds, Rounds); 2] = Default::default();
    for round in 0..=rounds {
        for (model, (seconds, memory)) in models.iter().zip(&mut measured) {
            let scene =
                Scene::new(&cluster, &format!("start-{}-{round}", model.name.replace([' ', ','], "-")), 4, 4);
            let pipeline = scene.pipeline.clone().set("model.path", model.package.to_str().unwrap());
            let began = Instant::now();
            let mut worker = pipeline.set("model.sessions", "auto").start();
            while !worker.log().contains("model is warm") {
                assert!(worker.runs() && began.elapsed() < PATIENCE, "{}", worker.log());
                std::thread::sleep(Duration::from_millis(2));
            }
            let took = began.elapsed().as_secs_f64();
            worker.wait_ready();
            worker.wait_partitions(4);
            let resident = worker.memory() as f64 / f64::from(1 << 20);
            worker.terminate();
            eprintln!("{round:>2} {}: {took:.3} s, {resident:.0} MiB", model.name);
            if round > 0 {
                seconds.push(took);
                memory.push(resident);
            }
        }
    }
    let mut table = head(&["", "from its start to a warm model, s", "RSS of the idle worker, MiB"]);
    for (model, (seconds, memory)) in models.iter().zip(&measured) {
        table += &row(&[model.name.to_owned(), seconds.show(3), memory.show(0)]);
    }
    let how = format!(
        "{rounds} alternating rounds, a session a core; median (lowest to highest). The files are in the system's cache."
    );
    report::publish("start", &how, &table);
}
