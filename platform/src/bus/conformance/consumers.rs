//! Owning partitions, committing, failing and replaying.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Engine, Ledger, consumer, ready, record, records, step_until};
use crate::dead_letters::{self, DeadLetter, Filter};
use crate::testing::{SOON, eventually};

/// Longer than a lease.
const AFTER_LEASE: Duration = Duration::from_secs(4);

/// A consumer that dies between its work and its commit leaves nothing behind; another one does the
/// same records again, once.
pub async fn redelivery(engine: &impl Engine) {
    let bus = ready(engine).await;
    Ledger::prepare(engine.db()).await;
    bus.append(engine.topic().name, &records(&engine.db().cx(&[]), 1, 10)).await.expect("appended");
    let ledger = Arc::new(Ledger::default());
    let mut dying = consumer(engine, &bus, &ledger).await;
    ledger.halt();
    let death = tokio::spawn(async move { while dying.step().await.is_ok() {} });
    ledger.halted().await;
    death.abort();
    assert!(death.await.expect_err("killed").is_cancelled());
    assert_eq!(Ledger::effects(engine.db()).await, 0);

    engine.db().advance(AFTER_LEASE).await;
    let mut heir = consumer(engine, &bus, &ledger).await;
    step_until(&mut [&mut heir], async || Ledger::effects(engine.db()).await == 10).await;
    assert!(ledger.calls.load(Ordering::SeqCst) >= 2);
}

/// Two processes share the partitions; when one falls silent the other takes all, and every record
/// takes effect once and in order.
pub async fn takeover(engine: &impl Engine) {
    let bus = ready(engine).await;
    let topic = engine.topic();
    Ledger::prepare(engine.db()).await;
    let ledger = Arc::new(Ledger::default());
    let mut first = consumer(engine, &bus, &ledger).await;
    let mut second = consumer(engine, &engine.bus().await, &ledger).await;
    first.step().await.expect("it takes all there is");
    assert_eq!(first.partitions().len(), topic.partitions as usize);
    let half = topic.partitions as usize / 2;
    step_both_until_shared(&mut first, &mut second, half).await;

    let cx = engine.db().cx(&[]);
    bus.append(topic.name, &records(&cx, 16, 160)).await.expect("appended");
    step_until(&mut [&mut first, &mut second], async || Ledger::effects(engine.db()).await == 160).await;
    drop(first);
    engine.db().advance(AFTER_LEASE).await;
    let more: Vec<_> = (0..32).map(|i| record(&cx, &format!("key-{}", i % 16), 11 + i / 16, "ok")).collect();
    bus.append(topic.name, &more).await.expect("appended");
    step_until(&mut [&mut second], async || Ledger::effects(engine.db()).await == 192).await;
    assert_eq!(second.partitions().len(), topic.partitions as usize);
    assert_versions_in_order(Ledger::subjects_and_versions(engine.db()).await);
}

async fn step_both_until_shared(
    first: &mut crate::consumer::Consumer,
    second: &mut crate::consumer::Consumer,
    half: usize,
) {
    for _ in 0..100 {
        first.step().await.expect("a step");
        second.step().await.expect("a step");
        if first.partitions().len() == half && second.partitions().len() == half {
            let both = [first.partitions(), second.partitions()].concat();
            assert_eq!(both.len(), 2 * half);
            return;
        }
    }
    panic!("not shared: {:?} and {:?}", first.partitions(), second.partitions());
}

fn assert_versions_in_order(effects: Vec<(String, i64)>) {
    let mut last = std::collections::HashMap::new();
    for (subject, version) in effects {
        let expected = last.get(&subject).copied().unwrap_or(0) + 1;
        assert_eq!(version, expected, "{subject}");
        last.insert(subject, version);
    }
}

