//! Stages end in order; a task that ends early ends all.

use std::future::pending;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use platform::error::{Error, Result};
use platform::lifecycle::{Failure, Lifecycle, Stage};
use platform::testing::{SOON, eventually};

type Log = Arc<Mutex<Vec<&'static str>>>;

fn task(life: &Lifecycle, log: &Log, stage: Stage, name: &'static str) {
    let log = log.clone();
    life.spawn(stage, name, async move |token| {
        token.cancelled().await;
        // It ends, but not at once: a stage that did not wait would come first.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        log.lock().expect("not poisoned").push(name);
        Ok::<_, Error>(())
    });
}

#[tokio::test]
async fn stages_end_in_order() {
    let (life, log) = (Lifecycle::new(), Log::default());
    task(&life, &log, Stage::Pool, "pool");
    task(&life, &log, Stage::Consumers, "consumer");
    task(&life, &log, Stage::Listeners, "listener");
    task(&life, &log, Stage::Relay, "relay");
    task(&life, &log, Stage::Drivers, "driver");
    life.set_ready();
    let ready = life.readiness();
    assert!(*ready.borrow());
    life.shutdown();
    life.run_until_shutdown().await.expect("clean");
    assert!(!*ready.borrow());
    assert_eq!(*log.lock().expect("not poisoned"), ["listener", "consumer", "driver", "relay", "pool"]);
}

#[tokio::test]
async fn a_task_that_ends_early_fails_the_process_and_the_others_end_in_order() {
    for (why, expected) in [(0, "it returned"), (1, "gone: it broke"), (2, "panicked")] {
        let (life, log) = (Lifecycle::new(), Log::default());
        task(&life, &log, Stage::Pool, "pool");
        life.spawn(Stage::Drivers, "driver", move |_| async move {
            assert!(why != 2, "on purpose");
            if why == 0 { Ok(()) } else { Err(Error::conflict("gone", "it broke")) }
        });
        let failure = life.run_until_shutdown().await.expect_err("it failed");
        let Failure::EndedEarly { task, reason } = failure else { panic!("{failure}") };
        assert_eq!(task, "driver");
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(*log.lock().expect("not poisoned"), ["pool"]);
    }
}

#[tokio::test]
async fn an_error_while_shutting_down_is_told() {
    let life = Lifecycle::new();
    life.spawn(Stage::Relay, "relay", async |token| {
        token.cancelled().await;
        Err::<(), _>(Error::conflict("lost", "the flush failed"))
    });
    let failure = life.stop().await.expect_err("told");
    assert!(failure.to_string().contains("the flush failed"), "{failure}");
}

#[tokio::test]
async fn a_task_may_spawn_another_of_its_stage_while_it_ends() {
    let (life, log) = (Lifecycle::new(), Log::default());
    let (again, seen) = (life.clone(), log.clone());
    life.spawn(Stage::Listeners, "first", async move |token| {
        token.cancelled().await;
        task(&again, &seen, Stage::Listeners, "second");
        Ok::<_, Error>(())
    });
    life.stop().await.expect("clean");
    assert_eq!(*log.lock().expect("not poisoned"), ["second"]);
}

#[tokio::test]
async fn who_does_not_end_in_time_is_aborted() {
    let life = Lifecycle::with_patience(Duration::from_millis(50));
    life.spawn(Stage::Consumers, "stubborn", |_| pending::<Result<()>>());
    let failure = life.stop().await.expect_err("not clean");
    assert_eq!(failure, Failure::Aborted { tasks: vec!["stubborn".to_owned()] });
}

/// What the other process of the test below does: without the second signal it would end much later.
async fn end_at_the_second_signal(dir: &Path) {
    let life = Lifecycle::with_patience(4 * SOON);
    life.spawn(Stage::Consumers, "stubborn", |_| pending::<Result<()>>());
    let told = dir.join("ending");
    life.spawn(Stage::Listeners, "listener", async move |token| {
        token.cancelled().await;
        std::fs::write(told, "").map_err(Error::internal)
    });
    let failure = life.run_until_shutdown().await.expect_err("not clean");
    assert_eq!(failure, Failure::Aborted { tasks: vec!["stubborn".to_owned()] });
}

/// Whether the process has its own way with SIGTERM, which would end it otherwise.
fn catches_sigterm(pid: u32) -> Option<()> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    let mask = u64::from_str_radix(caught.trim(), 16).ok()?;
    (mask & (1 << (Signal::SIGTERM as u32 - 1)) != 0).then_some(())
}

/// The file in its folder that makes this test's second process what it is.
const OTHER: &str = "be the other process";

#[tokio::test]
async fn a_second_signal_makes_it_hard() {
    let here = std::fs::read_link("/proc/self/cwd").expect("a folder");
    if here.join(OTHER).exists() {
        return end_at_the_second_signal(&here).await;
    }
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join(OTHER), "").expect("a file");
    let mut other = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "lifecycle::a_second_signal_makes_it_hard"])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let pid = Pid::from_raw(other.id().cast_signed());
    eventually(SOON, async || catches_sigterm(other.id())).await;
    kill(pid, Signal::SIGTERM).expect("sent");
    eventually(SOON, async || dir.path().join("ending").exists().then_some(())).await;
    assert!(other.try_wait().expect("asked").is_none(), "one signal waits for what is under way");
    kill(pid, Signal::SIGTERM).expect("sent");
    let status = eventually(SOON, || std::future::ready(other.try_wait().expect("asked"))).await;
    assert!(status.success(), "{status}");
}
