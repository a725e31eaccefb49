//! With the real auth- and incident-service.

use std::time::Duration;

use platform::ctx::Ctx;
use platform::error::{Error, Kind};
use platform::failpoint;
use platform::rpc::{self, Fault};
use platform::testing::eventually;
use proto::api::v1::{Role, Severity, Target, TargetKind};
use proto::auth::v1 as auth;
use proto::auth::v1::team_service_client::TeamServiceClient;
use proto::auth::v1::user_service_client::UserServiceClient;
use proto::incident::v1 as incident;
use proto::incident::v1::TimelineKind;
use proto::incident::v1::incident_service_client::IncidentServiceClient;
use proto::incident::v1::service_service_client::ServiceServiceClient;
use proto::incident::v1::timeline_entry::Data;
use proto::notification::v1 as wire;
use uuid::Uuid;
use wire::NotificationStatus::{Cancelled, Dead, Delivered};

use crate::world::{SOON, World, channel, error, user};
use platform::testing::Receiver;

const MEMBERS: &str = "/pulseops.auth.v1.TeamService/ListTeamMembers";
const STATES: &str = "/pulseops.incident.v1.ResponseService/GetStates";
const RECORD: &str = "/pulseops.incident.v1.ResponseService/RecordStep";

fn down() -> Fault {
    Fault::Fail(Error::unavailable("down", "it is down"))
}

async fn create_team(world: &World) -> Target {
    let mut client = TeamServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
    let team = auth::Team { slug: "payments".to_owned(), name: "Payments".to_owned(), ..Default::default() };
    let request = auth::CreateTeamRequest { team: Some(team) };
    let team = client.create_team(rpc::request(&world.owner(), request)).await.expect("created").into_inner();
    let team = Target { kind: TargetKind::Team.into(), id: team.id };
    add_member(world, &team, world.owner().principal.id).await;
    team
}

async fn add_member(world: &World, team: &Target, user: Uuid) {
    let mut client = TeamServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
    let member = auth::AddTeamMemberRequest {
        team_id: team.id.clone(),
        user_id: user.to_string(),
        ..Default::default()
    };
    client.add_team_member(rpc::request(&world.owner(), member)).await.expect("added");
}

fn users(world: &World) -> UserServiceClient<rpc::Transport> {
    UserServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"))
}

async fn create_user(world: &World, name: &str) -> Uuid {
    let user = auth::User {
        email: format!("{name}@example.com"),
        name: name.to_owned(),
        role: Role::Responder.into(),
        ..Default::default()
    };
    let request = auth::CreateUserRequest { user: Some(user) };
    let user = users(world).create_user(rpc::request(&world.owner(), request)).await.expect("created");
    user.into_inner().id.parse().expect("a UUID")
}

