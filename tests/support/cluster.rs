//! Brokers of a real Apache Kafka (KRaft; every node is broker and controller), started by the
//! tests and gone with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::client::Client;
use super::process::{Process, scratch};
use super::proxy::Proxy;
use super::wait::{PATIENCE, until};
use super::{here, kafka};

/// A running cluster. Dropped, it is gone.
pub struct Cluster {
    nodes: Vec<Mutex<Node>>,
    /// Straight to the brokers.
    pub bootstrap: String,
    /// The way through which faults happen, for whoever begins at its own `bootstrap`.
    pub proxy: Proxy,
    /// Of the first broker, beside the three that every broker has.
    listeners: BTreeMap<String, u16>,
}

/// What a cluster may have beyond the usual.
#[derive(Default)]
pub struct Extras {
    /// Further listeners, by name; their protocols are for `properties` to say.
    pub listeners: Vec<&'static str>,
    /// Properties of the brokers; the protocols of all listeners must be among them.
    pub properties: String,
    /// Options of the storage's formatting, such as `--add-scram`.
    pub format: Vec<String>,
    /// Options of Java.
    pub java: Vec<String>,
}

struct Node {
    id: i32,
    port: u16,
    dir: PathBuf,
    format: Vec<String>,
    java: Vec<String>,
    process: Option<Process>,
}

impl Cluster {
    /// One broker that most tests share, each with topics and a group of its own.
    pub fn shared() -> &'static Self {
        static ONE: OnceLock<Cluster> = OnceLock::new();
        ONE.get_or_init(|| Cluster::start(1))
    }

    /// Three brokers, replication 3, min in-sync 2. One test at a time: they break things. All
    /// three are up, and every copy in sync, when the next test gets them.
    pub fn three() -> Three {
        static THREE: OnceLock<Cluster> = OnceLock::new();
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = THREE.get_or_init(|| Cluster::start(3));
        for id in cluster.ids() {
            cluster.thaw(id);
            cluster.up(id);
        }
        // A broker that takes connections is not yet one that leads and follows.
        Client::new(&cluster.bootstrap).wait_whole(3);
        Three { cluster, _turn: turn }
    }

    /// A cluster of the test's own.
    pub fn start(brokers: i32) -> Self {
        Self::with(
            brokers,
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        )
    }

    /// And with further properties of the brokers; the protocols of the three listeners must be
    /// among them.
    pub fn with(brokers: i32, more: &str) -> Self {
        Self::with_extras(brokers, &Extras { properties: more.to_owned(), ..Extras::default() })
    }

    /// And with all that [`Extras`] may be; further listeners are those of a single broker.
    pub fn with_extras(brokers: i32, extras: &Extras) -> Self {
        assert!(brokers == 1 || extras.listeners.is_empty());
        let dir = scratch("kafka");
        let proxy = Proxy::bind(brokers);
        // Bound all at once, so that they differ, and free again when the brokers want them.
        let sockets: Vec<TcpListener> = (0..brokers as usize * 3 + extras.listeners.len())
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<u16> = sockets.iter().map(|s| s.local_addr().unwrap().port()).collect();
        drop(sockets);
        let (ports, others) = ports.split_at(brokers as usize);
        let (controllers, others) = others.split_at(brokers as usize);
        let (behind_proxy, further) = others.split_at(brokers as usize);
        let further: BTreeMap<String, u16> =
            extras.listeners.iter().map(|name| (*name).to_owned()).zip(further.iter().copied()).collect();
        let addresses = |ports: &[u16]| ports.iter().map(|p| format!("127.0.0.1:{p}")).collect::<Vec<_>>();
        let voters: Vec<String> =
            addresses(controllers).iter().zip(1..).map(|(a, id)| format!("{id}@{a}")).collect();
        let mut nodes = Vec::new();
        for ((id, port), (controller, behind)) in (1..).zip(ports).zip(controllers.iter().zip(behind_proxy)) {
            let dir = dir.join(id.to_string());
            std::fs::create_dir_all(&dir).unwrap();
            let properties = properties(id, brokers, &voters.join(","), &dir);
            let listeners = listeners(*port, *controller, *behind, proxy.port(id), &further);
            let all = properties + &listeners + &extras.properties;
            std::fs::write(dir.join("server.properties"), all).unwrap();
            proxy.forward(id, *behind);
            let (format, java) = (extras.format.clone(), extras.java.clone());
            nodes.push(Node { id, port: *port, dir, format, java, process: None });
        }
        let formats: Vec<Process> = nodes.iter().map(Node::format).collect();
        for mut format in formats {
            assert!(format.wait("StorageTool", PATIENCE).success(), "formatting failed: see {dir:?}");
        }
        nodes.iter_mut().for_each(Node::start);
        nodes.iter_mut().for_each(Node::wait_for_port);
        let nodes = nodes.into_iter().map(Mutex::new).collect();
        Self { nodes, bootstrap: addresses(ports).join(","), proxy, listeners: further }
    }

    /// The address of a further listener.
    pub fn listener(&self, name: &str) -> String {
        format!("127.0.0.1:{}", self.listeners[name])
    }

    /// Where a broker keeps its files: its log among them.
    pub fn dir(&self, id: i32) -> PathBuf {
        self.node(id).dir.clone()
    }

    pub fn ids(&self) -> impl Iterator<Item = i32> + use<> {
        1..=self.nodes.len() as i32
    }

    /// `kill -9`.
    pub fn kill(&self, id: i32) {
        self.node(id).process = None;
    }

    /// SIGTERM, and gone when this returns.
    pub fn stop(&self, id: i32) {
        let mut node = self.node(id);
        if let Some(mut process) = node.process.take() {
            process.signal(libc::SIGTERM);
            process.wait("a broker", PATIENCE);
        }
    }

    /// None of its files may grow beyond this any more, until it is started anew.
    pub fn limit_files(&self, id: i32, bytes: u64) {
        self.node(id).process.as_ref().unwrap().limit_files(bytes);
    }

    /// Is it not running, whoever ended it?
    pub fn is_down(&self, id: i32) -> bool {
        self.node(id).process.as_mut().is_none_or(|process| process.ended().is_some())
    }

    /// Starts a broker that is down, and waits until it takes connections.
    pub fn up(&self, id: i32) {
        let down = self.is_down(id);
        let mut node = self.node(id);
        if down {
            node.start();
            node.wait_for_port();
        }
    }

    /// SIGSTOP: its connections stay, and nothing answers.
    pub fn freeze(&self, id: i32) {
        self.node(id).process.as_ref().unwrap().signal(libc::SIGSTOP);
    }

    /// SIGCONT; nothing happens to a broker that is not frozen.
    pub fn thaw(&self, id: i32) {
        if !self.is_down(id)
            && let Some(process) = &self.node(id).process
        {
            process.signal(libc::SIGCONT);
        }
    }

    fn node(&self, id: i32) -> MutexGuard<'_, Node> {
        self.nodes[id as usize - 1].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The three brokers, for as long as this test holds them.
