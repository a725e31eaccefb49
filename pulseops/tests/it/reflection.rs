//! Over real TCP: what the port tells about itself, and roles in processes of their own.

use std::collections::BTreeSet;

use platform::testing::{SOON, TestDb, eventually};
use pulseops::roles::{Role, migrations};
use serde_json::json;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::client::Client;
use crate::support::ports::free;
use crate::world::{TestPlatform, config, start};

fn channel(address: std::net::SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy()
}

async fn reflected(channel: Channel) -> BTreeSet<String> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures::stream::iter([request]);
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(requests)
        .await
        .expect("reflection")
        .into_inner();
    let answer = answers.message().await.expect("an answer").expect("one");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}");
    };
    list.service.into_iter().map(|service| service.name).collect()
}

/// The services of the contract below `package`. The intake is a door of the gateway's REST face and serves
/// no gRPC.
fn services(package: &str) -> BTreeSet<String> {
    let names = proto::descriptor_pool().services().map(|service| service.full_name().to_owned());
    names.filter(|name| name.starts_with(package) && name != "pulseops.events.v1.EventService").collect()
}

/// Without health and reflection itself.
fn ours(mut listed: BTreeSet<String>) -> BTreeSet<String> {
    for infrastructure in ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(listed.remove(infrastructure), "{infrastructure}: {listed:?}");
    }
    listed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_tells_what_it_serves_and_how_it_is() {
    let platform = TestPlatform::start().await;
    let channel = channel(platform.grpc);
    let served = services("pulseops.");
    assert_eq!(ours(reflected(channel.clone()).await), served);
    let others = ["", "postgres", "bus"].map(str::to_owned);
    for service in served.into_iter().chain(others) {
        eventually(SOON, async || {
            let request = HealthCheckRequest { service: service.clone() };
            let answer = HealthClient::new(channel.clone()).check(request).await;
            answer.is_ok_and(|it| it.get_ref().status() == ServingStatus::Serving).then_some(())
        })
        .await;
    }
    let http = Client::new(format!("http://{}", platform.grpc));
    let all = json!({"bus": true, "consumers": true, "postgres": true});
    http.until("/readyz", |ready| (ready["checks"] == all).then_some(())).await;
    http.get("/healthz").await.expect(200);
    assert!(platform.nobody.get("/docs").await.text.contains("openapi.json"));
}

/// auth-service, incident-service and the rest in three processes that know one another's addresses.
#[tokio::test(flavor = "multi_thread")]
async fn roles_in_processes_of_their_own_call_one_another_over_tcp() {
    let db = TestDb::with(&migrations()).await;
    let mut config = config();
    let (auth, ports) = start(&db, &config, &[Role::Auth]).await;
    config.services.of_mut(Role::Auth).address = format!("http://{}", ports.grpc[0].0);
    let listed = ours(reflected(channel(ports.grpc[0].0)).await);
    assert_eq!(
        listed,
        services("pulseops.auth."),
        "a role alone tells of what it serves, and of nothing else"
    );
    // The incident role asks auth and workflow; workflow is known only after it has started.
    let rest = [Role::Notification, Role::Workflow, Role::Analytics, Role::Gateway];
    let incident_at = free();
    config.services.of_mut(Role::Incident).address = format!("http://{incident_at}");
    let (others, ports) = start(&db, &config, &rest).await;
    let workflow = format!("http://{}", ports.grpc[0].0);
    for role in rest {
        config.services.of_mut(role).address.clone_from(&workflow);
    }
    let mut incident =
        pulseops::assemble::Assembly::build(&crate::world::ground(&db), &config, &[Role::Incident])
            .await
            .expect("assembled");
    let wanted = pulseops::assemble::Ports { grpc: vec![(incident_at, vec![Role::Incident])], rest: None };
    incident.listen(&wanted).await.expect("the reserved port");

    let nobody = Client::new(format!("http://{}", ports.rest.expect("the gateway")));
    let ada = nobody.register("Ada").await;
    let method = json!({"kind": "log"});
    ada.create(&format!("/v1/users/{}/contact-methods", ada.id), method).await;
    let team = ada.create("/v1/teams", json!({"slug": "payments", "name": "Payments"})).await;
    ada.create(
        &format!("/v1/teams/{}/members", team["id"].as_str().expect("id")),
        json!({"user_id": ada.id}),
    )
    .await;
    let service = json!({"slug": "payment", "name": "Payment", "team_id": team["id"]});
    let service = ada.create("/v1/services", service).await;
    let rule = crate::support::story::rule(service["id"].as_str().expect("id"), 1);
    ada.create("/v1/rules", rule).await;
    ada.post("/v1/events", crate::support::story::failure()).await.expect(202);
    let number = ada.until("/v1/incidents", |list| list.pointer("/items/0/number").cloned()).await;
    let told = |list: &serde_json::Value| {
        let items = list["items"].as_array()?;
        items.iter().any(|entry| entry["kind"] == "notified").then_some(())
    };
    ada.until(&format!("/v1/incidents/{number}/timeline"), told).await;
    ada.post(&format!("/v1/incidents/{number}/resolve"), json!({})).await.expect(200);
    ada.until("/v1/analytics/mttr", |mttr| (mttr.pointer("/groups/0/resolved")? == &json!(1)).then_some(()))
        .await;
    for assembly in [others, incident, auth] {
        assembly.stop().await.expect("a clean end");
    }
}
