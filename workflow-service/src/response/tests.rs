use proto::api::v1::Reference;
use proto::incident::v1::{Incident, IncidentStatus};

use super::*;
use crate::program::{Op, Target};

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_000 + ms).expect("a valid time")
}

const ORG: Uuid = Uuid::from_u128(1);
const INCIDENT: Uuid = Uuid::from_u128(2);
const SERVICE: Uuid = Uuid::from_u128(3);
const POLICY: Uuid = Uuid::from_u128(4);

fn event(what: &str, version: i64) -> Event {
    let status = match what {
        "acknowledged" => IncidentStatus::Acknowledged,
        "resolved" => IncidentStatus::Resolved,
        _ => IncidentStatus::Triggered,
    };
    let incident = Incident {
        id: INCIDENT.to_string(),
        number: 7,
        service_id: SERVICE.to_string(),
        status: status.into(),
        ..Incident::default()
    };
    Event {
        key: (ORG, INCIDENT),
        what: what.to_owned(),
        id: Uuid::from_u128(version.unsigned_abs().into()),
        version,
        at: at(version),
        trace: String::new(),
        depth: 0,
        payload: IncidentEvent { incident: Some(incident), ..IncidentEvent::default() },
        data: Bytes::new(),
    }
}

fn policy_program() -> Program {
    let target = Target { kind: 6, id: String::new() };
    let page = Op::Page { level: 1, targets: vec![target], told: vec![] };
    Program { kind: Kind::Policy, rounds: 1, ops: vec![page, Op::Await { level: 1, duration_ms: 1000 }] }
}

fn candidate(id: u128, triggers: &[&str], condition: &str, hold_ms: i64) -> Arc<Candidate> {
    Arc::new(Candidate {
        id: Uuid::from_u128(id),
        name: format!("workflow {id}"),
        triggers: triggers.iter().map(|name| (*name).to_owned()).collect(),
        service_ids: vec![],
        condition: Condition::compile(condition).expect("a condition"),
        hold_paging: TimeDelta::milliseconds(hold_ms),
        program: Program { kind: Kind::Workflow, rounds: 1, ops: vec![Op::AddNote { text: "x".to_owned() }] },
    })
}

fn decide_with(events: &[Event], workflows: Vec<Arc<Candidate>>, applied: i64) -> Plan {
    decide_after(events, workflows, (applied, "triggered"), false)
}

fn decide_after(
    events: &[Event],
    workflows: Vec<Arc<Candidate>>,
    (version, status): (i64, &str),
    replay: bool,
) -> Plan {
    let mut catalog = Catalog::default();
    catalog.workflows.insert(ORG, workflows);
    catalog.policies.insert((ORG, POLICY), Arc::new(("ours".to_owned(), policy_program())));
    let rules = Rules {
        catalog: &catalog,
        built_in: &policy_program(),
        max_depth: 8,
        now: at(10_000),
        replay,
        source: &Source::fixed(1, at(10_000)),
    };
    let status = status.to_owned();
    let (org_id, incident_id) = (ORG, INCIDENT);
    let known = IncidentState { org_id, incident_id, number: 7, status, version, at: at(0) };
    let (mut plan, applied) = (Plan::default(), HashMap::from([((ORG, INCIDENT), known)]));
    for event in events {
        plan.apply(event, &applied, &rules).expect("decided");
    }
    plan
}

fn shown(plan: &Plan) -> Vec<(&str, &str, &str)> {
    plan.runs.iter().map(|run| (run.name.as_str(), run.status.as_str(), run.origin.as_str())).collect()
}

#[test]
fn created_starts_the_built_in_policy_and_the_matching_workflows() {
    let workflows = vec![
        candidate(10, &["created"], "incident.number == 7", 0),
        candidate(11, &["created"], "incident.number == 8", 0),
        candidate(12, &["resolved"], "", 0),
        candidate(13, &["created"], "incident.labels.nope == 'x'", 0),
    ];
    let plan = decide_with(&[event("created", 1)], workflows, 0);
    let expected = [("workflow 10", "running", "event:1"), (BUILT_IN, "running", "event:1")];
    assert_eq!(shown(&plan), expected);
    assert!(plan.runs.iter().all(is_born_leased));
    assert!(plan.runs.iter().all(|run| run.decided_at == at(1)), "what was known when it happened");
}

#[test]
fn the_services_own_policy_is_used() {
    let mut created = event("created", 1);
    created.payload.policy = Some(Reference { id: POLICY.to_string(), name: "old name".to_owned() });
    assert_eq!(shown(&decide_with(&[created], vec![], 0)), [("ours", "running", "event:1")]);
}

#[test]
fn workflows_of_other_services_do_not_start() {
    let other = Candidate {
        service_ids: vec![Uuid::from_u128(99)],
        ..Arc::into_inner(candidate(10, &["created"], "", 0)).expect("the only one")
    };
    let plan = decide_with(&[event("created", 1)], vec![Arc::new(other)], 0);
    assert_eq!(shown(&plan), [(BUILT_IN, "running", "event:1")]);
}

