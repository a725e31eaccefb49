//! With the real incident-service: what cancels a page, and what the timeline hears.

use std::time::Duration;

use platform::failpoint;
use platform::rpc::{self, Fault};
use platform::testing::eventually;
use proto::api::v1::Target;
use proto::incident::v1 as incident;
use proto::incident::v1::TimelineKind;
use proto::incident::v1::timeline_entry::Data;
use proto::notification::v1 as wire;
use wire::NotificationStatus::{Cancelled, Dead, Delivered};

use crate::neighbours::{
    RECORD, STATES, acknowledge, create_incident, create_method, down, entries, page, settled, timeline,
};
use crate::world::{SOON, World, channel, user};
use platform::testing::Receiver;

async fn replay(world: &World, id: &str) -> Result<tonic::Response<wire::Notification>, tonic::Status> {
    let request = wire::ReplayNotificationRequest { id: id.to_owned() };
    world.notifications().replay_notification(rpc::request(&world.owner(), request)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_has_each_delivery_once() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let incident = create_incident(&world).await;
    // The first word arrives, its answer does not.
    world.deps.directory.faults().inject(RECORD, 1, Fault::LoseAnswer);
    let sent = world.send(page(&world, "k", &incident, vec![channel(&ops.id)], Duration::ZERO)).await;
    world.until(&sent.notification_ids[0], Delivered).await;
    settled(&world).await;
    let notified = timeline(&world, &incident.id, TimelineKind::Notified).await;
    assert_eq!(notified.len(), 1);
    assert_eq!((notified[0].recipient.as_str(), notified[0].outcome.as_str()), ("OPS", "delivered"));
    assert_eq!(world.deps.directory.faults().waiting(RECORD), 0);

    receiver.then(410);
    let sent = world.send(page(&world, "l", &incident, vec![channel(&ops.id)], Duration::ZERO)).await;
    world.until(&sent.notification_ids[0], Dead).await;
    settled(&world).await;
    let failed = timeline(&world, &incident.id, TimelineKind::NotificationFailed).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].detail, "the receiver is gone for good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_timeline_heard_sends_nothing_twice() {
    let world = World::alone_with_peers().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let incident = create_incident(&world).await;
    for (index, point) in ["delivery.after_outcome", "delivery.after_note"].into_iter().enumerate() {
        let crash = failpoint::set(point, "1*panic");
        let request = page(&world, point, &incident, vec![channel(&ops.id)], Duration::ZERO);
        let sent = world.send(request).await;
        let delivered = world.until(&sent.notification_ids[0], Delivered).await;
        settled(&world).await;
        assert_eq!((failpoint::hits(point) > 0, delivered.attempts.len()), (true, 1));
        assert_eq!(receiver.hits().len(), index + 1);
        assert_eq!(timeline(&world, &incident.id, TimelineKind::Notified).await.len(), index + 1);
        drop(crash);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_page_asks_whether_somebody_has_taken_the_incident() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let incident = create_incident(&world).await;
    let old = Duration::from_secs(120);

    let open = world.send(page(&world, "open", &incident, vec![channel(&ops.id)], old)).await;
    world.until(&open.notification_ids[0], Delivered).await;
    acknowledge(&world, &incident.id).await;
    let taken = world.send(page(&world, "taken", &incident, vec![channel(&ops.id)], old)).await;
    let cancelled = world.until(&taken.notification_ids[0], Cancelled).await;
    assert_eq!(cancelled.attempts[0].outcome(), wire::AttemptOutcome::Cancelled);
    assert_eq!(receiver.hits().len(), 1);

    // Young decisions are trusted, and no answer means page.
    let young = world.send(page(&world, "young", &incident, vec![channel(&ops.id)], Duration::ZERO)).await;
    world.until(&young.notification_ids[0], Delivered).await;
    world.deps.directory.faults().inject(STATES, 1, down());
    let silent = world.send(page(&world, "silent", &incident, vec![channel(&ops.id)], old)).await;
    world.until(&silent.notification_ids[0], Delivered).await;
    assert_eq!(world.deps.directory.faults().waiting(STATES), 0);

    // What was decided about an acknowledged incident is not undone by that acknowledgement.
    let mut acknowledged = incident.clone();
    acknowledged.status = incident::IncidentStatus::Acknowledged.into();
    let after = world.send(page(&world, "after", &acknowledged, vec![channel(&ops.id)], old)).await;
    world.until(&after.notification_ids[0], Delivered).await;
    settled(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failed_attempt_is_told_at_once_and_only_that() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    receiver.then(500).then_with(503, &[("retry-after", "600")]);
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let incident = create_incident(&world).await;
    let sent = world.send(page(&world, "k", &incident, vec![channel(&ops.id)], Duration::ZERO)).await;
    let id = &sent.notification_ids[0];
    world.failed(id, 2).await;
    let failing = eventually(SOON, async || {
        let failing = timeline(&world, &incident.id, TimelineKind::NotificationFailed).await;
        (!failing.is_empty()).then_some(failing)
    })
    .await;
    assert_eq!((failing.len(), failing[0].outcome.as_str()), (1, "retrying"));
    assert!(failing[0].detail.starts_with("the receiver answered 500"), "{}", failing[0].detail);
    world.db.advance(Duration::from_secs(601)).await;
    world.until(id, Delivered).await;
    settled(&world).await;
    assert_eq!(timeline(&world, &incident.id, TimelineKind::NotificationFailed).await.len(), 1);
    assert_eq!(timeline(&world, &incident.id, TimelineKind::Notified).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_says_once_who_is_left_out() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    // Her account's email cannot be used: this deployment has no mail server.
    create_method(&world, &receiver.url("olga")).await;
    let incident = create_incident(&world).await;
    let olga = user(world.owner().principal.id);
    for level in ["one", "two"] {
        let sent = world.send(page(&world, level, &incident, vec![olga.clone()], Duration::ZERO)).await;
        assert_eq!((sent.notification_ids.len(), sent.nobody_reachable), (1, false));
        world.until(&sent.notification_ids[0], Delivered).await;
        settled(&world).await;
    }
    assert_eq!(timeline(&world, &incident.id, TimelineKind::NotificationFailed).await, []);
    let text = "not told by email: Olga (no mail server is configured (smtp.host))".to_owned();
    let notes = entries(&world, &incident.id, TimelineKind::Note).await;
    assert_eq!(notes, [Data::Note(incident::NoteData { text })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_an_acknowledgement_is_cancelled() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    receiver.then_with(503, &[("retry-after", "600")]);
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let incident = create_incident(&world).await;
    let sent = world.send(page(&world, "k", &incident, vec![channel(&ops.id)], Duration::ZERO)).await;
    world.failed(&sent.notification_ids[0], 1).await;
    acknowledge(&world, &incident.id).await;
    world.db.advance(Duration::from_secs(601)).await;
    let cancelled = world.until(&sent.notification_ids[0], Cancelled).await;
    assert_eq!(cancelled.attempts[1].outcome(), wire::AttemptOutcome::Cancelled);
    assert_eq!(receiver.hits().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_cancelled_by_what_happens_after_it() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let incident = create_incident(&world).await;
    receiver.then(410).then_with(503, &[("retry-after", "600")]);
    let sent = world.send(page(&world, "k", &incident, vec![channel(&ops.id)], Duration::ZERO)).await;
    let id = &sent.notification_ids[0];
    world.until(id, Dead).await;
    settled(&world).await;
    replay(&world, id).await.expect("accepted");
    world.failed(id, 2).await;
    acknowledge(&world, &incident.id).await;
    world.db.advance(Duration::from_secs(601)).await;
    world.until(id, Cancelled).await;
    assert_eq!(receiver.hits().len(), 2);

    // What had happened before the replay does not cancel it.
    receiver.then(410).then_with(503, &[("retry-after", "600")]);
    let mut acknowledged = incident.clone();
    acknowledged.status = incident::IncidentStatus::Acknowledged.into();
    let sent = world.send(page(&world, "l", &acknowledged, vec![channel(&ops.id)], Duration::ZERO)).await;
    let id = &sent.notification_ids[0];
    world.until(id, Dead).await;
    settled(&world).await;
    replay(&world, id).await.expect("accepted");
    world.failed(id, 2).await;
    world.db.advance(Duration::from_secs(601)).await;
    world.until(id, Delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_the_note_of_the_death() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let incident = create_incident(&world).await;
    receiver.then(410);
    world.deps.directory.faults().inject(RECORD, 1, down());
    let sent = world.send(page(&world, "k", &incident, vec![channel(&ops.id)], Duration::ZERO)).await;
    world.until(&sent.notification_ids[0], Dead).await;
    let id = &sent.notification_ids[0];
    // The timeline does not answer yet.
    replay(&world, id).await.expect("accepted");
    world.until(id, Delivered).await;
    settled(&world).await;
    assert_eq!(world.deps.directory.faults().waiting(RECORD), 0);
    let failed = timeline(&world, &incident.id, TimelineKind::NotificationFailed).await;
    assert_eq!((failed.len(), failed[0].outcome.as_str()), (1, "dead"));
    assert_eq!(timeline(&world, &incident.id, TimelineKind::Notified).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_processes_spend_the_budget_too() {
    let world = World::alone_with_peers().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let incident = create_incident(&world).await;
    let _crash = failpoint::set("delivery.after_send", "3*panic");
    let sent = world.send(page(&world, "k", &incident, vec![channel(&ops.id)], Duration::ZERO)).await;
    let dead = world.until(&sent.notification_ids[0], Dead).await;
    assert!(dead.attempts.iter().all(|attempt| attempt.outcome() == wire::AttemptOutcome::Started));
    assert_eq!((dead.attempts.len(), receiver.hits().len()), (3, 3));
    settled(&world).await;
    let failed = timeline(&world, &incident.id, TimelineKind::NotificationFailed).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].detail, "how its last attempts ended is not known");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_left_out_is_told_though_the_word_itself_comes_too_late() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    // Her account's email cannot be used; her webhook is the channel's.
    create_method(&world, &receiver.url("hook")).await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let olga = user(world.owner().principal.id);
    let mut incident = create_incident(&world).await;
    let say = |key: &str, sequence: i64, incident: &incident::Incident, target: &Target| {
        let page = page(&world, key, incident, vec![target.clone()], Duration::ZERO);
        wire::SendRequest { sequence, ..page }
    };
    let not_told = [Data::Note(incident::NoteData {
        text: "not told by email: Olga (no mail server is configured (smtp.host))".to_owned(),
    })];

    // Overtaken before it was made.
    let triggered = incident.clone();
    incident.status = incident::IncidentStatus::Resolved.into();
    let resolved = world.send(say("resolved", 20, &incident, &channel(&ops.id))).await;
    world.until(&resolved.notification_ids[0], Delivered).await;
    let late = world.send(say("late", 10, &triggered, &olga)).await;
    assert_eq!(world.notification(&late.notification_ids[0]).await.status(), Cancelled);
    settled(&world).await;
    assert_eq!(entries(&world, &triggered.id, TimelineKind::Note).await, not_told);
    assert_eq!(receiver.hits().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_left_out_is_told_though_the_word_is_overtaken_while_it_waits() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    create_method(&world, &receiver.url("hook")).await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let mut incident = create_incident(&world).await;
    let triggered = incident.clone();
    incident.status = incident::IncidentStatus::Resolved.into();
    let say = |sequence: i64, incident: &incident::Incident, target: Target| {
        let page = page(&world, &format!("k{sequence}"), incident, vec![target], Duration::ZERO);
        wire::SendRequest { sequence, ..page }
    };
    receiver.then_with(503, &[("retry-after", "3600")]);
    let first = world.send(say(1, &triggered, channel(&ops.id))).await;
    world.failed(&first.notification_ids[0], 1).await;
    let waits = world.send(say(2, &triggered, user(world.owner().principal.id))).await;
    let last = world.send(say(3, &incident, channel(&ops.id))).await;
    // The last one's patience ends first.
    let due = async |id: &str, at: &str| {
        let sql = format!("UPDATE pulseops_notification.notifications SET due_at = {at} WHERE id::text = $1");
        assert_eq!(world.db.admin().await.execute(&sql, &[&id]).await.expect("moved"), 1);
    };
    due(&waits.notification_ids[0], "pulseops.now() + interval '1 day'").await;
    world.db.advance(Duration::from_secs(61)).await;
    world.until(&last.notification_ids[0], Delivered).await;
    due(&waits.notification_ids[0], "pulseops.now()").await;
    let overtaken = world.until(&waits.notification_ids[0], Cancelled).await;
    assert_eq!(overtaken.attempts, []);
    let notes = eventually(SOON, async || {
        let notes = entries(&world, &triggered.id, TimelineKind::Note).await;
        (!notes.is_empty()).then_some(notes)
    })
    .await;
    let text = "not told by email: Olga (no mail server is configured (smtp.host))".to_owned();
    assert_eq!(notes, [Data::Note(incident::NoteData { text })]);
}
