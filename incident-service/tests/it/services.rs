//! Services, and what refers to them.

use std::time::Duration;

use platform::error::Kind;
use platform::rpc;
use proto::api::v1::Urgency;
use proto::incident::v1 as wire;

use crate::world::{World, charges, each, failed, ok, refused, service};

#[tokio::test]
async fn a_service_is_made_read_changed_and_archived() {
    let world = World::new().await;
    let made = world.payment().await;
    assert_eq!((made.version, made.urgency_rule()), (1, wire::UrgencyRule::BySeverity));
    let twice = wire::CreateServiceRequest { service: Some(service("payment")) };
    let error = refused(world.services().create_service(rpc::request(&world.owner(), twice)).await);
    assert_eq!((error.kind, error.code), (Kind::Conflict, "already_exists"));

    let quiet = wire::Service { urgency_rule: wire::UrgencyRule::Low.into(), ..made.clone() };
    let quiet = world.update_service(quiet, &["urgency_rule"]).await;
    assert_eq!(world.create_incident(&quiet).await.urgency(), Urgency::Low);

    world.create_rule(charges(&quiet, each())).await;
    let delete = wire::DeleteServiceRequest { id: made.id.clone() };
    ok(world.services().delete_service(rpc::request(&world.owner(), delete)).await);
    let refused_rule = wire::CreateRuleRequest {
        rule: Some(wire::Rule { slug: "x".to_owned(), ..charges(&quiet, each()) }),
    };
    let error = refused(world.rules().create_rule(rpc::request(&world.owner(), refused_rule)).await);
    assert_eq!((error.fields[0].field.as_str(), error.fields[0].code), ("rule.service_id", "archived"));
    // What is on its way for it opens nothing more.
    world.send(&quiet, [failed("a")]).await;
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);
}

#[tokio::test]
async fn services_are_found_by_slug_and_id() {
    let world = World::new().await;
    let (payment, orders) = (world.payment().await, world.create_service(service("orders")).await);
    let names = vec!["payment".to_owned(), orders.id.clone(), "nobody".to_owned(), payment.id.clone()];
    let request = wire::ResolveServicesRequest { names };
    let found =
        ok(world.services().resolve_services(rpc::request(&world.workflow(), request)).await).services;
    let found: Vec<(&str, &str)> = found.iter().map(|s| (s.asked.as_str(), s.slug.as_str())).collect();
    let expected = [("payment", "payment"), (orders.id.as_str(), "orders"), (payment.id.as_str(), "payment")];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_slug_of_an_archived_service_stays_taken_and_that_is_said() {
    let world = World::new().await;
    let payment = world.payment().await;
    let again = || {
        let service = Some(service("payment"));
        rpc::request(&world.owner(), wire::CreateServiceRequest { service })
    };
    let error = refused(world.services().create_service(again()).await);
    assert_eq!(error.detail, "a service of this organization has this slug");
    let delete = wire::DeleteServiceRequest { id: payment.id };
    ok(world.services().delete_service(rpc::request(&world.owner(), delete)).await);
    let error = refused(world.services().create_service(again()).await);
    assert_eq!(error.code, "already_exists");
    assert!(error.detail.starts_with("an archived service has this slug"), "{}", error.detail);
}

#[tokio::test]
async fn lists_are_sorted_and_filtered() {
    let world = World::new().await;
    for slug in ["c", "a", "b"] {
        world.create_service(service(slug)).await;
    }
    let slugs = async |request: wire::ListServicesRequest| {
        let page = ok(world.services().list_services(rpc::request(&world.owner(), request)).await);
        page.items.iter().map(|service| service.slug.clone()).collect::<Vec<_>>().join("")
    };
    let none = wire::ListServicesRequest::default;
    assert_eq!(slugs(none()).await, "bac");
    assert_eq!(slugs(wire::ListServicesRequest { sort: "name".to_owned(), ..none() }).await, "abc");
    let some = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(
        slugs(wire::ListServicesRequest { slug: some, sort: "-name".to_owned(), ..none() }).await,
        "ba"
    );
}

#[tokio::test]
async fn what_is_over_is_swept() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, crate::world::count(3, 60))).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;
    assert_eq!(world.number("SELECT count(*) FROM pulseops_incident.windows").await, 1);
    world.db.advance(Duration::from_secs(60 + 300 + 121)).await;
    world.sweep().await;
    assert_eq!(world.number("SELECT count(*) FROM pulseops_incident.windows").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM pulseops_incident.seen_events").await, 0);
}