/// An owner that is paused inside of its transaction, past its lease, commits nothing when it wakes;
/// the one who took over has done it all.
pub async fn paused_owner(engine: &impl Engine) {
    let bus = ready(engine).await;
    Ledger::prepare(engine.db()).await;
    let (sleeper, heir) = (Arc::new(Ledger::default()), Arc::new(Ledger::default()));
    let mut paused = consumer(engine, &bus, &sleeper).await;
    let mut awake = consumer(engine, &engine.bus().await, &heir).await;
    paused.step().await.expect("it takes all there is");
    bus.append(engine.topic().name, &records(&engine.db().cx(&[]), 1, 5)).await.expect("appended");
    sleeper.halt();
    let losses = Arc::clone(&sleeper);
    // Not until it holds nothing: whoever lives takes its share again.
    let pause = tokio::spawn(async move {
        while losses.lost.lock().expect("no panic holds it").is_empty() {
            paused.step().await.expect("a lost partition is no error");
        }
        paused
    });
    sleeper.halted().await;
    // The halted transaction holds the rows it wrote: the heir takes the lease, but must wait for them.
    engine.db().advance(AFTER_LEASE).await;
    let taken = tokio::spawn(async move {
        while awake.partitions().is_empty() {
            awake.step().await.expect("a step");
        }
        awake
    });
    eventually(SOON, async || (heir.calls.load(Ordering::SeqCst) > 0).then_some(())).await;
    sleeper.go.notify_one();
    let mut awake = tokio::time::timeout(SOON, taken).await.expect("it takes them").expect("the heir lives");
    step_until(&mut [&mut awake], async || Ledger::effects(engine.db()).await == 5).await;
    let paused = tokio::time::timeout(SOON, pause).await.expect("it loses").expect("it lives");
    drop(paused);
    assert_eq!(Ledger::effects(engine.db()).await, 5);
}

/// A new process goes on where the last one stopped.
pub async fn resume(engine: &impl Engine) {
    let bus = ready(engine).await;
    Ledger::prepare(engine.db()).await;
    let cx = engine.db().cx(&[]);
    for round in 1..=3 {
        bus.append(engine.topic().name, &records(&cx, 5, 20)).await.expect("appended");
        let ledger = Arc::new(Ledger::default());
        let mut consumer = consumer(engine, &engine.bus().await, &ledger).await;
        step_until(&mut [&mut consumer], async || Ledger::effects(engine.db()).await == 20 * round).await;
        assert!(ledger.told.load(Ordering::SeqCst) <= 20, "only what was new");
        engine.db().advance(AFTER_LEASE).await;
    }
}

/// One bad record among many: the others take effect in order, it alone goes to the dead letters, and
/// a replay applies it through the same handler.
pub async fn poison(engine: &impl Engine) {
    let bus = ready(engine).await;
    Ledger::prepare(engine.db()).await;
    let cx = engine.db().cx(&[]);
    let mut batch: Vec<_> = (1..=40).map(|i| record(&cx, "key", i, "ok")).collect();
    batch[17] = record(&cx, "key", 18, "poison");
    bus.append(engine.topic().name, &batch).await.expect("appended");
    let ledger = Arc::new(Ledger::default());
    let mut consumer = consumer(engine, &bus, &ledger).await;
    step_until(&mut [&mut consumer], async || Ledger::effects(engine.db()).await == 39).await;
    let versions: Vec<i64> =
        Ledger::subjects_and_versions(engine.db()).await.into_iter().map(|(_, v)| v).collect();
    assert_eq!(versions, (1..=40).filter(|v| *v != 18).collect::<Vec<_>>());

    let letter = only_letter(engine, &cx).await;
    assert_eq!(letter.event_id, batch[17].envelope.id);
    assert_eq!(letter.delivered().record, batch[17]);
    assert_eq!((letter.error_code.as_str(), letter.state.as_str()), ("poison", "dead"));

    request_replay(engine, &cx, &letter).await;
    step_until(&mut [&mut consumer], async || only_letter(engine, &cx).await.state == "dead").await;
    assert_eq!(only_letter(engine, &cx).await.attempts, letter.attempts + 1, "still poison");

    ledger.heal();
    request_replay(engine, &cx, &letter).await;
    step_until(&mut [&mut consumer], async || only_letter(engine, &cx).await.state == "replayed").await;
    assert_eq!(Ledger::effects(engine.db()).await, 40);
}

