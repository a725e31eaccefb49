use platform::rpc;
use proto::api::v1::{Target, TargetKind};
use proto::notification::v1 as wire;
use proto::notification::v1::send_service_client::SendServiceClient;
use wire::NotificationStatus::{Delivered, Pending};

use crate::world::{World, channel, error, user};
use platform::testing::Receiver;

fn target(kind: TargetKind, id: &str) -> Target {
    Target { kind: kind.into(), id: id.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_makes_nothing_new() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let one = world.create_channel("one", &receiver.url("one")).await;
    let two = world.create_channel("two", &receiver.url("two")).await;
    let request = world.page("run/1/1", vec![channel(&one.id), channel(&two.id), channel(&one.id)]);
    let (first, second) = tokio::join!(world.send(request.clone()), world.send(request.clone()));
    assert_eq!(first, second);
    assert_eq!(first.recipients, ["ONE", "TWO"]);
    for id in &first.notification_ids {
        world.until(id, Delivered).await;
    }
    assert_eq!(world.send(request).await, first);
    let mut keys = receiver.headers("webhook-id");
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((receiver.hits().len(), keys.len()), (2, 2));
    assert!(keys.iter().all(|key| key.len() == 32));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_what_happened() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let sent = world.send(world.page("k", vec![channel(&ops.id)])).await;
    let notification = world.until(&sent.notification_ids[0], Delivered).await;
    assert_eq!(notification.subject, "[critical] #12 payment: charge.failed");
    assert_eq!(notification.address, format!("http://{}/…", receiver.address));
    let body = receiver.hits()[0].json();
    assert_eq!(body["type"], "incident.page");
    assert_eq!(body["data"]["incident"]["number"], 12);
    assert_eq!(body["data"]["incident"]["severity"], "critical");
    assert_eq!(body["data"]["service"]["name"], "payment");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_is_told_once_for_everybody_behind_it() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let one = world.create_channel("one", &receiver.url("same")).await;
    let two = world.create_channel("two", &receiver.url("same")).await;
    let sent = world.send(world.page("k", vec![channel(&one.id), channel(&two.id)])).await;
    assert_eq!(sent.recipients, ["ONE, TWO"]);
    world.until(&sent.notification_ids[0], Delivered).await;
    assert_eq!(receiver.hits().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reachable_tells_the_log() {
    let world = World::new().await;
    // Verified, but this deployment has no mail server.
    let ada = world.hear_of("Ada", "ada@example.com", true).await;
    let sent = world.send(world.page("k", vec![user(ada)])).await;
    assert!(sent.nobody_reachable);
    assert_eq!(sent.recipients, ["server log"]);
    let notification = world.until(&sent.notification_ids[0], Delivered).await;
    assert_eq!(notification.kind(), wire::ChannelKind::Log);
    assert_eq!(world.send(world.page("k", vec![user(ada)])).await, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_and_archived_channels_are_not_told() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let off = world.create_channel("off", &receiver.url("off")).await;
    let patch = wire::UpdateChannelRequest {
        id: off.id.clone(),
        channel: Some(wire::Channel { disabled: true, ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["disabled".to_owned()] }),
    };
    world.channels().update_channel(rpc::request(&world.owner(), patch)).await.expect("off");
    let old = world.create_channel("old", &receiver.url("old")).await;
    let delete = wire::DeleteChannelRequest { id: old.id.clone() };
    world.channels().delete_channel(rpc::request(&world.owner(), delete)).await.expect("archived");

    let check = wire::CheckChannelsRequest { channel_ids: vec![off.id.clone(), old.id.clone()] };
    let mut client = SendServiceClient::new(world.transport());
    let known = client.check_channels(rpc::request(&world.workflow(), check)).await.expect("checked");
    assert_eq!(known.into_inner().channel_ids, std::slice::from_ref(&off.id));

    world.hear_of("Ada", "ada@example.com", true).await;
    let sent = world.send(world.page("k", vec![channel(&off.id)])).await;
    assert!(sent.nobody_reachable);
    // What refers to an archived channel goes on working.
    let sent = world.send(world.page("l", vec![channel(&old.id)])).await;
    assert_eq!(sent.recipients, ["OLD"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_services_send() {
    let world = World::new().await;
    let mut client = SendServiceClient::new(world.transport());
    let request = world.page("k", vec![target(TargetKind::Owners, "")]);
    let refused = client.send(rpc::request(&world.owner(), request)).await;
    assert_eq!(error(refused).kind, platform::error::Kind::Forbidden);
    let schedule = world.page("k", vec![target(TargetKind::Schedule, &world.db.source().id().to_string())]);
    let refused = client.send(rpc::request(&world.workflow(), schedule)).await;
    assert_eq!(error(refused).code, "not_available");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auth_service_the_last_answer_counts() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let team = world.db.source().id();
    let admin = world.db.admin().await;
    let ada = world.hear_of("Ada", "ada@example.com", true).await;
    let sql = format!(
        "INSERT INTO pulseops_notification.groups_seen VALUES \
         ('{}', 'team', '{team}', ARRAY['{ada}']::uuid[], ARRAY['Ada'], pulseops.now() - interval '1 hour'); \
         UPDATE pulseops_notification.contact_methods SET kind = 'log', address_digest = ''; \
         UPDATE pulseops_notification.channels SET team_id = '{team}'",
        world.org
    );
    admin.batch_execute(&sql).await.expect("an old answer");
    let sent = world.send(world.page("k", vec![target(TargetKind::Team, &team.to_string())])).await;
    assert_eq!((sent.recipients, sent.nobody_reachable), (vec!["Ada".to_owned(), ops.name], false));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_and_page() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        let sent = world.send(world.page(key, vec![channel(&ops.id)])).await;
        world.until(&sent.notification_ids[0], Delivered).await;
        ids.push(sent.notification_ids[0].clone());
    }
    ids.reverse();
    let list = async |request| {
        let page = world.notifications().list_notifications(rpc::request(&world.owner(), request)).await;
        page.expect("a page").into_inner()
    };
    let all = wire::ListNotificationsRequest {
        status: vec![Delivered.into(), Pending.into()],
        channel_id: vec![ops.id.clone()],
        page_size: 2,
        ..Default::default()
    };
    let first = list(all.clone()).await;
    let second =
        list(wire::ListNotificationsRequest { page_token: first.next_page_token.clone(), ..all.clone() })
            .await;
    let listed: Vec<_> = first.items.iter().chain(&second.items).map(|item| item.id.clone()).collect();
    assert_eq!((listed, second.next_page_token.as_str()), (ids, ""));
    assert_eq!(first.items[0].attempts.len(), 1);
    let dead = wire::ListNotificationsRequest {
        status: vec![wire::NotificationStatus::Dead.into()],
        ..Default::default()
    };
    assert_eq!(list(dead).await.items, []);
    let stranger = world.db.cx(&["notifications_read"]);
    let none = world.notifications().list_notifications(rpc::request(&stranger, Default::default())).await;
    assert_eq!(none.expect("empty").into_inner().items, []);
}
