//! Records that cannot be applied, and those that are replayed.

use std::sync::Arc;

use platform::bus::conformance::Ledger;
use platform::dead_letters::{self, Filter};
use platform::failpoint;

use super::{World, step_until};

#[tokio::test]
async fn our_own_faults_get_five_tries() {
    let world = World::new().await;
    for bad in ["broken", "panic"] {
        world.append(&[("a", 0, "ok"), ("a", 0, bad), ("a", 0, "ok")]).await;
    }
    let ledger = Arc::new(Ledger::default());
    let mut consumer = world.consumer("tries", Arc::clone(&ledger) as _).await;
    step_until(&mut consumer, async || Ledger::effects(&world.db).await == 4).await;
    let letters = world.letters().await;
    let seen: Vec<_> = letters.iter().map(|l| (l.error_code.as_str(), l.attempts)).collect();
    assert_eq!(seen, [("internal", 5), ("internal", 5)]);
    for letter in letters {
        assert!(!letter.error_detail.contains("us"), "tenants read it: {}", letter.error_detail);
    }
}

#[tokio::test]
async fn dead_letters_are_their_organizations() {
    let world = World::new().await;
    world.append(&[("a", 1, "poison")]).await;
    let mut consumer = world.consumer("letters", Arc::new(Ledger::default())).await;
    step_until(&mut consumer, async || world.letters().await.len() == 1).await;
    let letter = world.letters().await.remove(0);
    let bus = world.db.db("bus");
    let stranger = world.db.cx(&[]);
    let seen = platform::tx!(bus, &stranger, |conn| dead_letters::get(conn, stranger.org, letter.id).await);
    assert_eq!(seen.expect_err("another tenant's").code, "not_found");
    // Row-level security alone, with the code's own filter asking for the other organization.
    let seen = platform::tx!(bus, &stranger, |conn| dead_letters::get(conn, world.cx.org, letter.id).await);
    assert_eq!(seen.expect_err("another tenant's").code, "not_found");
    let stale = world.cx.clone().with_if_match(7);
    let asked =
        platform::tx!(bus, &stale, |conn| dead_letters::request_replay(&stale, conn, letter.id).await);
    assert_eq!(asked.expect_err("stale").code, "version_mismatch");
    let filter = Filter { consumers: vec!["other".to_owned()], ..Filter::default() };
    let none = platform::tx!(bus, &world.cx, |conn| {
        dead_letters::list(conn, world.cx.org, &filter, None, 10).await
    });
    assert!(none.expect("the list").is_empty());
    let page = platform::tx!(bus, &world.cx, |conn| {
        dead_letters::list(conn, world.cx.org, &Filter::default(), Some(letter.id), 10).await
    });
    assert!(page.expect("the list").is_empty(), "nothing behind the last");
}

#[tokio::test]
async fn a_replay_whose_commit_is_in_doubt_counts_once_and_forgets() {
    let world = World::new().await;
    let ledger = Arc::new(Ledger::default());
    let mut consumer = world.consumer("replay_doubts", Arc::clone(&ledger) as _).await;
    world.append(&[("a", 1, "poison")]).await;
    step_until(&mut consumer, async || world.letters().await.len() == 1).await;
    let letter = world.letters().await.remove(0);
    ledger.heal();
    let _after = failpoint::set("replay.after_commit.replay_doubts", "1*error");
    let bus = world.db.db("bus");
    platform::tx!(bus, &world.cx, |conn| { dead_letters::request_replay(&world.cx, conn, letter.id).await })
        .expect("asked");
    step_until(&mut consumer, async || world.letters().await[0].state == "replayed").await;
    assert_eq!(Ledger::effects(&world.db).await, 1);
    let lost = ledger.lost.lock().expect("no panic holds it").clone();
    assert!(lost.contains(&letter.partition), "what memory holds of it may be old: {lost:?}");
    world.append(&[("a", 2, "ok")]).await;
    step_until(&mut consumer, async || Ledger::effects(&world.db).await == 2).await;
}

#[tokio::test]
async fn a_replay_that_must_wait_holds_up_nobody() {
    let world = World::new().await;
    let ledger = Arc::new(Ledger::default());
    let mut consumer = world.consumer("waits", Arc::clone(&ledger) as _).await;
    world.append(&[("a", 1, "poison")]).await;
    step_until(&mut consumer, async || world.letters().await.len() == 1).await;
    let letter = world.letters().await.remove(0);
    world.execute("UPDATE pulseops_bus.dead_letters SET data = 'away', state = 'replay'").await;
    world.append(&[("a", 2, "ok")]).await;
    step_until(&mut consumer, async || Ledger::effects(&world.db).await == 1).await;
    assert_eq!(world.letters().await[0].state, "replay");
    ledger.heal();
    step_until(&mut consumer, async || world.letters().await[0].state == "replayed").await;
    assert_eq!(Ledger::effects(&world.db).await, 2);
    let again = {
        let bus = world.db.db("bus");
        platform::tx!(bus, &world.cx, |conn| {
            dead_letters::request_replay(&world.cx, conn, letter.id).await
        })
    };
    assert_eq!(again.expect_err("done").code, "already_replayed");
}
