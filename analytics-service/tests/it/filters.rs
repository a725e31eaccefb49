//! What is counted and listed, and what is not.

use chrono::{DateTime, TimeDelta, Utc};
use proto::analytics::v1::{GetMttrRequest, GetSummaryRequest, GroupBy, ListHistoryRequest};
use proto::api::v1::{Severity, Urgency};
use proto::incident::v1::IncidentStatus;
use uuid::Uuid;

use crate::fixture::{Fixture, reference};

struct Six {
    fixture: Fixture,
    services: [Uuid; 2],
    teams: [Uuid; 2],
}

impl Six {
    /// | number | severity | urgency | service | team | stands                      |
    /// |--------|----------|---------|---------|------|-----------------------------|
    /// | 1      | critical | high    | 0       | 0    | resolved by a person        |
    /// | 2      | high     | high    | 1       | 0    | resolved by itself          |
    /// | 3      | low      | low     | 0       | 1    | acknowledged                |
    /// | 4      | critical | high    | 1       |      | triggered                   |
    /// | 5      | critical | high    | 0       | 0    | resolved, merged: no number |
    /// | 6      | medium   | low     | 1       | 1    | resolved by itself          |
    async fn new() -> Self {
        use IncidentStatus::{Acknowledged, Resolved, Triggered};
        let fixture = Fixture::new().await;
        let (services, teams) = ([fixture.cx.id(), fixture.cx.id()], [fixture.cx.id(), fixture.cx.id()]);
        let rows = [
            (Severity::Critical, Urgency::High, 0, Some(0), Resolved, false),
            (Severity::High, Urgency::High, 1, Some(0), Resolved, true),
            (Severity::Low, Urgency::Low, 0, Some(1), Acknowledged, false),
            (Severity::Critical, Urgency::High, 1, None, Triggered, false),
            (Severity::Critical, Urgency::High, 0, Some(0), Resolved, false),
            (Severity::Medium, Urgency::Low, 1, Some(1), Resolved, true),
        ];
        let mut log = Vec::new();
        for (number, (severity, urgency, service, team, status, auto_resolved)) in (1..).zip(rows) {
            let created = fixture.cx.now + TimeDelta::seconds(number);
            let mut incident = fixture.incident(created);
            incident.number = number;
            incident.set_severity(severity);
            incident.set_urgency(urgency);
            incident.set_status(status);
            incident.auto_resolved = auto_resolved;
            incident.merged_into_id = (number == 5).then(|| fixture.cx.id().to_string());
            let end = created + TimeDelta::seconds(number);
            incident.resolved_at = (status == Resolved).then(|| proto::time::to_timestamp(end));
            let team = team.map(|team: usize| reference(teams[team], "Core"));
            log.push(fixture.event_of(&incident, 1, "created", reference(services[service], "Shop"), team));
        }
        fixture.hear(&log).await;
        Self { fixture, services, teams }
    }

