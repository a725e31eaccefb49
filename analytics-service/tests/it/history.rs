use chrono::{DateTime, TimeDelta, Utc};
use proto::analytics::v1::{GetMttrRequest, GetSummaryRequest, GroupBy, ListHistoryRequest};
use proto::incident::v1::IncidentStatus;

use crate::fixture::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn numbers_follow_from_events_however_often_they_come() {
    let fixture = Fixture::new().await;
    let now = fixture.cx.now;
    let mut log = fixture.life(now, Some(200), Some(1_000));
    log.extend(fixture.life(now, Some(400), Some(3_000)));
    log.extend(fixture.life(now, None, None));
    fixture.hear(&log).await;
    fixture.hear(&log).await;
    let groups = fixture.mttr(GetMttrRequest::default()).await;
    let [all] = groups.as_slice() else { panic!("one group: {groups:?}") };
    assert_eq!((all.incidents, all.acknowledged, all.resolved), (3, 2, 2));
    let (mtta, mttr) = (all.mtta.unwrap(), all.mttr.unwrap());
    assert_eq!((mtta.mean_ms, mtta.p50_ms, mtta.p90_ms), (Some(300), Some(300), Some(380)));
    assert_eq!((mttr.mean_ms, mttr.p50_ms, mttr.p90_ms), (Some(2_000), Some(2_000), Some(2_800)));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_by_service_severity_and_day_in_the_zone() {
    let fixture = Fixture::new().await;
    // 23:30 UTC of a day is already the next one in Berlin.
    let late: DateTime<Utc> = "2026-03-01T23:30:00Z".parse().unwrap();
    fixture.hear(&fixture.life(late, None, Some(10))).await;
    let by = |group_by: GroupBy, zone: &str| GetMttrRequest {
        group_by: group_by.into(),
        time_zone: zone.to_owned(),
        created_after: Some(proto::time::to_timestamp(late)),
        ..GetMttrRequest::default()
    };
    let key = async |request| fixture.mttr(request).await[0].key.clone();
    assert_eq!(key(by(GroupBy::Day, "")).await, "2026-03-01");
    assert_eq!(key(by(GroupBy::Day, "Europe/Berlin")).await, "2026-03-02");
    assert_eq!(key(by(GroupBy::Severity, "")).await, "critical");
    assert_eq!(key(by(GroupBy::Service, "")).await, fixture.service.to_string());
    let before =
        GetMttrRequest { created_before: Some(proto::time::to_timestamp(late)), ..by(GroupBy::Day, "") };
    assert!(fixture.mttr(before).await.is_empty(), "the end is exclusive");
    let unknown = by(GroupBy::Day, "Moon/Base");
    let refused = fixture.try_mttr(unknown).await.unwrap_err();
    assert_eq!((refused.fields[0].field.as_str(), refused.code), ("time_zone", "unknown_time_zone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_and_of_one_organization() {
    let fixture = Fixture::new().await;
    for minute in 0..3 {
        let created = fixture.cx.now + TimeDelta::minutes(minute);
        fixture.hear(&fixture.life(created, None, (minute == 1).then_some(5))).await;
    }
    let mut request = ListHistoryRequest { page_size: 2, ..ListHistoryRequest::default() };
    let mut seen = Vec::new();
    loop {
        let page = fixture.history(request.clone()).await.expect("a page");
        seen.extend(page.items.iter().map(|record| record.created_at.unwrap().seconds));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), 3);
    assert!(seen.is_sorted_by(|newer, older| newer > older), "newest first: {seen:?}");
    let stranger = fixture.db.cx(&["analytics_read"]);
    assert_eq!(fixture.summary(&stranger, GetSummaryRequest::default()).await.total, 0);
    let own = fixture.summary(&fixture.cx, GetSummaryRequest::default()).await;
    assert_eq!((own.total, own.open, own.resolved), (3, 2, 1));
    assert_eq!(own.by_service[0].service.as_ref().unwrap().name, "Payment");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escalation_out_of_the_dead_letters_still_counts() {
    let fixture = Fixture::new().await;
    let mut incident = fixture.incident(fixture.cx.now);
    let created = fixture.event(&incident, 1, "created");
    let escalated = fixture.event(&incident, 2, "escalated");
    incident.set_status(IncidentStatus::Acknowledged);
    let acknowledged = fixture.event(&incident, 3, "acknowledged");
    fixture.hear(&[created, acknowledged]).await;
    fixture.replay(&[escalated]).await;
    let [record] = &fixture.history(ListHistoryRequest::default()).await.expect("a page").items[..] else {
        panic!("one record")
    };
    assert_eq!((record.escalations, record.status()), (1, IncidentStatus::Acknowledged));
}

/// A quiet team's page is read from its own rows, and in order.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_team_has_an_index() {
    let fixture = Fixture::new().await;
    let admin = fixture.db.admin().await;
    let setup =
        "SET search_path TO pulseops_analytics; SET enable_seqscan = off; SET enable_bitmapscan = off";
    admin.batch_execute(setup).await.expect("set");
    let id = fixture.service;
    let sql = format!(
        "EXPLAIN SELECT * FROM incident_records WHERE org_id = '{id}' AND NOT merged AND team_id = '{id}' \
         ORDER BY created_at DESC, incident_id DESC LIMIT 51"
    );
    let plan: Vec<String> =
        admin.query(&sql, &[]).await.expect("a plan").iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("incident_records_team_idx") && !plan.contains("Sort"), "{plan}");
}
