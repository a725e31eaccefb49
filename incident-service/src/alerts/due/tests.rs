use chrono::TimeDelta;
use platform::ctx::OrgId;
use uuid::Uuid;

use super::*;
use crate::json::Json;
use crate::kinds::{Severity, UrgencyRule};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

pub fn service(paused_until: Option<i64>) -> Service {
    Service {
        org_id: OrgId(Uuid::nil()),
        id: ServiceId(Uuid::nil()),
        slug: String::new(),
        name: String::new(),
        description: String::new(),
        team_id: None,
        team_name: String::new(),
        policy_id: None,
        policy_name: String::new(),
        labels: Json::default(),
        runbook_url: None,
        links: Json::default(),
        urgency_rule: UrgencyRule::BySeverity,
        paused_until: paused_until.map(at),
        auto_resolve_ms: None,
        created_at: at(0),
        created_by: String::new(),
        updated_at: at(0),
        updated_by: String::new(),
        archived_at: None,
        version: 1,
    }
}

/// Last triggered at 100.
pub fn alert(incident: bool, quiet_seconds: Option<i64>, due: Option<i64>) -> Alert {
    Alert {
        org_id: OrgId(Uuid::nil()),
        id: AlertId(Uuid::nil()),
        service_id: ServiceId(Uuid::nil()),
        incident_id: incident.then_some(IncidentId(Uuid::nil())),
        source_kind: SourceKind::Rule,
        source_id: Uuid::nil(),
        source_name: String::new(),
        dedup_key: String::new(),
        status: AlertStatus::Firing,
        severity: Severity::High,
        title: String::new(),
        labels: Json::default(),
        attributes: Json::default(),
        value: None,
        count: 1,
        started_at: at(50),
        last_at: at(100),
        resolved_at: None,
        auto_resolve_ms: quiet_seconds.map(|seconds| seconds * 1000),
        version: 1,
        due_at: due.map(at),
    }
}

#[test]
fn what_is_told_of_resolves_when_it_is_due() {
    let verdict = |due, now| verdict(&alert(true, Some(60), due), &service(None), at(now));
    assert_eq!(verdict(Some(160), 160), Verdict::Resolve);
    assert_eq!(verdict(Some(160), 159), Verdict::Wait(at(160)));
    assert_eq!(verdict(None, 160), Verdict::Nothing);
    let resolved = Alert { status: AlertStatus::Resolved, ..alert(true, Some(60), Some(160)) };
    assert_eq!(super::verdict(&resolved, &service(None), at(160)), Verdict::Nothing);
}

#[test]
fn what_nobody_was_told_of_opens_when_the_pause_is_over() {
    let verdict = |quiet, paused, now| verdict(&alert(false, quiet, Some(102)), &service(paused), at(now));
    assert_eq!(verdict(None, Some(500), 102), Verdict::Wait(at(500)));
    assert_eq!(verdict(None, Some(500), 500), Verdict::Open);
    assert_eq!(verdict(None, None, 102), Verdict::Open);
    // It resolves itself within the pause.
    assert_eq!(verdict(Some(60), Some(500), 102), Verdict::Wait(at(160)));
    assert_eq!(verdict(Some(60), Some(500), 160), Verdict::Resolve);
    // However late one looks, what came first counts.
    assert_eq!(verdict(Some(60), Some(500), 900), Verdict::Resolve);
    assert_eq!(verdict(Some(600), Some(500), 900), Verdict::Open);
    let archived = Service { archived_at: Some(at(1)), ..service(Some(500)) };
    assert_eq!(super::verdict(&alert(false, None, Some(102)), &archived, at(102)), Verdict::Resolve);
}
