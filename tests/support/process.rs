//! Child processes that never outlive the tests, however these end: each is killed when its
//! [`Process`] is dropped, when the test process exits, and (by the kernel) when it is killed.

#![allow(unsafe_code)] // prctl, kill and atexit have no safe form in std.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::wait::until_some;

/// A running child.
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    pub fn start(command: Command) -> Self {
        let child = keeper_spawn(command);
        at_exit().lock().unwrap().pids.insert(child.id());
        Self { child, ended: None }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: i32) {
        assert!(self.ended.is_none(), "the process has ended already");
        kill(self.pid(), signal);
    }

    /// No file that it writes may grow beyond this: what a full disk is to it.
    pub fn limit_files(&self, bytes: u64) {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: `limit` outlives the call, and no old limit is asked for. The pid is our child's.
        let code = unsafe {
            libc::prlimit(self.pid() as libc::pid_t, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut())
        };
        assert_eq!(code, 0, "{}", io::Error::last_os_error());
    }

    /// What it writes to standard error, where that is a pipe; once.
    pub fn stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            kill(self.pid(), libc::SIGKILL);
            self.ended = Some(self.child.wait().unwrap());
            self.forget();
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
            if self.ended.is_some() {
                self.forget();
            }
        }
        self.ended
    }

    /// Its number may soon be another's.
    fn forget(&self) {
        at_exit().lock().unwrap().pids.remove(&self.pid());
    }

    #[track_caller]
    pub fn wait(&mut self, what: &str, patience: Duration) -> ExitStatus {
        until_some(&format!("{what} to end"), patience, || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: no memory is involved. The pid is our unreaped child's, so it is not another's.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// The kernel sends the death signal when the *thread* that started the child ends, and each test
/// is a thread. So one thread starts all children, and lives as long as the process.
fn keeper_spawn(command: Command) -> Child {
    type Order = (Command, Sender<io::Result<Child>>);
    static KEEPER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, todo) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in todo {
                let parent = std::process::id();
                // SAFETY: only async-signal-safe calls between fork and exec.
                unsafe {
                    command.pre_exec(move || {
                        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                        if libc::getppid() as u32 == parent {
                            Ok(())
                        } else {
                            Err(io::ErrorKind::Other.into())
                        }
                    });
                }
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let name = command.get_program().to_owned();
    let (answer, child) = channel();
    keeper.lock().unwrap().send((command, answer)).unwrap();
    child.recv().unwrap().unwrap_or_else(|e| panic!("cannot start {name:?}: {e}"))
}

/// What is done when the test process ends. Statics are never dropped, and the shared brokers are
/// in one.
#[derive(Default)]
struct AtExit {
    pids: BTreeSet<u32>,
    dirs: Vec<PathBuf>,
    words: Vec<Box<dyn Fn() -> String + Send>>,
}

fn at_exit() -> &'static Mutex<AtExit> {
    static LIST: OnceLock<Mutex<AtExit>> = OnceLock::new();
    extern "C" fn clean() {
        let Ok(list) = at_exit().lock() else { return };
        list.pids.iter().for_each(|pid| kill(*pid, libc::SIGKILL));
        for dir in &list.dirs {
            // A killed broker may still be writing for a moment.
            for _ in 0..20 {
                match std::fs::remove_dir_all(dir) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        std::thread::sleep(Duration::from_millis(50))
                    }
                    _ => break,
                }
            }
        }
        list.words.iter().for_each(|words| super::kafka::aloud(&words()));
    }
    LIST.get_or_init(|| {
        // SAFETY: `clean` is a plain function that does not unwind.
        unsafe { libc::atexit(clean) };
        Mutex::default()
    })
}

/// Says something at the very end of the test process.
pub fn last_words(words: impl Fn() -> String + Send + 'static) {
    at_exit().lock().unwrap().words.push(Box::new(words));
}

/// A fresh directory that is gone when the test process ends. What a killed test process left
/// behind is removed by the next one.
pub fn scratch(name: &str) -> PathBuf {
    static SWEPT: OnceLock<()> = OnceLock::new();
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    SWEPT.get_or_init(|| {
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let owner = name.strip_prefix("e2e-").and_then(|n| n.split('-').next());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    });
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = root.join(format!("e2e-{}-{number}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    at_exit().lock().unwrap().dirs.push(dir.clone());
    dir
}