    async fn numbers(&self, request: ListHistoryRequest) -> Vec<i64> {
        let page = self.fixture.history(request).await.expect("a page");
        let mut numbers: Vec<i64> = page.items.iter().map(|record| record.number).collect();
        numbers.sort_unstable();
        numbers
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mttr_is_of_the_incidents_asked_for() {
    let six = Six::new().await;
    let team = |n: usize| vec![six.teams[n].to_string()];
    let service = vec![six.services[0].to_string()];
    let severity = vec![Severity::Critical.into()];
    let all = GetMttrRequest::default();
    let rows = [
        (all.clone(), 5, 3),
        (GetMttrRequest { severity: severity.clone(), ..all.clone() }, 2, 1),
        (GetMttrRequest { urgency: vec![Urgency::Low.into()], ..all.clone() }, 2, 1),
        (GetMttrRequest { auto_resolved: Some(true), ..all.clone() }, 2, 2),
        (GetMttrRequest { auto_resolved: Some(false), ..all.clone() }, 1, 1),
        (GetMttrRequest { team_id: team(0), ..all.clone() }, 2, 2),
        (GetMttrRequest { team_id: [team(0), team(1)].concat(), ..all.clone() }, 4, 3),
        (GetMttrRequest { service_id: service.clone(), ..all.clone() }, 2, 1),
        (GetMttrRequest { service_id: service, severity, ..all.clone() }, 1, 1),
    ];
    for (request, incidents, resolved) in rows {
        let groups = six.fixture.mttr(request.clone()).await;
        assert_eq!((groups[0].incidents, groups[0].resolved), (incidents, resolved), "{request:?}");
    }
    let by_team = six.fixture.mttr(GetMttrRequest { group_by: GroupBy::Team.into(), ..all }).await;
    let found: Vec<_> = by_team.iter().map(|g| (g.key.clone(), g.name.as_str(), g.incidents)).collect();
    let [first, second] = six.teams.map(|team| team.to_string());
    assert_eq!(found, [(String::new(), "", 1), (first, "Core", 2), (second, "Core", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_and_the_history_leave_out_the_same() {
    let six = Six::new().await;
    let summary = six.fixture.summary(&six.fixture.cx, GetSummaryRequest::default()).await;
    let counts = (summary.total, summary.triggered, summary.acknowledged, summary.resolved, summary.open);
    assert_eq!(counts, (5, 1, 1, 3, 2));
    let team_id = vec![six.teams[0].to_string()];
    let of_team = GetSummaryRequest { team_id: team_id.clone(), ..GetSummaryRequest::default() };
    let low = vec![Urgency::Low.into()];
    let rows = [
        (of_team, 2),
        (GetSummaryRequest { urgency: low.clone(), ..GetSummaryRequest::default() }, 2),
        (GetSummaryRequest { auto_resolved: Some(true), ..GetSummaryRequest::default() }, 2),
        (GetSummaryRequest { auto_resolved: Some(false), ..GetSummaryRequest::default() }, 1),
    ];
    for (request, total) in rows {
        let summary = six.fixture.summary(&six.fixture.cx, request.clone()).await;
        assert_eq!(summary.total, total, "{request:?}");
    }
    let all = ListHistoryRequest::default();
    let status = |status: IncidentStatus| vec![status.into()];
    let both = six.services.map(|id| id.to_string()).to_vec();
    let rows = [
        (all.clone(), vec![1, 2, 3, 4, 6]),
        (ListHistoryRequest { status: status(IncidentStatus::Triggered), ..all.clone() }, vec![4]),
        (ListHistoryRequest { status: status(IncidentStatus::Resolved), ..all.clone() }, vec![1, 2, 6]),
        (ListHistoryRequest { severity: vec![Severity::Low.into()], ..all.clone() }, vec![3]),
        (ListHistoryRequest { urgency: low, ..all.clone() }, vec![3, 6]),
        (ListHistoryRequest { auto_resolved: Some(true), ..all.clone() }, vec![2, 6]),
        (ListHistoryRequest { auto_resolved: Some(false), ..all.clone() }, vec![1]),
        (ListHistoryRequest { team_id, ..all.clone() }, vec![1, 2]),
        (ListHistoryRequest { service_id: both[1..].to_vec(), ..all.clone() }, vec![2, 4, 6]),
        (ListHistoryRequest { service_id: both, ..all.clone() }, vec![1, 2, 3, 4, 6]),
    ];
    for (request, numbers) in rows {
        assert_eq!(six.numbers(request.clone()).await, numbers, "{request:?}");
    }
    let first =
        six.fixture.history(ListHistoryRequest { page_size: 1, ..all.clone() }).await.expect("a page");
    let status = status(IncidentStatus::Resolved);
    let other = ListHistoryRequest { page_token: first.next_page_token, status, ..all };
    assert_eq!(six.fixture.history(other).await.unwrap_err().code, "page_token_mismatch");
}

/// In Berlin the clock went from 02:00 to 03:00 on 29 March 2026: that day had 23 hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_ends_at_midnight_of_its_zone_also_when_summer_time_begins() {
    let fixture = Fixture::new().await;
    let times =
        ["2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"];
    let times = times.map(|time| time.parse::<DateTime<Utc>>().unwrap());
    for created in times {
        fixture.hear(&fixture.life(created, None, None)).await;
    }
    let request = GetMttrRequest {
        group_by: GroupBy::Day.into(),
        time_zone: "Europe/Berlin".to_owned(),
        created_after: Some(proto::time::to_timestamp(times[0])),
        ..GetMttrRequest::default()
    };
    let days: Vec<_> = fixture.mttr(request).await.into_iter().map(|day| (day.key, day.incidents)).collect();
    let expected = [("2026-03-28", 1), ("2026-03-29", 2), ("2026-03-30", 1)];
    assert_eq!(days, expected.map(|(day, incidents)| (day.to_owned(), incidents)));
}
