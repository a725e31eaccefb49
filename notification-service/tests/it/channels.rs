use platform::error::Kind;
use platform::rpc;
use proto::notification::v1 as wire;

use crate::world::{World, error};
use platform::testing::Receiver;

fn webhook(slug: &str, url: &str) -> wire::Channel {
    wire::Channel {
        slug: slug.to_owned(),
        name: "Ops".to_owned(),
        kind: wire::ChannelKind::Webhook.into(),
        address: url.to_owned(),
        ..wire::Channel::default()
    }
}

fn create(channel: wire::Channel) -> wire::CreateChannelRequest {
    wire::CreateChannelRequest { channel: Some(channel) }
}

fn change(id: &str, channel: wire::Channel, paths: &[&str]) -> wire::UpdateChannelRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    wire::UpdateChannelRequest {
        id: id.to_owned(),
        channel: Some(channel),
        update_mask: Some(prost_types::FieldMask { paths }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_sealed() {
    let world = World::new().await;
    let url = "http://127.0.0.1:9/hooks/T0PS3CRET";
    let created = world.create_channel("ops", url).await;
    let secret = created.secret.clone().expect("in this answer");
    assert!(secret.starts_with("whsec_"));
    assert_eq!((created.address.as_str(), created.version), (url, 1));

    let get = wire::GetChannelRequest { id: created.id.clone() };
    let got = world.channels().get_channel(rpc::request(&world.owner(), get.clone())).await;
    let got = got.expect("there").into_inner();
    assert_eq!((got.secret, got.address.as_str()), (None, url));

    let viewer = world.db.cx_in(world.org, &["channels_read"]);
    let got = world.channels().get_channel(rpc::request(&viewer, get)).await.expect("there").into_inner();
    assert_eq!(got.address, "http://127.0.0.1:9/…");

    let row = world.db.admin().await;
    let row = row.query_one("SELECT c::text FROM pulseops_notification.channels c", &[]).await;
    let row: String = row.expect("the raw row").get(0);
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for hidden in [&secret, &secret[6..], "T0PS3CRET"] {
        assert!(!row.contains(hidden) && !row.contains(&hex(hidden)), "{hidden} is in the row: {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_channels_are_refused_by_field() {
    let world = World::new().await;
    let create_bad = async |channel| {
        error(world.channels().create_channel(rpc::request(&world.owner(), create(channel))).await)
    };
    let private = create_bad(webhook("a", "http://10.0.0.1/x")).await;
    assert_eq!((private.kind, private.fields[0].field.as_str()), (Kind::Invalid, "channel.address"));
    assert_eq!(private.fields[0].code, "egress_refused");
    let no_url = create_bad(webhook("a", "not a url")).await;
    assert_eq!(no_url.fields[0].code, "invalid_url");
    let secret = Some("0123456789abcdef".to_owned());
    let bad_secret = create_bad(wire::Channel { secret, ..webhook("a", "http://127.0.0.1:9/") }).await;
    assert_eq!((bad_secret.code, bad_secret.fields[0].field.as_str()), ("pattern", "channel.secret"));
    let log = wire::Channel { kind: wire::ChannelKind::Log.into(), ..webhook("a", "somewhere") };
    assert_eq!(create_bad(log).await.fields[0].field, "channel.address");

    world.create_channel("ops", "http://127.0.0.1:9/").await;
    let again = create_bad(webhook("ops", "http://127.0.0.1:9/")).await;
    assert_eq!((again.kind, again.fields[0].field.as_str()), (Kind::Conflict, "channel.slug"));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_follow_the_mask_and_the_version() {
    let world = World::new().await;
    let created = world.create_channel("ops", "http://127.0.0.1:9/one").await;
    let patch = wire::Channel { address: "http://127.0.0.1:9/two".to_owned(), ..Default::default() };
    let stale = world.owner().with_if_match(7);
    let request = change(&created.id, patch, &["address"]);
    let mut refused = rpc::request(&stale, request.clone());
    refused.metadata_mut().insert("if-match", "7".parse().expect("ascii"));
    let refused = error(world.channels().update_channel(refused).await);
    assert_eq!((refused.kind, refused.code), (Kind::Precondition, "version_mismatch"));

    let updated = world.channels().update_channel(rpc::request(&world.owner(), request)).await;
    let updated = updated.expect("updated").into_inner();
    assert_eq!((updated.version, updated.name.as_str(), updated.secret), (2, "OPS", None));
    assert_eq!(updated.address, "http://127.0.0.1:9/two");

    let nameless = change(&created.id, wire::Channel::default(), &["name"]);
    let nameless = error(world.channels().update_channel(rpc::request(&world.owner(), nameless)).await);
    assert_eq!((nameless.kind, nameless.fields[0].code), (Kind::Invalid, "required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_channels_leave_lists_and_take_no_changes() {
    let world = World::new().await;
    let kept = world.create_channel("kept", "http://127.0.0.1:9/").await;
    let gone = world.create_channel("gone", "http://127.0.0.1:9/").await;
    for _ in 0..2 {
        let delete = wire::DeleteChannelRequest { id: gone.id.clone() };
        world.channels().delete_channel(rpc::request(&world.owner(), delete)).await.expect("archived");
    }
    let list = async |request| {
        let page = world.channels().list_channels(rpc::request(&world.owner(), request)).await;
        page.expect("a page").into_inner()
    };
    let live = list(wire::ListChannelsRequest::default()).await;
    assert_eq!(live.items.iter().map(|item| &item.id).collect::<Vec<_>>(), [&kept.id]);

    let first = wire::ListChannelsRequest {
        archived: true,
        page_size: 1,
        sort: "name".to_owned(),
        ..Default::default()
    };
    let page = list(first.clone()).await;
    assert_eq!(page.items[0].slug, "gone");
    let next = wire::ListChannelsRequest { page_token: page.next_page_token.clone(), ..first.clone() };
    let page = list(next.clone()).await;
    assert_eq!((page.items[0].slug.as_str(), page.next_page_token.as_str()), ("kept", ""));
    let other = wire::ListChannelsRequest { sort: "-name".to_owned(), ..next };
    let mismatch = world.channels().list_channels(rpc::request(&world.owner(), other)).await;
    assert_eq!(error(mismatch).fields[0].code, "page_token_mismatch");

    let patch = change(&gone.id, wire::Channel { disabled: true, ..Default::default() }, &["disabled"]);
    let refused = world.channels().update_channel(rpc::request(&world.owner(), patch)).await;
    assert_eq!(error(refused).code, "archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_organizations_see_nothing() {
    let world = World::new().await;
    let created = world.create_channel("ops", "http://127.0.0.1:9/").await;
    let stranger = world.db.cx(&["channels_read", "channels_write"]);
    let get = wire::GetChannelRequest { id: created.id.clone() };
    let got = world.channels().get_channel(rpc::request(&stranger, get)).await;
    assert_eq!(error(got).kind, Kind::NotFound);
    let test = wire::TestChannelRequest { id: created.id.clone() };
    let tested = world.channels().test_channel(rpc::request(&stranger, test)).await;
    assert_eq!(error(tested).kind, Kind::NotFound);
    let nobody = world.db.cx_in(world.org, &[]);
    let refused = world.channels().list_channels(rpc::request(&nobody, Default::default())).await;
    assert_eq!(error(refused).kind, Kind::Forbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_goes_out_signed_and_once_for_one_key() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let created = world.create_channel("ops", &receiver.url("hook")).await;
    let test = wire::TestChannelRequest { id: created.id.clone() };
    let ask = async || {
        let request = rpc::keyed(&world.owner(), "test-once", test.clone()).expect("ascii");
        world.channels().test_channel(request).await.expect("accepted")
    };
    let first = ask().await;
    let notification = world.until(&first.get_ref().id, wire::NotificationStatus::Delivered).await;
    let again = ask().await;
    assert_eq!(again.get_ref().id, first.get_ref().id);
    assert!(again.metadata().contains_key(rpc::IDEMPOTENCY_REPLAYED));

    assert_eq!(receiver.headers("webhook-id"), std::slice::from_ref(&notification.key));
    let hit = &receiver.hits()[0];
    assert_eq!(hit.json()["type"], "channel.test");
    let verifier = standardwebhooks::Webhook::new(&created.secret.expect("shown")).expect("a secret");
    verifier.verify(&hit.body, &hit.headers).expect("an independent implementation agrees");
    assert_eq!((notification.incident_id, notification.attempts.len()), (None, 1));
    assert_eq!(notification.attempts[0].outcome(), wire::AttemptOutcome::Delivered);
    assert_eq!((notification.attempts[0].status, notification.due_at), (200, None));
}
