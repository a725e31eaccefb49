//! What the bus refuses: it waits, what comes after it in its aggregate waits behind it, all else goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use platform::bus::{Bus, Pick, TopicSpec};
use platform::outbox::Message;
use platform::testing::{SOON, eventually};
use tokio_util::sync::CancellationToken;

use super::{FIRST, World, append, message, step_until_idle};

/// No bus has these topics, at first.
static NOWHERE: TopicSpec = topic("pulseops.nowhere.v1");
static LATER: TopicSpec = topic("pulseops.later.v1");

const fn topic(name: &'static str) -> TopicSpec {
    TopicSpec { name, partitions: 1, retention: Duration::from_secs(3600) }
}

impl World {
    /// Writes these (topic, subject, version), each in a transaction of its own; returns their ids.
    async fn write(&self, events: &[(&'static TopicSpec, &str, i64)]) -> Vec<i64> {
        let (db, cx) = (self.db.db("bare"), self.db.cx(&[]));
        for (topic, subject, version) in events {
            let event: Message = message(&cx, topic, subject, *version);
            append(&db, &cx, &[event]).await.expect("written");
        }
        let mut ids = self.ids("true").await;
        ids.split_off(ids.len() - events.len())
    }

    /// A new relay, whose first look is a full one, moves what it can.
    async fn relay_afresh(&self) {
        step_until_idle(&mut self.relay(&self.db.db("bare"))).await;
    }

    async fn ids(&self, condition: &str) -> Vec<i64> {
        let ids = format!("SELECT id FROM pulseops_bare.outbox WHERE {condition} ORDER BY id");
        let rows = self.db.admin().await.query(&ids, &[]).await.expect("the outbox");
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn relay_one(&self, pick: Pick) -> (i64, Option<i64>) {
        let relayed = self.bus.relay(&self.db.db("bare"), pick).await.expect("relayed");
        (relayed.rows, relayed.last_id)
    }

    /// Which versions of `subject` stand in the log of [`FIRST`], where there are `count` in all.
    async fn versions(&self, subject: &str, count: usize) -> Vec<i64> {
        let records = self.read(&FIRST, count).await.into_iter().map(|it| it.record.envelope);
        records.filter(|it| it.subject == subject).map(|it| it.version).collect()
    }
}

#[tokio::test]
async fn an_event_that_the_bus_refuses_holds_its_aggregate_and_no_other() {
    let world = World::new().await;
    world.write(&[(&FIRST, "b", 1), (&NOWHERE, "a", 1), (&FIRST, "a", 2), (&FIRST, "c", 1)]).await;
    world.relay_afresh().await;
    assert_eq!(world.unsent().await, 2);
    assert_eq!((world.versions("b", 2).await, world.versions("c", 2).await), (vec![1], vec![1]));

    // A full look that finds it still refused lets nothing overtake it.
    world.write(&[(&FIRST, "a", 3)]).await;
    world.relay_afresh().await;
    assert_eq!(world.unsent().await, 3);

    world.bus.ensure_topic(&NOWHERE).await.expect("the topic");
    world.relay_afresh().await;
    assert_eq!(world.unsent().await, 0);
    assert_eq!(world.versions("a", 4).await, [2, 3], "in order");
}

/// Two relays that have read the same list of what is held.
#[tokio::test]
async fn a_held_event_that_is_through_already_lets_no_other_go() {
    let world = World::new().await;
    let ids = world.write(&[(&LATER, "a", 1), (&NOWHERE, "b", 1), (&FIRST, "b", 2)]).await;
    world.relay_afresh().await;
    world.bus.ensure_topic(&LATER).await.expect("the topic");
    assert_eq!(world.relay_one(Pick::One { id: ids[0] }).await, (1, None));
    assert_eq!(world.relay_one(Pick::One { id: ids[0] }).await, (0, None));
    assert_eq!(world.relay_one(Pick::One { id: ids[2] }).await, (0, None), "it waits behind b's first");
    assert_eq!(world.ids("sent_at IS NULL").await, ids[1..]);
}

/// A relay that looks for nothing below what it was told is sent.
#[tokio::test]
async fn what_waits_behind_a_held_event_is_never_told_to_be_sent() {
    let world = World::new().await;
    let written = [(&FIRST, "b", 1), (&NOWHERE, "a", 1), (&FIRST, "a", 2), (&FIRST, "c", 1)];
    let ids = world.write(&written).await;
    world.relay_afresh().await;
    let follow = async |mut from_id: i64| {
        loop {
            let (rows, last_id) = world.relay_one(Pick::Waiting { from_id, max_rows: 1 }).await;
            from_id = from_id.max(last_id.unwrap_or(0));
            if rows == 0 {
                return from_id;
            }
        }
    };
    world.write(&[(&FIRST, "c", 2), (&FIRST, "d", 1)]).await;
    let bound = follow(0).await;
    assert!((ids[0]..ids[1]).contains(&bound), "all below the held one: {bound} of {ids:?}");

    world.bus.ensure_topic(&NOWHERE).await.expect("the topic");
    assert_eq!(world.relay_one(Pick::One { id: ids[1] }).await.0, 1);
    let last = world.write(&[(&FIRST, "a", 3)]).await;
    assert_eq!(follow(bound).await, last[0]);
    assert_eq!(world.versions("a", 6).await, [2, 3]);
    assert_eq!(world.unsent().await, 0);
}

#[tokio::test]
async fn those_that_stay_refused_keep_no_other_from_another_try() {
    let world = World::new().await;
    let subjects: Vec<String> = (0..25).map(|n| format!("a{n:02}")).collect();
    let refused: Vec<_> = subjects.iter().map(|subject| (&NOWHERE, &**subject, 1)).collect();
    world.write(&refused).await;
    world.write(&[(&LATER, "b", 1)]).await;
    world.relay_afresh().await;
    assert_eq!(world.ids("held_at IS NOT NULL").await.len(), 26);
    world.bus.ensure_topic(&LATER).await.expect("the topic");
    for _ in 0..2 {
        world.relay_afresh().await;
    }
    assert_eq!(world.unsent().await, 25, "the two looks have tried all");
}

#[tokio::test]
async fn when_the_bus_takes_them_again_all_go_at_once() {
    let world = World::new().await;
    let subjects: Vec<String> = (0..45).map(|n| format!("a{n:02}")).collect();
    let refused: Vec<_> = subjects.iter().map(|subject| (&LATER, &**subject, 1)).collect();
    world.write(&refused).await;
    world.relay_afresh().await;
    assert_eq!(world.ids("held_at IS NOT NULL").await.len(), 45);
    world.bus.ensure_topic(&LATER).await.expect("the topic");
    world.relay_afresh().await;
    assert_eq!(world.unsent().await, 0);
}

#[tokio::test]
async fn many_relays_hold_what_was_refused_and_nothing_else() {
    let world = World::new().await;
    let subjects: Vec<String> = (0..60).map(|n| format!("s{n:02}")).collect();
    let topic = |n: usize| if n.is_multiple_of(6) { &NOWHERE } else { &FIRST };
    let firsts: Vec<_> = subjects.iter().enumerate().map(|(n, s)| (topic(n), &**s, 1)).collect();
    let ids = world.write(&firsts).await;
    let refused: BTreeSet<i64> = ids.into_iter().step_by(6).collect();
    let stop = CancellationToken::new();
    let relays: Vec<_> =
        (0..3).map(|_| tokio::spawn(world.relay(&world.db.another_db("bare")).run(stop.clone()))).collect();
    let rest = async || (world.unsent().await == 10).then_some(());
    eventually(SOON, rest).await;
    eventually(SOON, async || (world.ids("held_at IS NOT NULL").await.len() == 10).then_some(())).await;
    let held: BTreeSet<i64> = world.ids("held_at IS NOT NULL").await.into_iter().collect();
    assert_eq!(held, refused);
    stop.cancel();
    for relay in relays {
        relay.await.expect("no panic").expect("no error");
    }
}
