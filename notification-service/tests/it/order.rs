//! Messages to one destination about one incident go out in the order of their sequence.

use std::time::Duration;

use platform::testing::{Receiver, eventually};
use proto::incident::v1::IncidentStatus;
use proto::notification::v1 as wire;
use wire::NotificationStatus::{Cancelled, Dead, Delivered, Pending};

use crate::world::{SOON, World, channel};

/// A page of this sequence about an incident in this state.
fn page(world: &World, id: &str, sequence: i64, status: IncidentStatus) -> wire::SendRequest {
    let mut request = world.page(&format!("{sequence}/{status:?}"), vec![channel(id)]);
    request.sequence = sequence;
    let incident = request.incident.as_mut().and_then(|event| event.incident.as_mut());
    incident.expect("an incident").status = status.into();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn later_messages_wait_for_earlier_ones() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    // The first one needs a second attempt, an hour later.
    receiver.then_with(503, &[("retry-after", "3600")]);
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let first = world.send(world.page("first", vec![channel(&ops.id)])).await;
    world.failed(&first.notification_ids[0], 1).await;
    let second = wire::SendRequest { sequence: 2, ..world.page("second", vec![channel(&ops.id)]) };
    let second = world.send(second).await;
    let waiting = world.notification(&second.notification_ids[0]).await;
    assert_eq!((waiting.status(), waiting.attempts.len()), (Pending, 0));
    assert_eq!(receiver.hits().len(), 1);
    // A minute is enough patience.
    world.db.advance(std::time::Duration::from_secs(61)).await;
    world.until(&second.notification_ids[0], Delivered).await;
    assert_eq!(world.notification(&first.notification_ids[0]).await.status(), Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_goes_when_the_earlier_one_has_ended() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let gate = receiver.gate();
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let first = world.send(page(&world, &ops.id, 1, IncidentStatus::Triggered)).await;
    eventually(SOON, async || (receiver.hits().len() == 1).then_some(())).await;
    let second = world.send(page(&world, &ops.id, 2, IncidentStatus::Resolved)).await;
    let waiting = world.notification(&second.notification_ids[0]).await;
    let due_at = waiting.due_at.as_ref().and_then(proto::time::from_timestamp).expect("it waits");
    assert!(due_at - world.db.source().now() > chrono::TimeDelta::seconds(40), "it is not polled for");
    gate.add_permits(2);
    world.until(&first.notification_ids[0], Delivered).await;
    world.until(&second.notification_ids[0], Delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_word_that_comes_late_is_not_the_last() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let resolved = world.send(page(&world, &ops.id, 20, IncidentStatus::Resolved)).await;
    world.until(&resolved.notification_ids[0], Delivered).await;
    let answer = world.send(page(&world, &ops.id, 10, IncidentStatus::Triggered)).await;
    let late = world.notification(&answer.notification_ids[0]).await;
    assert_eq!((late.status(), late.attempts.len(), late.due_at), (Cancelled, 0, None));
    assert_eq!(receiver.hits().len(), 1);
    // Nobody was told, and nobody is said to have been.
    assert_eq!((answer.recipients.as_slice(), answer.nobody_reachable), ([].as_slice(), false));
    assert_eq!(world.send(page(&world, &ops.id, 10, IncidentStatus::Triggered)).await, answer);
    // The same word again takes nothing back.
    let same = world.send(page(&world, &ops.id, 15, IncidentStatus::Resolved)).await;
    world.until(&same.notification_ids[0], Delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_does_not_follow_a_later_word() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.then_with(503, &[("retry-after", "600")]);
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let firing = world.send(page(&world, &ops.id, 1, IncidentStatus::Triggered)).await;
    world.failed(&firing.notification_ids[0], 1).await;
    let resolved = world.send(page(&world, &ops.id, 2, IncidentStatus::Resolved)).await;
    world.db.advance(Duration::from_secs(61)).await;
    world.until(&resolved.notification_ids[0], Delivered).await;
    world.db.advance(Duration::from_secs(600)).await;
    let cancelled = world.until(&firing.notification_ids[0], Cancelled).await;
    assert_eq!((cancelled.attempts.len(), receiver.hits().len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_began_is_called_off_by_a_later_word() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.then_with(503, &[("retry-after", "600")]);
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let firing = world.send(page(&world, &ops.id, 1, IncidentStatus::Triggered)).await;
    world.failed(&firing.notification_ids[0], 1).await;
    // As if its lease had been given back before the step began.
    let given_back =
        "UPDATE pulseops_notification.attempts SET outcome = 'started', ended_at = NULL, detail = '';
        UPDATE pulseops_notification.notifications SET attempts = 0";
    world.db.admin().await.batch_execute(given_back).await.expect("given back");
    let resolved = world.send(page(&world, &ops.id, 2, IncidentStatus::Resolved)).await;
    world.db.advance(Duration::from_secs(61)).await;
    world.until(&resolved.notification_ids[0], Delivered).await;
    world.db.advance(Duration::from_secs(600)).await;
    let cancelled = world.until(&firing.notification_ids[0], Cancelled).await;
    let outcomes: Vec<_> = cancelled.attempts.iter().map(wire::Attempt::outcome).collect();
    assert_eq!(outcomes, [wire::AttemptOutcome::Cancelled]);
    // Its words were said to nobody: they hold up no earlier ones.
    let late = world.send(page(&world, &ops.id, 0, IncidentStatus::Resolved)).await;
    world.until(&late.notification_ids[0], Delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_word_that_nobody_got_overtakes_nothing() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.then(410).then_with(503, &[("retry-after", "3600")]);
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let refused = world.send(page(&world, &ops.id, 30, IncidentStatus::Resolved)).await;
    world.until(&refused.notification_ids[0], Dead).await;
    let failing = world.send(page(&world, &ops.id, 20, IncidentStatus::Acknowledged)).await;
    world.failed(&failing.notification_ids[0], 1).await;
    let earlier = world.send(page(&world, &ops.id, 10, IncidentStatus::Triggered)).await;
    assert_eq!(earlier.recipients, ["OPS"]);
    world.until(&earlier.notification_ids[0], Delivered).await;
}

/// How many of this database's connections wait for somebody else's lock.
async fn waiting(world: &World) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    world.db.admin().await.query_one(sql, &[]).await.expect("counted").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_hangs_holds_up_no_other_destination() {
    // One for the slow one's end, one for each that shares its lock, one more.
    let world = World::with_connections(4).await;
    let (stuck, free) = (Receiver::start().await, Receiver::start().await);
    let (stuck_gate, free_gate) = (stuck.gate(), free.gate());
    let slow = world.create_channel("slow", &stuck.url("hook")).await;
    let slow = world.send(world.page("slow", vec![channel(&slow.id)])).await;
    let slow = &slow.notification_ids[0];
    // Several: one of them may share the slow one's lock, all of them hardly.
    let mut targets = Vec::new();
    for slug in ["a", "b", "c"] {
        targets.push(channel(&world.create_channel(slug, &free.url(slug)).await.id));
    }
    let others = world.send(world.page("others", targets)).await.notification_ids;
    stuck.nth("/hook", 1).await;
    eventually(SOON, async || (free.hits().len() == 3).then_some(())).await;

    let mut admin = world.db.admin().await;
    let held = admin.transaction().await.expect("begun");
    let sql = "SELECT FROM pulseops_notification.notifications WHERE id::text = $1 FOR UPDATE";
    held.execute(sql, &[slow]).await.expect("the slow one's row is held");
    stuck_gate.add_permits(1);
    eventually(SOON, async || (waiting(&world).await >= 1).then_some(())).await;
    // More than are asked for: an end that was broken off sends again.
    stuck_gate.add_permits(9);
    free_gate.add_permits(9);
    eventually(SOON, async || {
        for id in &others {
            if world.notification(id).await.status() == Delivered {
                return Some(());
            }
        }
        None
    })
    .await;
    held.rollback().await.expect("let go");
    for id in others.iter().chain([slow]) {
        world.until(id, Delivered).await;
    }
}
