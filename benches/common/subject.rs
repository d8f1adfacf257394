//! One model in a process of its own, so that nobody's threads or memory are another one's. The bench starts
//! itself again as that process, and tells it through its standard input what to run.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Barrier, Mutex};
use std::time::Instant;

use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;
use serde::{Deserialize, Serialize};
use squeezeflow::config::settings::{Model, Provider, ProviderKind};
use squeezeflow::model::{self, Infer};
use squeezeflow::text::Tokens;

use super::report;

/// The first argument of a process that is a subject.
pub const VERB: &str = "--subject";

/// What a subject is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// For tables.
    pub name: String,
    /// A package.
    pub path: PathBuf,
    /// Others that run with it as one graph.
    pub with: Vec<PathBuf>,
    pub sessions: usize,
    pub threads: usize,
    /// ONNX Runtime alone with its own defaults, as people run an export: nothing of ours around it.
    pub plain: bool,
    /// Computes no padding.
    pub packed: bool,
}

impl Spec {
    /// A stock export in one session on all cores.
    pub fn stock(name: &str, path: &Path) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            with: Vec::new(),
            sessions: 1,
            threads,
            plain: true,
            packed: false,
        }
    }

    /// A package as the worker runs it: a session of one thread for each core.
    pub fn ours(name: &str, path: &Path, packed: bool) -> Self {
        let sessions = std::thread::available_parallelism().map_or(1, usize::from);
        let path = path.to_owned();
        Self { name: name.to_owned(), path, with: Vec::new(), sessions, threads: 1, plain: false, packed }
    }
}

/// Batches to run: sequences of these tokens.
pub type Batches = Vec<Vec<Vec<u32>>>;

/// What it took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Took {
    pub seconds: f64,
    /// Processor time of the whole process.
    pub cpu: f64,
    /// The most memory that it ever had resident, in bytes.
    pub memory: u64,
}

