//! What one organization, person or channel may take of everybody's.

use std::time::Duration;

use notification_service::{Config, Delivery};
use platform::ctx::Ctx;
use platform::error::Kind;
use platform::rpc;
use platform::testing::{Receiver, eventually};
use proto::notification::v1 as wire;
use proto::notification::v1::send_service_client::SendServiceClient;
use wire::NotificationStatus::{Dead, Delivered};

use crate::world::{SOON, World, channel, error, own, quick};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_twenty_methods() {
    let world = World::new().await;
    let ada = world.db.source().id();
    let create = async |n: u32| {
        let method = wire::ContactMethod {
            kind: wire::ChannelKind::Webhook.into(),
            address: format!("http://127.0.0.1:9/{n}"),
            ..Default::default()
        };
        let request =
            wire::CreateContactMethodRequest { user_id: ada.to_string(), contact_method: Some(method) };
        world.methods().create_contact_method(rpc::request(&own(&world, ada), request)).await
    };
    let first = create(0).await.expect("created").into_inner();
    for n in 1..18 {
        create(n).await.expect("created");
    }
    // The last two of five at once: who is first does not matter, how many does.
    let made = futures::future::join_all((18..23).map(create)).await;
    let refused: Vec<_> = made.iter().filter_map(|made| made.as_ref().err()).collect();
    assert_eq!(refused.len(), 3);
    let refused = platform::error::Error::from(refused[0].clone());
    assert_eq!((refused.kind, refused.code), (Kind::Conflict, "too_many"));
    let delete = wire::DeleteContactMethodRequest { user_id: ada.to_string(), id: first.id };
    world.methods().delete_contact_method(rpc::request(&own(&world, ada), delete)).await.expect("ended");
    create(99).await.expect("room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_takes_so_many_tests_in_an_hour() {
    let delivery = Delivery { tests_per_hour: 2, ..quick().delivery };
    let world = World::with(Config { delivery, ..Config::default() }).await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let dev = world.create_channel("dev", &receiver.url("hook")).await;
    let test = async |id: &str| {
        let request = wire::TestChannelRequest { id: id.to_owned() };
        world.channels().test_channel(rpc::request(&world.owner(), request)).await
    };
    test(&ops.id).await.expect("one");
    world.db.advance(Duration::from_secs(600)).await;
    test(&ops.id).await.expect("two");
    let refused = error(test(&ops.id).await);
    assert_eq!((refused.kind, refused.code), (Kind::TooMany, "too_many_tests"));
    let wait = refused.retry_after.expect("when there is room again");
    assert!((2_900..=3_000).contains(&wait.as_secs()), "{wait:?}");
    test(&dev.id).await.expect("another channel");
    world.db.advance(wait + Duration::from_secs(1)).await;
    test(&ops.id).await.expect("room again");
    assert_eq!(error(test(&ops.id).await).kind, Kind::TooMany);
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_hang_for_one_organization_hold_up_no_other() {
    let delivery = Delivery { concurrency: 4, concurrency_per_organization: 2, ..quick().delivery };
    let world = World::with(Config { delivery, ..Config::default() }).await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    let gate = slow.gate();
    for slug in ["a", "b", "c", "d", "e"] {
        let channels = world.create_channel(slug, &slow.url(slug)).await;
        world.send(world.page(slug, vec![channel(&channels.id)])).await;
    }
    eventually(SOON, async || (!slow.hits().is_empty()).then_some(())).await;

    let other = world.db.cx_as(&world.deps.door.access, "owner");
    let ops = wire::Channel {
        slug: "ops".to_owned(),
        name: "Ops".to_owned(),
        kind: wire::ChannelKind::Webhook.into(),
        address: quick.url("hook"),
        ..Default::default()
    };
    let request = wire::CreateChannelRequest { channel: Some(ops) };
    let ops = world.channels().create_channel(rpc::request(&other, request)).await.expect("created");
    let workflow = Ctx { org: other.org, ..world.workflow() };
    let page = world.page("k", vec![channel(&ops.into_inner().id)]);
    SendServiceClient::new(world.transport()).send(rpc::request(&workflow, page)).await.expect("sent");
    quick.nth("/hook", 1).await;
    assert!(slow.hits().len() < 4, "it has no more than its share, which hangs");
    gate.add_permits(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_secret_ends_deliveries_and_can_be_repaired() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    world.hear_of("Ada", "ada@example.com", true).await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    receiver.then_with(503, &[("retry-after", "600")]);
    let begun = world.send(world.page("begun", vec![channel(&ops.id)])).await;
    world.failed(&begun.notification_ids[0], 1).await;
    world.lose_secret().await;

    // What comes now finds nobody; what was under way ends with a reason.
    let sent = world.send(world.page("lost", vec![channel(&ops.id)])).await;
    assert!(sent.nobody_reachable);
    world.db.advance(Duration::from_secs(601)).await;
    let dead = world.until(&begun.notification_ids[0], Dead).await;
    let last = dead.attempts.last().expect("two");
    assert_eq!(last.outcome(), wire::AttemptOutcome::Refused);
    assert!(last.detail.contains("enter it again"), "{}", last.detail);

    let get = wire::GetChannelRequest { id: ops.id.clone() };
    let got = world.channels().get_channel(rpc::request(&world.owner(), get)).await;
    let got = got.expect("there").into_inner();
    assert!(got.warning.is_some_and(|warning| warning.contains("enter it again")));
    assert!(got.address.ends_with("/…"));
    let patch = async |channel: wire::Channel, path: &str| {
        let update_mask = Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
        let request = wire::UpdateChannelRequest { id: ops.id.clone(), channel: Some(channel), update_mask };
        let patched = world.channels().update_channel(rpc::request(&world.owner(), request)).await;
        patched.expect("changed").into_inner()
    };
    // The untouched address is not looked at.
    let renamed = patch(wire::Channel { name: "New".to_owned(), ..Default::default() }, "name").await;
    assert!(renamed.warning.is_some());
    let address = receiver.url("hook");
    let repaired = patch(wire::Channel { address: address.clone(), ..Default::default() }, "address").await;
    assert_eq!((repaired.warning, repaired.address), (None, address));
    let sent = world.send(world.page("again", vec![channel(&ops.id)])).await;
    world.until(&sent.notification_ids[0], Delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_before_it_began_was_no_attempt() {
    let delivery = Delivery { concurrency: 1, ..quick().delivery };
    let world = World::with(Config { delivery, ..Config::default() }).await;
    let receiver = Receiver::start().await;
    let mut targets = Vec::new();
    for n in 0..8 {
        targets
            .push(channel(&world.create_channel(&format!("c{n}"), &receiver.url(&n.to_string())).await.id));
    }
    // More at once than may wait for the one slot.
    let mut at_once = 0;
    for id in world.send(world.page("k", targets)).await.notification_ids {
        let delivered = world.until(&id, Delivered).await;
        let attempts: Vec<_> = delivered.attempts.iter().map(|it| (it.number, it.outcome())).collect();
        // A lease that ended on a slow machine before it was given back has counted.
        let given_back = attempts == [(1, wire::AttemptOutcome::Delivered)];
        let lost = [(1, wire::AttemptOutcome::Started), (2, wire::AttemptOutcome::Delivered)];
        assert!(given_back || attempts == lost, "{attempts:?}");
        at_once += usize::from(given_back);
    }
    assert!(at_once > 0, "some were given back");
}
