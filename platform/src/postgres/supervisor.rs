//! One thread that starts the server, watches it and starts it again. The thread must live as long
//! as the server: the kernel sends the parent-death signal when the *thread* that spawned ends.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::Flock;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpid, getppid};
use tokio::sync::watch;

use super::{Cluster, failed};
use crate::error::{Error, Result};

/// How long the first start may take, recovery after a crash included.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a fast shutdown may take before it becomes an immediate one.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The thread's handle.
pub(super) struct Supervisor(Arc<Shared>);

struct Shared {
    /// The running server; cleared before its number can be given to another process.
    pid: Mutex<Option<Pid>>,
    stopping: AtomicBool,
    state: watch::Sender<State>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Failed(String),
    Stopped,
}

impl Supervisor {
    /// Starts the thread; `lock` is held until it ends.
    pub(super) fn start(cluster: Cluster, lock: Flock<File>) -> Result<Self> {
        let shared = Arc::new(Shared {
            pid: Mutex::new(None),
            stopping: AtomicBool::new(false),
            state: watch::Sender::new(State::Starting),
        });
        let of_thread = shared.clone();
        std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || {
                let end = of_thread.run(&cluster);
                // Before it is told: whoever hears it may start again at once.
                drop(lock);
                of_thread.state.send_replace(end);
            })
            .map_err(Error::internal)?;
        Ok(Self(shared))
    }

    /// Waits until the server takes connections.
    pub(super) async fn ready(&self) -> Result<()> {
        let mut state = self.0.state.subscribe();
        let state = state.wait_for(|state| *state != State::Starting).await;
        match state.as_deref() {
            Ok(State::Ready) => Ok(()),
            Ok(State::Failed(why)) => Err(failed(why.clone())),
            _ => Err(failed("stopped while it was starting")),
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.0.pid().and_then(|pid| u32::try_from(pid.as_raw()).ok())
    }

    /// Fast shutdown, immediate after a while; returns when the server has ended.
    pub(super) async fn stop(&self) {
        let mut state = self.0.state.subscribe();
        self.0.ask_to_end(Signal::SIGINT);
        let ended = |state: &State| matches!(state, State::Stopped | State::Failed(_));
        if tokio::time::timeout(STOP_PATIENCE, state.wait_for(ended)).await.is_err() {
            tracing::warn!("Postgres takes long to stop: stopping it at once");
            self.0.ask_to_end(Signal::SIGQUIT);
            // The sender lives in `self`, so the only other answer is the awaited one.
            let _ = state.wait_for(ended).await;
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.0.ask_to_end(Signal::SIGINT);
    }
}

impl Shared {
    /// Runs the server until it is to end or cannot start; returns which.
    fn run(&self, cluster: &Cluster) -> State {
        let (started, log) = (Instant::now(), cluster.log_end());
        let mut pause = Duration::from_millis(50);
        while !self.stopping.load(Ordering::Acquire) {
            cluster.end_orphan();
            match self.run_once(cluster) {
                Ok(()) => pause = Duration::from_millis(50),
                Err(error) if *self.state.borrow() == State::Starting => {
                    if started.elapsed() > START_PATIENCE || !worth_retrying(&cluster.log_tail(log)) {
                        let why = format!("{error}\n{}", cluster.log_tail(log));
                        return State::Failed(why);
                    }
                }
                Err(error) => tracing::error!(%error, log = cluster.log_tail(log), "Postgres ended"),
            }
            if !self.stopping.load(Ordering::Acquire) {
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        State::Stopped
    }

    /// One life of the server: `Ok` when it has been ready.
    fn run_once(&self, cluster: &Cluster) -> std::io::Result<()> {
        let mut child = spawn(cluster)?;
        let pid = Pid::from_raw(child.id().cast_signed());
        *self.lock() = Some(pid);
        if self.stopping.load(Ordering::Acquire) {
            self.ask_to_end(Signal::SIGINT);
        }
        let ready = self.wait_until_ready(cluster, pid);
        if ready {
            tracing::info!(%pid, dir = %cluster.dir().display(), "Postgres is ready");
            self.state.send_replace(State::Ready);
        }
        // Waits without reaping, so that `pid` stays ours until nobody can signal it any more.
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        *self.lock() = None;
        let status = child.wait()?;
        match ready {
            true if self.stopping.load(Ordering::Acquire) => Ok(()),
            true => {
                tracing::error!(%status, "Postgres ended unexpectedly and is started again");
                Ok(())
            }
            false => Err(std::io::Error::other(format!("Postgres ended while starting: {status}"))),
        }
    }

    fn wait_until_ready(&self, cluster: &Cluster, pid: Pid) -> bool {
        loop {
            if cluster.running() == Some(pid) && cluster.is_ready() {
                return true;
            }
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
            match waitid(Id::Pid(pid), flags) {
                Ok(nix::sys::wait::WaitStatus::StillAlive) => std::thread::sleep(POLL),
                _ => return false,
            }
        }
    }

    fn ask_to_end(&self, signal: Signal) {
        self.stopping.store(true, Ordering::Release);
        if let Some(pid) = *self.lock() {
            // Held under the lock, so the number is still the server's.
            let _ = kill(pid, signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After a killed postmaster its children hold the shared memory for a moment; anything else that
/// fails at once will fail again.
fn worth_retrying(tail: &str) -> bool {
    ["shared memory block", "lock file", "is starting up", "recovery"].iter().any(|why| tail.contains(why))
}

fn spawn(cluster: &Cluster) -> std::io::Result<Child> {
    let mut command = cluster.server().map_err(std::io::Error::other)?;
    let parent = getpid();
    // A group of its own: Ctrl-C in the terminal is for us, and we stop it last.
    command.process_group(0);
    let die_with_parent = move || {
        prctl::set_pdeathsig(Signal::SIGINT)?;
        // The parent may have died before the line above.
        if getppid() == parent { Ok(()) } else { Err(std::io::ErrorKind::Interrupted.into()) }
    };
    // SAFETY: between fork and exec only the async-signal-safe calls prctl and getppid are made,
    // and nothing is allocated. std runs this after it has changed the user id, which clears the
    // parent-death signal.
    unsafe { command.pre_exec(die_with_parent) };
    command.spawn()
}
