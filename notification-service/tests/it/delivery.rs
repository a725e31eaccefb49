use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;

use platform::error::Kind;
use platform::failpoint;
use platform::rpc;
use platform::testing::eventually;
use proto::notification::v1 as wire;
use wire::AttemptOutcome as Outcome;
use wire::NotificationStatus::{Dead, Delivered, Pending};

use crate::world::{SOON, World, channel, error};
use platform::testing::Receiver;

fn outcomes(notification: &wire::Notification) -> Vec<(i32, Outcome, i32)> {
    let attempts = notification.attempts.iter();
    attempts.map(|attempt| (attempt.number, attempt.outcome(), attempt.status)).collect()
}

async fn page(world: &World, receiver: &Receiver) -> String {
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let sent = world.send(world.page("k", vec![channel(&ops.id)])).await;
    sent.notification_ids[0].clone()
}

async fn replay(world: &World, id: &str) -> Result<tonic::Response<wire::Notification>, tonic::Status> {
    let request = wire::ReplayNotificationRequest { id: id.to_owned() };
    world.notifications().replay_notification(rpc::request(&world.owner(), request)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_repeated_under_one_key() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.then(500).then(429);
    let id = page(&world, &receiver).await;
    let delivered = world.until(&id, Delivered).await;
    let expected = [(1, Outcome::Failed, 500), (2, Outcome::Failed, 429), (3, Outcome::Delivered, 200)];
    assert_eq!(outcomes(&delivered), expected);
    assert_eq!(receiver.headers("webhook-id"), [delivered.key.as_str(); 3]);
    let trace = |header: &String| (header.len(), header[..36].to_owned());
    let traces: BTreeSet<_> = receiver.headers("traceparent").iter().map(trace).collect();
    assert_eq!((traces.len(), traces.first().map(|it| it.0)), (1, Some(55)), "one trace for all attempts");
    let bodies: Vec<_> = receiver.hits().into_iter().map(|hit| hit.body).collect();
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "one body for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_waited_for() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.then_with(503, &[("retry-after", "3600")]);
    let id = page(&world, &receiver).await;
    let due_in = eventually(SOON, async || {
        let notification = world.notification(&id).await;
        let failed =
            notification.attempts.first().is_some_and(|attempt| attempt.outcome() == Outcome::Failed);
        let due_at = notification.due_at.as_ref().and_then(proto::time::from_timestamp);
        let due_in = due_at? - world.db.source().now();
        // The row and its attempts are two reads: the row may still show the first due time.
        (failed && due_in > TimeDelta::zero()).then_some(due_in)
    })
    .await;
    assert!((3_000..=3_600).contains(&due_in.num_seconds()), "{due_in}");
    world.db.advance(Duration::from_secs(3_601)).await;
    world.until(&id, Delivered).await;
    assert_eq!(receiver.hits().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_is_dead_at_once_and_can_be_replayed() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.then(410);
    let id = page(&world, &receiver).await;
    let dead = world.until(&id, Dead).await;
    assert_eq!(outcomes(&dead), [(1, Outcome::Refused, 410)]);

    let replayed = replay(&world, &id).await.expect("accepted").into_inner();
    assert_eq!(replayed.status(), Pending);
    let delivered = world.until(&id, Delivered).await;
    assert_eq!(outcomes(&delivered), [(1, Outcome::Refused, 410), (2, Outcome::Delivered, 200)]);
    assert_eq!(receiver.headers("webhook-id"), [dead.key.as_str(); 2]);
    let again = error(replay(&world, &id).await);
    assert_eq!((again.kind, again.code), (Kind::Conflict, "not_dead"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_ends_and_a_replay_grants_a_new_one() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    for _ in 0..6 {
        receiver.then(500);
    }
    let id = page(&world, &receiver).await;
    let dead = world.until(&id, Dead).await;
    assert_eq!((dead.attempts.len(), receiver.hits().len()), (3, 3));
    replay(&world, &id).await.expect("accepted");
    let dead = eventually(SOON, async || {
        let notification = world.notification(&id).await;
        (notification.attempts.len() == 6 && notification.status() == Dead).then_some(notification)
    })
    .await;
    assert_eq!(dead.attempts.last().map(|attempt| attempt.number), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_refused_and_nobody_listening_is_retried() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.then_with(302, &[("location", &receiver.url("elsewhere"))]);
    let id = page(&world, &receiver).await;
    assert_eq!(outcomes(&world.until(&id, Dead).await), [(1, Outcome::Refused, 302)]);

    let nobody = world.create_channel("nobody", "http://127.0.0.1:1/").await;
    let sent = world.send(world.page("l", vec![channel(&nobody.id)])).await;
    let dead = world.until(&sent.notification_ids[0], Dead).await;
    assert_eq!(outcomes(&dead), [1, 2, 3].map(|number| (number, Outcome::Failed, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_sending_repeats_the_key_and_records_one_outcome() {
    let world = World::alone().await;
    let receiver = Receiver::start().await;
    let _crash = failpoint::set("delivery.after_send", "1*panic");
    let id = page(&world, &receiver).await;
    let delivered = world.until(&id, Delivered).await;
    assert_eq!(outcomes(&delivered), [(1, Outcome::Started, 0), (2, Outcome::Delivered, 200)]);
    assert_eq!(receiver.headers("webhook-id"), [delivered.key.as_str(); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_the_lease_records_nothing() {
    let world = World::alone().await;
    let receiver = Receiver::start().await;
    let before = failpoint::hits("delivery.after_send");
    let pause = failpoint::set("delivery.after_send", "1*pause");
    let id = page(&world, &receiver).await;
    eventually(SOON, async || (failpoint::hits("delivery.after_send") > before).then_some(())).await;
    // As if this process had been stopped past its lease and another one had looked.
    let admin = world.db.admin().await;
    let taken = "UPDATE pulseops_notification.notifications SET epoch = epoch + 1, lease_until = NULL";
    admin.batch_execute(taken).await.expect("taken over");
    let delivered = world.until(&id, Delivered).await;
    let hits = receiver.hits().len();
    drop(pause);
    // Stopping waits for the step that was paused.
    world.deps.lifecycle.stop().await.expect("stopped");
    let after = world.notification(&id).await;
    assert_eq!(outcomes(&after), outcomes(&delivered));
    assert_eq!(outcomes(&after), [(1, Outcome::Started, 0), (2, Outcome::Delivered, 200)]);
    assert_eq!((hits, receiver.hits().len()), (2, 2));
}
