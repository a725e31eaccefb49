//! Stages end in order; a task that ends early ends all.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use platform::error::{Error, Result};
use platform::lifecycle::{Failure, Lifecycle, Stage};

type Log = Arc<Mutex<Vec<&'static str>>>;

fn task(life: &Lifecycle, log: &Log, stage: Stage, name: &'static str) {
    let log = log.clone();
    life.spawn(stage, name, async move |token| {
        token.cancelled().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
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
