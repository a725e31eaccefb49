//! Who is told, with the real auth-service.

use std::time::Duration;

use notification_service::{Config, Delivery};
use platform::ctx::Ctx;
use platform::error::Kind;
use platform::rpc::{self, Fault};
use proto::api::v1::{Target, TargetKind};
use proto::auth::v1 as auth;
use proto::incident::v1::TimelineKind;
use proto::incident::v1::timeline_entry::Data;
use proto::notification::v1 as wire;
use wire::NotificationStatus::Delivered;

use crate::neighbours::{
    MEMBERS, RECORD, USER, add_member, create_incident, create_method, create_method_of, create_team,
    create_user, down, entries, page, set_status, settled, timeline,
};
use crate::world::{SOON, World, channel, error, quick, user};
use platform::testing::{Receiver, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_member_is_not_told() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    create_method(&world, &receiver.url("olga")).await;
    let team = create_team(&world).await;
    let bob = create_user(&world, "Bob").await;
    create_method_of(&world, bob, &receiver.url("bob")).await;
    add_member(&world, &team, bob).await;

    set_status(&world, bob, auth::UserStatus::Disabled).await;
    let without = world.send(world.page("without", vec![team.clone()])).await;
    assert_eq!(without.recipients, ["Olga"]);

    set_status(&world, bob, auth::UserStatus::Active).await;
    world.db.advance(Duration::from_secs(601)).await;
    let mut with = world.send(world.page("with", vec![team])).await.recipients;
    with.sort();
    assert_eq!(with, ["Bob", "Olga"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_is_asked_for_trusted_and_remembered() {
    // Long for an answer, short of what the caller waits.
    let delivery = Delivery { peer_timeout_ms: 3_000, ..quick().delivery };
    let world = World::with_peers_and(Config { delivery, ..Config::default() }).await;
    let receiver = Receiver::start().await;
    create_method(&world, &receiver.url("olga")).await;
    let team = create_team(&world).await;
    let faults = world.deps.directory.faults();

    let asked = world.send(world.page("asked", vec![team.clone()])).await;
    assert_eq!(
        (asked.recipients.as_slice(), asked.nobody_reachable),
        (["Olga".to_owned()].as_slice(), false)
    );

    // Young: nobody is asked, so the fault waits on.
    faults.inject(MEMBERS, 1, down());
    let trusted = world.send(world.page("trusted", vec![team.clone()])).await;
    assert_eq!((trusted.recipients, faults.waiting(MEMBERS)), (asked.recipients.clone(), 1));

    world.db.advance(Duration::from_secs(601)).await;
    let remembered = world.send(world.page("remembered", vec![team.clone()])).await;
    assert_eq!((remembered.recipients, faults.waiting(MEMBERS)), (asked.recipients.clone(), 0));

    // Too slow is silent, long before the caller gives up.
    faults.inject(MEMBERS, 1, Fault::Delay(Duration::from_secs(600)));
    let slow = tokio::time::timeout(SOON, world.send(world.page("slow", vec![team]))).await;
    assert_eq!(slow.expect("it is not waited for").recipients, asked.recipients);
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_and_the_log_are_the_last_resort() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    create_method(&world, &receiver.url("olga")).await;
    let stranger = world.db.source().id();
    let sent = world.send(world.page("k", vec![user(stranger)])).await;
    assert_eq!(
        (sent.recipients.as_slice(), sent.nobody_reachable),
        (["Olga".to_owned(), "server log".to_owned()].as_slice(), true)
    );
    for id in &sent.notification_ids {
        world.until(id, Delivered).await;
    }
    assert_eq!(receiver.hits().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn contact_methods_are_their_persons() {
    let world = World::with_peers().await;
    let olga = world.owner().principal.id;
    let list = async |cx: &Ctx, user: String| {
        let request = wire::ListContactMethodsRequest { user_id: user, ..Default::default() };
        world.methods().list_contact_methods(rpc::request(cx, request)).await
    };
    let viewer = world.db.cx_in(world.org, &["profile"]);
    assert_eq!(error(list(&viewer, olga.to_string()).await).kind, Kind::Forbidden);
    let admin = world.db.cx_in(world.org, &["profile", "users_write"]);
    assert_eq!(list(&admin, olga.to_string()).await.expect("hers").into_inner().items.len(), 1);
    let unknown = world.db.source().id().to_string();
    assert_eq!(error(list(&admin, unknown).await).kind, Kind::NotFound);
    let stranger = world.db.cx(&["profile", "users_write"]);
    assert_eq!(error(list(&stranger, olga.to_string()).await).kind, Kind::NotFound);
    // Nobody knows whether she is of this organization while auth is silent; she herself needs no word.
    let faults = world.deps.directory.faults();
    faults.inject(USER, 1, down());
    assert_eq!(error(list(&admin, olga.to_string()).await).kind, Kind::Unavailable);
    assert_eq!(faults.waiting(USER), 0);
    faults.inject(USER, 1, down());
    assert_eq!(list(&world.owner(), olga.to_string()).await.expect("hers").into_inner().items.len(), 1);
    assert_eq!(faults.waiting(USER), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_belongs_to_a_team_that_exists() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let team = create_team(&world).await;
    let create = async |slug: &str, team_id: &str| {
        let channel = wire::Channel {
            slug: slug.to_owned(),
            name: "Payments".to_owned(),
            team_id: Some(team_id.to_owned()),
            kind: wire::ChannelKind::Webhook.into(),
            address: receiver.url("team"),
            ..Default::default()
        };
        let request = wire::CreateChannelRequest { channel: Some(channel) };
        world.channels().create_channel(rpc::request(&world.owner(), request)).await
    };
    let refused = error(create("a", &world.db.source().id().to_string()).await);
    assert_eq!((refused.code, refused.fields[0].field.as_str()), ("unknown_reference", "channel.team_id"));
    create("b", &team.id).await.expect("created");
    let sent = world.send(world.page("k", vec![team])).await;
    assert_eq!(sent.recipients, ["Payments"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_is_not_nobody() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    create_method(&world, &receiver.url("olga")).await;
    let team = create_team(&world).await;
    let faults = world.deps.directory.faults();
    let page = world.page("k", vec![team.clone()]);

    // Asked in a hurry, then with patience; nobody else is named.
    let silent = async |page: &wire::SendRequest| {
        faults.inject(MEMBERS, 2, down());
        let refused = error(world.try_send(page.clone()).await);
        let asked = faults.waiting(MEMBERS);
        assert_eq!((refused.kind, refused.code, asked), (Kind::Unavailable, "people_unknown", 0));
    };
    silent(&page).await;
    // The key is not spent: the same request reaches the people.
    let sent = world.send(page).await;
    assert_eq!((sent.recipients.as_slice(), sent.nobody_reachable), (["Olga".to_owned()].as_slice(), false));

    // However old the decision is, and longer than those wait who have told somebody; a minute after the first try somebody must be told: the owners, who are known.
    world.forget_groups("team").await;
    let mut old = world.page("old", vec![team]);
    let decided_at = world.db.source().now() - Duration::from_secs(600);
    old.decided_at = Some(proto::time::to_timestamp(decided_at));
    silent(&old).await;
    world.db.advance(Duration::from_secs(20)).await;
    silent(&old).await;
    world.db.advance(Duration::from_secs(41)).await;
    faults.inject(MEMBERS, 2, down());
    let sent = world.send(old.clone()).await;
    assert_eq!((sent.recipients.len(), sent.nobody_reachable), (2, true));
    assert_eq!(faults.waiting(MEMBERS), 0);
    assert_eq!(world.send(old).await, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_not_known_is_told_later_than_those_who_are() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    create_method(&world, &receiver.url("olga")).await;
    let ops = world.create_channel("ops", &receiver.url("ops")).await;
    let same = world.create_channel("same", &receiver.url("olga")).await;
    let incident = create_incident(&world).await;
    let team = create_team(&world).await;
    let faults = world.deps.directory.faults();
    let silent = async |request: &wire::SendRequest| {
        faults.inject(MEMBERS, 2, down());
        let refused = error(world.try_send(request.clone()).await);
        assert_eq!((refused.code, faults.waiting(MEMBERS)), ("people_unknown", 0));
    };

    // The channel is told at once and once, the team when it is known, under the same key.
    let request = page(&world, "k", &incident, vec![team.clone(), channel(&ops.id)], Duration::ZERO);
    silent(&request).await;
    receiver.nth("/ops", 1).await;
    let sent = world.send(request.clone()).await;
    assert_eq!(
        (sent.recipients.as_slice(), sent.nobody_reachable),
        (["OPS", "Olga"].map(String::from).as_slice(), false)
    );
    for id in &sent.notification_ids {
        world.until(id, Delivered).await;
    }
    assert_eq!(world.send(request).await, sent);
    assert_eq!((receiver.hits_of("/ops").len(), receiver.hits_of("/olga").len()), (1, 1));
    settled(&world).await;
    assert!(!notes(&world, &incident.id).await.iter().any(|text| text.contains("a team")));

    // An address that has the word already does not get it again for somebody else.
    world.forget_groups("team").await;
    let request = page(&world, "l", &incident, vec![team.clone(), channel(&same.id)], Duration::ZERO);
    silent(&request).await;
    let sent = world.send(request.clone()).await;
    assert_eq!(sent.recipients, ["SAME, Olga"]);
    assert_eq!(world.send(request).await, sent);

    // Seconds later the team is given up: the level ends, and the timeline says so.
    world.forget_groups("team").await;
    let request = page(&world, "m", &incident, vec![team, channel(&ops.id)], Duration::ZERO);
    silent(&request).await;
    world.db.advance(Duration::from_secs(6)).await;
    faults.inject(MEMBERS, 1, down());
    let sent = world.send(request.clone()).await;
    assert_eq!((sent.recipients.as_slice(), sent.nobody_reachable), (["OPS".to_owned()].as_slice(), false));
    assert_eq!((world.send(request).await, faults.waiting(MEMBERS)), (sent, 0));
    until_noted(&world, &incident.id, UNKNOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_later_try_leaves_out_is_on_the_timeline() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("ops")).await;
    let incident = create_incident(&world).await;
    let team = create_team(&world).await;
    let faults = world.deps.directory.faults();

    // The team's only member has an address that no mail server reaches: nobody new is told.
    let request = page(&world, "k", &incident, vec![team, channel(&ops.id)], Duration::ZERO);
    faults.inject(MEMBERS, 2, down());
    assert_eq!(error(world.try_send(request.clone()).await).code, "people_unknown");
    receiver.nth("/ops", 1).await;
    settled(&world).await;
    assert_eq!(notes(&world, &incident.id).await, Vec::<String>::new());
    assert_eq!(world.send(request).await.recipients, ["OPS"]);
    until_noted(&world, &incident.id, "not told by email: Olga").await;
    settled(&world).await;
    assert_eq!(notes(&world, &incident.id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_comes_to_a_delivery_on_its_way_is_told_after_it() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let gate = receiver.gate();
    let ops = world.create_channel("ops", &receiver.url("ops")).await;
    let incident = create_incident(&world).await;
    let team = create_team(&world).await;
    let request = page(&world, "k", &incident, vec![team, channel(&ops.id)], Duration::ZERO);
    world.deps.directory.faults().inject(MEMBERS, 2, down());
    assert_eq!(error(world.try_send(request.clone()).await).code, "people_unknown");
    eventually(SOON, async || (receiver.hits().len() == 1).then_some(())).await;
    // The attempt under way has read its row before.
    let sent = world.send(request).await;
    gate.add_permits(9);
    world.until(&sent.notification_ids[0], Delivered).await;
    until_noted(&world, &incident.id, "not told by email: Olga").await;
    settled(&world).await;
    assert_eq!(timeline(&world, &incident.id, TimelineKind::Notified).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_that_hangs_holds_up_no_answer() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("ops")).await;
    let incident = create_incident(&world).await;
    let faults = world.deps.directory.faults();
    let mut targets = vec![channel(&ops.id)];
    for _ in 0..10 {
        let id = world.db.source().id().to_string();
        targets.push(Target { kind: TargetKind::Team.into(), id });
    }
    let request = page(&world, "k", &incident, targets, Duration::ZERO);
    faults.inject(MEMBERS, 30, down());
    assert_eq!(error(world.try_send(request.clone()).await).code, "people_unknown");
    // Each of these costs whoever tells the timeline three seconds.
    faults.inject(RECORD, 12, Fault::Delay(Duration::from_secs(600)));
    world.db.advance(Duration::from_secs(6)).await;
    let sent = world.send(request).await;
    assert_eq!((sent.recipients.as_slice(), sent.nobody_reachable), (["OPS".to_owned()].as_slice(), false));
}

const UNKNOWN: &str = "not told: a team (who that is is not known and auth-service does not say)";

/// Until the incident's timeline has a note that begins so.
async fn until_noted(world: &World, incident: &str, text: &str) {
    let noted = async || notes(world, incident).await.iter().any(|it| it.starts_with(text)).then_some(());
    eventually(SOON, noted).await;
}

/// The texts of the notes on an incident's timeline.
async fn notes(world: &World, incident: &str) -> Vec<String> {
    let notes = entries(world, incident, TimelineKind::Note).await.into_iter();
    notes.filter_map(|data| if let Data::Note(note) = data { Some(note.text) } else { None }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_a_disabled_account_can_be_put_in_order() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let bob = create_user(&world, "Bob").await;
    let method = create_method_of(&world, bob, &receiver.url("bob")).await;
    set_status(&world, bob, auth::UserStatus::Disabled).await;
    let list = wire::ListContactMethodsRequest { user_id: bob.to_string(), ..Default::default() };
    let listed = world.methods().list_contact_methods(rpc::request(&world.owner(), list)).await;
    assert!(listed.expect("his").into_inner().items.iter().any(|item| item.id == method.id));
    let delete = wire::DeleteContactMethodRequest { user_id: bob.to_string(), id: method.id };
    world.methods().delete_contact_method(rpc::request(&world.owner(), delete)).await.expect("ended");
}