pub struct Three {
    cluster: &'static Cluster,
    _turn: MutexGuard<'static, ()>,
}

impl std::ops::Deref for Three {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

impl Node {
    fn format(&self) -> Process {
        let mut arguments = vec!["kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw"];
        arguments.extend(self.format.iter().map(String::as_str));
        arguments.push("-c");
        self.java(&arguments)
    }

    fn start(&mut self) {
        self.process = Some(self.java(&["kafka.Kafka"]));
    }

    fn java(&self, arguments: &[&str]) -> Process {
        let log = File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let jars = kafka::jars().expect("require_kafka!() comes first");
        let mut java = Command::new("java");
        java.args(["-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        java.args(&self.java);
        java.arg(format!("-Dlog4j2.configurationFile={}", here("tests/kafka/log4j2.properties").display()));
        java.arg("-cp").arg(jars.join("*")).args(arguments).arg(self.dir.join("server.properties"));
        java.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Process::start(java)
    }

    fn wait_for_port(&mut self) {
        let (port, log) = (self.port, self.dir.join("log"));
        until("a broker to take connections", PATIENCE, || {
            if let Some(ended) = self.process.as_mut().and_then(Process::ended) {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("broker {} ended at start ({ended}):\n{log}", self.id);
            }
            TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(1)).is_ok()
        });
    }
}

fn listeners(
    port: u16,
    controller: u16,
    behind_proxy: u16,
    proxy: u16,
    further: &BTreeMap<String, u16>,
) -> String {
    let further: String = further.iter().map(|(name, port)| format!(",{name}://127.0.0.1:{port}")).collect();
    format!(
        "listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{behind_proxy},CONTROLLER://127.0.0.1:{controller}{further}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxy}{further}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
"
    )
}

fn properties(id: i32, brokers: i32, voters: &str, dir: &Path) -> String {
    let in_sync = if brokers > 1 { 2 } else { 1 };
    let data = dir.join("data");
    let data = data.display();
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={brokers}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={brokers}
offsets.topic.num.partitions=8
transaction.state.log.replication.factor={brokers}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=8
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor={brokers}
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.threads=1
log.cleaner.backoff.ms=100
log.cleaner.dedupe.buffer.size=4194304
log.initial.task.delay.ms=500
log.retention.check.interval.ms=500
"
    )
}
