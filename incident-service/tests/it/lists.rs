//! Lists: pages without gaps, filters, and tokens that belong to their list.

use chrono::TimeDelta;
use platform::rpc;
use proto::api::v1::Severity;
use proto::incident::v1 as wire;
use proto::incident::v1::IncidentStatus;

use crate::world::{World, draft, ok, refused};

async fn seven(world: &World) -> wire::Service {
    let payment = world.payment().await;
    for number in 1..=7 {
        let severity = if number % 2 == 0 { Severity::Low } else { Severity::High };
        let incident = wire::Incident { severity: severity.into(), ..draft(&payment) };
        let message = wire::CreateIncidentRequest { incident: Some(incident) };
        ok(world.incidents().create_incident(rpc::request(&world.owner(), message)).await);
    }
    payment
}

async fn numbers(world: &World, request: wire::ListIncidentsRequest) -> Vec<i64> {
    let mut request = wire::ListIncidentsRequest { page_size: 3, ..request };
    let mut numbers = Vec::new();
    loop {
        let page = ok(world.incidents().list_incidents(rpc::request(&world.owner(), request.clone())).await);
        assert!(page.items.len() <= 3);
        numbers.extend(page.items.iter().map(|incident| incident.number));
        if page.next_page_token.is_empty() {
            return numbers;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn pages_follow_one_another_in_every_order() {
    let world = World::new().await;
    seven(&world).await;
    let sorted = |sort: &str| wire::ListIncidentsRequest { sort: sort.to_owned(), ..Default::default() };
    assert_eq!(numbers(&world, sorted("")).await, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(numbers(&world, sorted("created_at")).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(numbers(&world, sorted("-number")).await, [7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn filters_narrow() {
    let world = World::new().await;
    let payment = seven(&world).await;
    world.resolve("3").await;
    let none = wire::ListIncidentsRequest::default;
    let low = wire::ListIncidentsRequest { severity: vec![Severity::Low.into()], ..none() };
    assert_eq!(numbers(&world, low).await, [6, 4, 2]);
    let open = vec![IncidentStatus::Triggered.into(), IncidentStatus::Acknowledged.into()];
    let open = wire::ListIncidentsRequest { status: open, service_id: vec![payment.id], ..none() };
    assert_eq!(numbers(&world, open).await, [7, 6, 5, 4, 2, 1]);
    let nobody = vec![world.owner().principal.id.to_string()];
    let mine = wire::ListIncidentsRequest { assignee_id: nobody, ..none() };
    assert_eq!(numbers(&world, mine).await, [0_i64; 0]);
    let fifth = world.incident("5").await.created_at;
    let after = wire::ListIncidentsRequest { created_after: fifth, ..none() };
    assert_eq!(numbers(&world, after).await, [7, 6, 5]);
    let before = wire::ListIncidentsRequest { created_before: fifth, ..none() };
    assert_eq!(numbers(&world, before).await, [4, 3, 2, 1]);
}

#[tokio::test]
async fn a_token_belongs_to_its_list() {
    let world = World::new().await;
    seven(&world).await;
    let first = wire::ListIncidentsRequest { page_size: 2, ..Default::default() };
    let page = ok(world.incidents().list_incidents(rpc::request(&world.owner(), first)).await);
    let other = wire::ListIncidentsRequest {
        page_token: page.next_page_token,
        severity: vec![Severity::Low.into()],
        ..Default::default()
    };
    let error = refused(world.incidents().list_incidents(rpc::request(&world.owner(), other)).await);
    assert_eq!(error.fields[0].code, "page_token_mismatch");
}

#[tokio::test]
async fn a_timeline_has_pages_and_kinds() {
    let world = World::new().await;
    world.create_incident(&world.payment().await).await;
    for text in ["a", "b", "c"] {
        let note = wire::CreateNoteRequest { id: "1".to_owned(), text: text.to_owned() };
        ok(world.incidents().create_note(rpc::request(&world.owner(), note)).await);
    }
    let mut request = wire::ListTimelineRequest {
        id: "1".to_owned(),
        page_size: 2,
        sort: "-at".to_owned(),
        kind: vec![wire::TimelineKind::Note.into()],
        ..Default::default()
    };
    let page = ok(world.incidents().list_timeline(rpc::request(&world.owner(), request.clone())).await);
    request.page_token = page.next_page_token;
    let rest = ok(world.incidents().list_timeline(rpc::request(&world.owner(), request)).await);
    assert_eq!((page.items.len(), rest.items.len(), rest.next_page_token.as_str()), (2, 1, ""));
}

#[tokio::test]
async fn an_incident_lists_its_alerts() {
    let world = World::new().await;
    let payment = seven(&world).await;
    let request = wire::ListIncidentAlertsRequest { id: "4".to_owned(), ..Default::default() };
    let page = ok(world.incidents().list_incident_alerts(rpc::request(&world.owner(), request)).await);
    let [alert] = &page.items[..] else { panic!("exactly one alert") };
    assert_eq!(alert.incident_id, Some(world.incident("4").await.id));
    assert!(alert.dedup_key.starts_with("manual:"));
    let get = wire::GetAlertRequest { id: alert.id.clone() };
    assert_eq!(ok(world.alerts().get_alert(rpc::request(&world.owner(), get)).await), *alert);
    let of_others = wire::ListAlertsRequest {
        service_id: vec![payment.id],
        dedup_key: vec!["none".to_owned()],
        ..Default::default()
    };
    assert!(ok(world.alerts().list_alerts(rpc::request(&world.owner(), of_others)).await).items.is_empty());
    let far = world.db.source().now() + TimeDelta::days(1);
    let later = wire::ListIncidentsRequest {
        created_after: Some(proto::time::to_timestamp(far)),
        ..Default::default()
    };
    assert_eq!(numbers(&world, later).await, [0_i64; 0]);
}