async fn only_letter(engine: &impl Engine, cx: &crate::ctx::Ctx) -> DeadLetter {
    let bus_db = engine.db().db("bus");
    let letters = crate::tx!(bus_db, cx, |conn| {
        dead_letters::list(conn, cx.org, &Filter::default(), None, 10).await
    });
    let mut letters = letters.expect("the list");
    assert_eq!(letters.len(), 1, "one dead letter");
    letters.remove(0)
}

async fn request_replay(engine: &impl Engine, cx: &crate::ctx::Ctx, letter: &DeadLetter) {
    let bus_db = engine.db().db("bus");
    let requested = crate::tx!(bus_db, cx, |conn| dead_letters::request_replay(cx, conn, letter.id).await);
    assert_eq!(requested.expect("asked").state, "replay");
}

/// While something is away nothing is buried and nothing is skipped; when it is back, all takes
/// effect in order.
pub async fn outage(engine: &impl Engine) {
    let bus = ready(engine).await;
    Ledger::prepare(engine.db()).await;
    let cx = engine.db().cx(&[]);
    let mut batch: Vec<_> = (1..=10).map(|i| record(&cx, "key", i, "ok")).collect();
    batch[4] = record(&cx, "key", 5, "away");
    bus.append(engine.topic().name, &batch).await.expect("appended");
    let ledger = Arc::new(Ledger::default());
    let mut consumer = consumer(engine, &bus, &ledger).await;
    step_until(&mut [&mut consumer], async || ledger.calls.load(Ordering::SeqCst) >= 6).await;
    assert!(Ledger::effects(engine.db()).await <= 4, "nothing overtakes what is away");
    ledger.heal();
    step_until(&mut [&mut consumer], async || Ledger::effects(engine.db()).await == 10).await;
    assert_versions_in_order(Ledger::subjects_and_versions(engine.db()).await);
}

/// A partition whose position belongs to another log, or lies outside of it, is left aside with an
/// error; nothing is reset.
pub async fn other_log(engine: &impl Engine) {
    let bus = ready(engine).await;
    Ledger::prepare(engine.db()).await;
    let ledger = Arc::new(Ledger::default());
    let mut stopped = consumer(engine, &bus, &ledger).await;
    let admin = engine.db().admin().await;
    for (change, code) in
        [("log_id = gen_random_uuid()", "log_mismatch"), ("next = 1000", "position_beyond_end")]
    {
        let before =
            admin.query("SELECT * FROM pulseops_bare.positions", &[]).await.expect("positions").len();
        admin
            .batch_execute(&format!(
                "CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM pulseops_bare.positions;
                 UPDATE pulseops_bare.positions SET {change}, owner = NULL"
            ))
            .await
            .expect("changed");
        stopped.step().await.expect("a step");
        assert!(stopped.partitions().is_empty());
        let misfits = stopped.misfits();
        assert_eq!(misfits.len(), before);
        assert!(misfits.iter().all(|(_, error)| error.code == code && !error.is_retryable()), "{misfits:?}");
        let after = format!(
            "SELECT * FROM pulseops_bare.positions WHERE {}",
            match code {
                "log_mismatch" => "next = 0",
                _ => "next = 1000",
            }
        );
        assert_eq!(admin.query(&after, &[]).await.expect("positions").len(), before, "nothing is reset");
        admin
            .batch_execute("UPDATE pulseops_bare.positions p SET log_id = k.log_id, next = k.next, owner = NULL FROM kept k WHERE p.partition = k.partition")
            .await
            .expect("restored");
    }
    stopped.step().await.expect("a step");
    assert_eq!(
        (stopped.partitions().len(), stopped.misfits().len()),
        (engine.topic().partitions as usize, 0)
    );
}