#[test]
fn the_longest_hold_holds_the_policy() {
    let workflows = vec![
        candidate(10, &["created"], "", 500),
        candidate(11, &["created"], "", 2_000),
        candidate(12, &["created"], "", 0),
    ];
    let plan = decide_with(&[event("created", 1)], workflows, 0);
    let policy = plan.runs.last().expect("a policy's run");
    assert_eq!((policy.status.as_str(), policy.due_at), ("held", Some(at(12_000))));
    assert!(!is_born_leased(policy) && policy.started_at.is_none());
    let holds: Vec<_> = plan.runs.iter().map(|run| run.hold_until).collect();
    assert_eq!(holds, [Some(at(10_500)), Some(at(12_000)), None, None]);
}

#[test]
fn what_was_applied_is_left_out() {
    let plan = decide_with(&[event("created", 1), event("acknowledged", 2)], vec![], 2);
    assert!(plan.runs.is_empty() && plan.cancels.is_empty() && plan.states.is_empty());
    let plan = decide_with(&[event("created", 1), event("created", 1)], vec![], 0);
    assert_eq!(plan.runs.len(), 1);
}

#[test]
fn a_replayed_event_acts_as_long_as_it_is_wanted() {
    let cases = [
        ("created", "triggered", 1, 0),
        ("created", "acknowledged", 0, 0),
        ("reopened", "resolved", 0, 0),
        ("acknowledged", "acknowledged", 1, 1),
        ("acknowledged", "triggered", 0, 0),
    ];
    for (what, status, runs, cancels) in cases {
        let workflows = vec![candidate(10, &["acknowledged"], "", 0)];
        let plan = decide_after(&[event(what, 1)], workflows, (3, status), true);
        assert_eq!((plan.runs.len(), plan.cancels.len()), (runs, cancels), "{what} while {status}");
        assert!(plan.states.is_empty(), "the state stays the newer one");
    }
    let plan = decide_after(&[event("acknowledged", 4)], vec![], (3, "triggered"), true);
    assert_eq!(plan.states[&(ORG, INCIDENT)].version, 4, "nothing newer was applied");
}

#[test]
fn an_acknowledgement_ends_what_ran_and_not_what_it_starts() {
    let workflows = vec![candidate(10, &["acknowledged"], "", 0)];
    let mut acknowledged = event("acknowledged", 2);
    acknowledged.payload.actor =
        Some(Actor { kind: ActorKind::User.into(), id: String::new(), name: "Ann".to_owned() });
    let plan = decide_with(&[event("created", 1), acknowledged], workflows, 0);
    let expected = [(BUILT_IN, "cancelled", "event:1"), ("workflow 10", "running", "event:2")];
    assert_eq!(shown(&plan), expected);
    assert_eq!(plan.runs[0].due_at, None);
    let cancel = Cancel { key: (ORG, INCIDENT), why: "acknowledged by Ann".to_owned(), spares: None };
    assert_eq!(plan.cancels, [cancel]);
    assert_eq!(plan.states[&(ORG, INCIDENT)].status, "acknowledged");
}

#[test]
fn the_workflow_that_resolves_goes_on() {
    let workflows = vec![candidate(10, &["created"], "", 0), candidate(11, &["created"], "", 0)];
    let mut resolved = event("resolved", 2);
    let actor = Actor {
        kind: ActorKind::Workflow.into(),
        id: Uuid::from_u128(10).to_string(),
        name: "workflow 10".to_owned(),
    };
    resolved.payload.actor = Some(actor);
    let plan = decide_with(&[event("created", 1), resolved], workflows, 0);
    let statuses: Vec<_> = plan.runs.iter().map(|run| run.status.as_str()).collect();
    assert_eq!(statuses, ["running", "cancelled", "cancelled"]);
}

#[test]
fn a_reopened_incident_is_escalated_again() {
    let events = [event("created", 1), event("resolved", 2), event("reopened", 3)];
    let plan = decide_with(&events, vec![], 0);
    let expected = [(BUILT_IN, "cancelled", "event:1"), (BUILT_IN, "running", "event:3")];
    assert_eq!(shown(&plan), expected);
}

#[test]
fn automation_that_triggers_itself_ends_but_paging_does_not() {
    let deep = Event { depth: 9, ..event("reopened", 5) };
    let plan = decide_with(&[deep], vec![candidate(10, &["reopened"], "", 1_000)], 0);
    assert_eq!(shown(&plan), [(BUILT_IN, "running", "event:5")]);
}

#[test]
fn other_steps_only_move_the_state() {
    let plan = decide_with(&[event("severity_changed", 4)], vec![], 3);
    assert!(plan.runs.is_empty() && plan.cancels.is_empty());
    assert_eq!(plan.states[&(ORG, INCIDENT)].version, 4);
}

#[test]
fn a_condition_that_cannot_be_evaluated_starts_nothing_and_paging_goes_on() {
    let broken = candidate(10, &["created", "reopened"], "int(incident.title) > 1", 1_000);
    let events = [event("created", 1), event("resolved", 2), event("reopened", 3)];
    let plan = decide_with(&events, vec![broken.clone()], 0);
    let expected = [(BUILT_IN, "cancelled", "event:1"), (BUILT_IN, "running", "event:3")];
    assert_eq!(shown(&plan), expected);
    assert!(!broken.condition.fails_first(), "it was told of");
}