async fn set_status(world: &World, user: Uuid, status: auth::UserStatus) {
    let request = auth::UpdateUserRequest {
        id: user.to_string(),
        user: Some(auth::User { status: status.into(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["status".to_owned()] }),
    };
    users(world).update_user(rpc::request(&world.owner(), request)).await.expect("changed");
}

/// Gives the owner a webhook.
async fn create_method(world: &World, url: &str) -> wire::ContactMethod {
    create_method_of(world, world.owner().principal.id, url).await
}

async fn create_method_of(world: &World, user: Uuid, url: &str) -> wire::ContactMethod {
    let method = wire::ContactMethod {
        kind: wire::ChannelKind::Webhook.into(),
        address: url.to_owned(),
        ..Default::default()
    };
    let request =
        wire::CreateContactMethodRequest { user_id: user.to_string(), contact_method: Some(method) };
    let created = world.methods().create_contact_method(rpc::request(&world.owner(), request)).await;
    created.expect("created").into_inner()
}

fn incidents(world: &World) -> IncidentServiceClient<rpc::Transport> {
    IncidentServiceClient::new(world.deps.directory.transport("pulseops.incident.v1"))
}

async fn create_incident(world: &World) -> incident::Incident {
    let service =
        incident::Service { slug: "payment".to_owned(), name: "payment".to_owned(), ..Default::default() };
    let request = incident::CreateServiceRequest { service: Some(service) };
    let mut services = ServiceServiceClient::new(world.deps.directory.transport("pulseops.incident.v1"));
    let service = services.create_service(rpc::request(&world.owner(), request)).await.expect("created");
    let incident = incident::Incident {
        title: "charge.failed".to_owned(),
        severity: Severity::Critical.into(),
        service_id: service.into_inner().id,
        ..Default::default()
    };
    let request = incident::CreateIncidentRequest { incident: Some(incident) };
    incidents(world)
        .create_incident(rpc::request(&world.owner(), request))
        .await
        .expect("opened")
        .into_inner()
}

async fn acknowledge(world: &World, id: &str) {
    let request = incident::AcknowledgeIncidentRequest { id: id.to_owned(), ..Default::default() };
    incidents(world).acknowledge_incident(rpc::request(&world.owner(), request)).await.expect("taken");
}

async fn timeline(world: &World, id: &str, kind: TimelineKind) -> Vec<incident::NotificationData> {
    let request =
        incident::ListTimelineRequest { id: id.to_owned(), kind: vec![kind.into()], ..Default::default() };
    let page = incidents(world).list_timeline(rpc::request(&world.owner(), request)).await;
    let items = page.expect("a page").into_inner().items.into_iter();
    items
        .map(|entry| match entry.data {
            Some(Data::Notification(data)) => data,
            data => panic!("{data:?} is no notification"),
        })
        .collect()
}

/// A page about `incident` that was decided `age` ago.
fn page(
    world: &World,
    key: &str,
    incident: &incident::Incident,
    targets: Vec<Target>,
    age: Duration,
) -> wire::SendRequest {
    let mut request = world.page(key, targets);
    let decided_at = world.db.source().now() - age;
    request.decided_at = Some(proto::time::to_timestamp(decided_at));
    if let Some(event) = &mut request.incident {
        event.incident = Some(incident.clone());
    }
    request
}

/// Until no delivery has anything left to do.
async fn settled(world: &World) {
    let admin = world.db.admin().await;
    eventually(SOON, async || {
        let sql = "SELECT count(*) FROM pulseops_notification.notifications WHERE due_at IS NOT NULL";
        (admin.query_one(sql, &[]).await.ok()?.get::<_, i64>(0) == 0).then_some(())
    })
    .await;
}

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
    world.db.advance(Duration::from_secs(11)).await;
    let mut with = world.send(world.page("with", vec![team])).await.recipients;
    with.sort();
    assert_eq!(with, ["Bob", "Olga"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_is_asked_for_trusted_and_remembered() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    create_method(&world, &receiver.url("olga")).await;
    let team = create_team(&world).await;
    let faults = world.deps.directory.faults();

    let asked = world.send(world.page("asked", vec![team.clone()])).await;
    assert_eq!(
        (asked.recipients.as_slice(), asked.nobody_reachable),
        (["Olga".to_owned()].as_slice(), false)
    );

    // Younger than 10 s: nobody is asked, so the fault waits on.
    faults.inject(MEMBERS, 1, down());
    let trusted = world.send(world.page("trusted", vec![team.clone()])).await;
    assert_eq!((trusted.recipients, faults.waiting(MEMBERS)), (asked.recipients.clone(), 1));

    world.db.advance(Duration::from_secs(11)).await;
    let remembered = world.send(world.page("remembered", vec![team.clone()])).await;
    assert_eq!((remembered.recipients, faults.waiting(MEMBERS)), (asked.recipients.clone(), 0));

    // Too slow is silent.
    faults.inject(MEMBERS, 1, Fault::Delay(Duration::from_secs(5)));
    let started = std::time::Instant::now();
    let slow = world.send(world.page("slow", vec![team])).await;
    assert_eq!(slow.recipients, asked.recipients);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
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
    let old = Duration::from_secs(5);

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
    assert_eq!((refused.code, refused.fields[0].field.as_str()), ("invalid_reference", "channel.team_id"));
    create("b", &team.id).await.expect("created");
    let sent = world.send(world.page("k", vec![team])).await;
    assert_eq!(sent.recipients, ["Payments"]);
}