/// A subject that runs.
pub struct Subject {
    pub spec: Spec,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Subject {
    /// Starts it and waits until it is warm.
    pub fn start(spec: Spec) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(VERB).arg(serde_json::to_string(&spec).unwrap());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut subject = Self { spec, child, to, from };
        assert_eq!(subject.answer(), "warm", "{} does not start", subject.spec.name);
        subject
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Runs all batches once.
    pub fn run(&mut self, batches: &Batches) -> Took {
        writeln!(self.to, "{}", serde_json::to_string(batches).unwrap()).unwrap();
        let answer = self.answer();
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{} has ended", self.spec.name))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the process of a subject: serves its bench until that closes its standard input. `None`: this is the
/// bench itself.
pub fn serve() -> Option<()> {
    let mut arguments = std::env::args().skip_while(|argument| argument != VERB);
    let spec: Spec = serde_json::from_str(&arguments.nth(1)?).expect("a spec");
    let mut sessions = sessions(&spec);
    println!("warm");
    for line in std::io::stdin().lines() {
        let batches: Batches = serde_json::from_str(&line.unwrap()).unwrap();
        let took = run(&mut sessions, batches);
        println!("{}", serde_json::to_string(&took).unwrap());
    }
    Some(())
}

fn sessions(spec: &Spec) -> Vec<Box<dyn Infer>> {
    if spec.plain {
        let environment = ort::init_from(report::library()).unwrap().with_telemetry(false).build().unwrap();
        let graph = ["model.onnx", "onnx/model.onnx"]
            .map(|name| spec.path.join(name))
            .into_iter()
            .find(|p| p.exists());
        let session = |_| {
            let builder = Session::builder(&environment).unwrap().with_intra_threads(spec.threads).unwrap();
            // ort leaves the arena off; ONNX Runtime's own default is on.
            let cpu = ort::ep::CPU::default().with_arena_allocator(true).build();
            let builder = builder.with_execution_providers([cpu]).unwrap();
            let session = { builder }.commit_from_file(graph.as_ref().expect("a graph")).unwrap();
            Box::new(Plain { session }) as Box<dyn Infer>
        };
        // Dropped, it would take the library's threads with it.
        let sessions = (0..spec.sessions).map(session).collect();
        std::mem::forget(environment);
        return sessions;
    }
    let paths = std::iter::once(&spec.path).chain(&spec.with);
    let settings: Vec<Model> = paths.map(|path| settings(path, spec.sessions, spec.threads)).collect();
    let [alone] = settings.as_slice() else {
        let opened: Vec<_> = settings.iter().map(|one| of(spec, model::open(one))).collect();
        let heads: Vec<_> = opened.iter().map(|one| (one, one.package.reads().unwrap())).collect();
        let mut together = of(spec, model::warm_together(&heads));
        let one = together.pop().filter(|one| one.places.len() == heads.len());
        return one.expect("they have an encoder in common").loaded.sessions;
    };
    of(spec, model::load(alone)).sessions
}

fn of<T>(spec: &Spec, loaded: Result<T, model::ModelError>) -> T {
    loaded.unwrap_or_else(|error| panic!("{}: {error}", spec.name))
}

/// A package on the CPU.
pub fn settings(package: &Path, sessions: usize, threads: usize) -> Model {
    let count = |n: usize| NonZeroUsize::new(n).unwrap();
    Model {
        path: package.to_owned(),
        provider: Provider { kind: ProviderKind::Cpu, options: BTreeMap::new() },
        fallback: Vec::new(),
        sessions: count(sessions),
        threads: count(threads),
        library: None,
        max_length: None,
    }
}

/// A stock export the way its users call it: three padded tensors in, logits out.
struct Plain {
    session: Session,
}

impl Infer for Plain {
    fn infer(&mut self, batch: &[&Tokens]) -> Result<Vec<model::Output>, model::InferError> {
        let width = batch.iter().map(|t| t.ids.len()).max().unwrap_or(0);
        let shape = [batch.len(), width];
        let padded = |of: &dyn Fn(Option<&u32>) -> i64| -> Vec<i64> {
            batch.iter().flat_map(|t| (0..width).map(|i| of(t.ids.get(i)))).collect()
        };
        let ids = padded(&|id| id.map_or(0, |id| i64::from(*id)));
        let mask = padded(&|id| i64::from(id.is_some()));
        let types = vec![0_i64; batch.len() * width];
        let inputs = self.session.inputs().iter().map(|input| {
            let values = match input.name() {
                "input_ids" => &ids,
                "attention_mask" => &mask,
                _ => &types,
            };
            let value = TensorRef::from_array_view((shape, values.as_slice())).unwrap();
            (Cow::from(input.name().to_owned()), SessionInputValue::from(value))
        });
        let inputs: Vec<_> = inputs.collect();
        let outputs = self.session.run(inputs).unwrap();
        let (_, logits) = outputs["logits"].try_extract_tensor::<f32>().unwrap();
        let labels = logits.len() / batch.len();
        Ok(logits.chunks_exact(labels).map(|row| model::Output { logits: row.to_vec() }).collect())
    }
}

/// Every session takes the next batch as soon as it is free.
fn run(sessions: &mut [Box<dyn Infer>], batches: Batches) -> Took {
    let tokens = |ids: Vec<u32>| Tokens::new(ids.clone(), ids.len());
    let batches: VecDeque<Vec<Tokens>> =
        batches.into_iter().map(|b| b.into_iter().map(tokens).collect()).collect();
    let batches = Mutex::new(batches);
    let start = Barrier::new(sessions.len() + 1);
    let (mut cpu, mut began) = (0.0, Instant::now());
    std::thread::scope(|scope| {
        for session in sessions {
            scope.spawn(|| {
                start.wait();
                loop {
                    let Some(batch) = batches.lock().unwrap().pop_front() else { return };
                    let batch: Vec<&Tokens> = batch.iter().collect();
                    let outputs = session.infer(&batch).unwrap();
                    assert!(outputs.len() == batch.len() && outputs.iter().all(model::Output::is_finite));
                }
            });
        }
        (cpu, began) = (cpu_seconds(), Instant::now());
        start.wait();
    });
    Took { seconds: began.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu, memory: peak_memory() }
}

fn cpu_seconds() -> f64 {
    // SAFETY: `usage` is plain data that the call fills in; it keeps no pointer.
    #[allow(unsafe_code, reason = "/proc counts in hundredths of a second, too coarse here")]
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
