//! What a workflow or a policy must obey beyond the rules of its fields; what can be said without
//! asking anybody. Every fault is found at once, with the path of its field.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};
use platform::egress::Egress;
use platform::error::{Error, FieldError, Result};
use proto::api::v1::{Target, TargetKind};
use proto::workflow::v1::{self as pb, step::Kind};

use crate::condition::Condition;
use crate::convert;
use crate::template::{self, Escape, Values};

/// Headers that belong to the connection, or to us.
const RESERVED: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "idempotency-key",
];

/// Encoded steps of one workflow: each run keeps a copy of them.
const MAX_STEPS_BYTES: usize = 100 * 1024;
/// Teams of one workflow or policy: each is asked for when it is saved.
const MAX_TEAMS: usize = 32;

/// Checks a workflow.
///
/// # Errors
/// Invalid, with every fault below `workflow`.
pub fn check_workflow(workflow: &pb::Workflow, egress: &Egress) -> Result<()> {
    let mut faults = Faults::default();
    if convert::steps_bytes(&workflow.steps).len() > MAX_STEPS_BYTES {
        let detail = format!("must have at most {MAX_STEPS_BYTES} bytes together");
        faults.add("workflow.steps", "too_large", detail);
    }
    if let Err(refused) = Condition::compile(&workflow.condition) {
        faults.add("workflow.condition", "invalid_expression", refused.to_string());
    }
    let targets = workflow.steps.iter().flat_map(|step| match &step.kind {
        Some(Kind::Notify(step)) => step.targets.as_slice(),
        _ => &[],
    });
    check_teams("workflow.steps", targets, &mut faults);
    for (index, step) in workflow.steps.iter().enumerate() {
        let path = format!("workflow.steps[{index}]");
        match &step.kind {
            Some(Kind::Http(step)) => check_http(&format!("{path}.http"), step, egress, &mut faults),
            Some(Kind::Notify(step)) => {
                check_targets(&format!("{path}.notify"), &step.targets, &mut faults);
                check_template(format!("{path}.notify.message"), &step.message, &mut faults);
            }
            Some(Kind::AddNote(step)) => {
                check_template(format!("{path}.add_note.text"), &step.text, &mut faults);
            }
            Some(Kind::Resolve(step)) => {
                check_template(format!("{path}.resolve.note"), &step.note, &mut faults);
            }
            Some(Kind::Wait(_) | Kind::Escalate(_) | Kind::SetSeverity(_)) | None => {}
        }
    }
    faults.into_result()
}

/// Checks a policy.
///
/// # Errors
/// Invalid, with every fault below `escalation_policy`.
pub fn check_policy(policy: &pb::EscalationPolicy) -> Result<()> {
    let mut faults = Faults::default();
    let targets = policy.levels.iter().flat_map(|level| &level.targets);
    check_teams("escalation_policy.levels", targets, &mut faults);
    for (index, level) in policy.levels.iter().enumerate() {
        check_targets(&format!("escalation_policy.levels[{index}]"), &level.targets, &mut faults);
    }
    faults.into_result()
}

fn check_http(path: &str, step: &pb::HttpStep, egress: &Egress, faults: &mut Faults) {
    check_template(format!("{path}.url"), &step.url, faults);
    let url = Values::default().render(&step.url, Escape::Url);
    if step.url.trim().is_empty() {
        faults.add(&format!("{path}.url"), "required", "is required");
    } else if let Err(error) = egress.check(&url) {
        faults.add(&format!("{path}.url"), error.code, error.detail);
    }
    for (name, value) in &step.headers {
        let field = format!("{path}.headers.{name}");
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            faults.add(&field, "invalid_header", "is not the name of a header");
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            faults.add(&field, "reserved_header", "is set by us");
        }
        if HeaderValue::from_str(value).is_err() {
            faults.add(&field, "invalid_header", "has a value that no header can have");
        }
    }
    if let Some(body) = &step.body {
        check_template(format!("{path}.body"), body, faults);
        if step.method() == pb::HttpMethod::Get {
            faults.add(&format!("{path}.body"), "not_allowed", "a GET carries no body");
        }
    }
    if let Some(retry) = &step.retry
        && retry.max_ms != 0
        && retry.initial_ms > retry.max_ms
    {
        faults.add(&format!("{path}.retry.initial_ms"), "out_of_range", "must not exceed max_ms");
    }
}

fn check_template(field: String, text: &str, faults: &mut Faults) {
    if let Some(name) = template::unknown_placeholder(text) {
        let names = template::NAMES.join(", ");
        let detail = format!("{{{name}}} is not one of {names}, labels.<name>, attributes.<name>");
        faults.add(&field, "unknown_placeholder", detail);
    }
}

fn check_teams<'t>(field: &str, targets: impl Iterator<Item = &'t Target>, faults: &mut Faults) {
    let teams = targets.filter(|target| target.kind() == TargetKind::Team).map(|target| &target.id);
    if teams.collect::<BTreeSet<_>>().len() > MAX_TEAMS {
        faults.add(field, "too_many", format!("must have at most {MAX_TEAMS} different teams"));
    }
}

fn check_targets(path: &str, targets: &[Target], faults: &mut Faults) {
    for (index, target) in targets.iter().enumerate() {
        let field = |name: &str| format!("{path}.targets[{index}].{name}");
        match target.kind() {
            TargetKind::Schedule => {
                faults.add(&field("kind"), "not_available", "there are no schedules yet");
            }
            TargetKind::Owners | TargetKind::ServiceTeam if !target.id.is_empty() => {
                faults.add(&field("id"), "not_allowed", "this kind of target has no id");
            }
            TargetKind::User | TargetKind::Team | TargetKind::Channel if target.id.is_empty() => {
                faults.add(&field("id"), "required", "is required");
            }
            _ => {}
        }
        if targets[..index].contains(target) {
            faults.add(&field("id"), "not_unique", "is a target already");
        }
    }
}

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Faults(Vec<FieldError>);

impl Faults {
    /// Adds one.
    pub fn add(&mut self, field: &str, code: &'static str, detail: impl Into<String>) {
        self.0.push(FieldError::new(field, code, detail));
    }

    /// # Errors
    /// Invalid, when there are any.
    pub fn into_result(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::fields(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use platform::egress::EgressConfig;

    use super::*;

    fn workflow(kind: Kind) -> pb::Workflow {
        let step = pb::Step { name: String::new(), kind: Some(kind) };
        pb::Workflow { steps: vec![step], ..pb::Workflow::default() }
    }

    fn faults(workflow: &pb::Workflow) -> Vec<(String, &'static str)> {
        let egress = Egress::new(&EgressConfig::default()).expect("the default");
        let error = check_workflow(workflow, &egress).err();
        let faults = error.map(|error| error.fields).unwrap_or_default();
        faults.into_iter().map(|fault| (fault.field, fault.code)).collect()
    }

    fn http(url: &str) -> pb::HttpStep {
        pb::HttpStep { url: url.to_owned(), ..pb::HttpStep::default() }
    }

    fn field(name: &str) -> String {
        format!("workflow.steps[0].{name}")
    }

    #[test]
    fn a_good_http_step_passes() {
        let step = pb::HttpStep {
            headers: [("Authorization".to_owned(), "Bearer x".to_owned())].into(),
            body: Some(r#"{"incident": "{incident.id}"}"#.to_owned()),
            ..http("https://runbooks.example.com/{service.slug}/retry?n={incident.number}")
        };
        assert_eq!(faults(&workflow(Kind::Http(step))), []);
    }

    #[test]
    fn bad_http_steps_are_refused_field_by_field() {
        let step = pb::HttpStep {
            headers: [("Host".to_owned(), "x".to_owned()), ("a b".to_owned(), "\n".to_owned())].into(),
            body: Some("{incident.nope}".to_owned()),
            method: pb::HttpMethod::Get.into(),
            retry: Some(pb::Retry { initial_ms: 10, max_ms: 5, ..pb::Retry::default() }),
            ..http("ftp://x")
        };
        let expected = [
            ("http.url", "invalid_url"),
            ("http.headers.Host", "reserved_header"),
            ("http.headers.a b", "invalid_header"),
            ("http.headers.a b", "invalid_header"),
            ("http.body", "unknown_placeholder"),
            ("http.body", "not_allowed"),
            ("http.retry.initial_ms", "out_of_range"),
        ];
        assert_eq!(faults(&workflow(Kind::Http(step))), expected.map(|(name, code)| (field(name), code)));
        assert_eq!(faults(&workflow(Kind::Http(http(" ")))), [(field("http.url"), "required")]);
        let private = http("http://169.254.169.254/latest");
        assert_eq!(faults(&workflow(Kind::Http(private))), [(field("http.url"), "egress_refused")]);
    }

    #[test]
    fn what_costs_more_than_it_should_is_refused() {
        let step = pb::HttpStep { body: Some("x".repeat(60_000)), ..http("https://example.com/") };
        let mut large = workflow(Kind::Http(step));
        large.steps = vec![large.steps[0].clone(); 2];
        assert_eq!(faults(&large), [("workflow.steps".to_owned(), "too_large")]);
        let team = |n: usize| Target { kind: TargetKind::Team.into(), id: n.to_string() };
        let level =
            |teams: std::ops::Range<usize>| pb::Level { targets: teams.map(team).collect(), timeout_ms: 1 };
        let policy = |levels| pb::EscalationPolicy { levels, ..pb::EscalationPolicy::default() };
        check_policy(&policy(vec![level(0..32), level(0..32)])).expect("the same teams again");
        let error = check_policy(&policy(vec![level(0..32), level(32..33)])).expect_err("too many");
        assert_eq!((error.fields[0].field.as_str(), error.code), ("escalation_policy.levels", "too_many"));
    }

    #[test]
    fn conditions_are_compiled() {
        let mut workflow = workflow(Kind::Wait(pb::WaitStep { duration_ms: 1 }));
        workflow.condition = "incident.severity ==".to_owned();
        assert_eq!(faults(&workflow), [("workflow.condition".to_owned(), "invalid_expression")]);
    }

    #[test]
    fn targets_have_an_id_exactly_when_their_kind_does() {
        let target = |kind: TargetKind, id: &str| Target { kind: kind.into(), id: id.to_owned() };
        let step = pb::NotifyStep {
            targets: vec![
                target(TargetKind::Schedule, "s"),
                target(TargetKind::Owners, "o"),
                target(TargetKind::User, ""),
                target(TargetKind::ServiceTeam, ""),
                target(TargetKind::ServiceTeam, ""),
            ],
            message: String::new(),
        };
        let expected = [
            ("notify.targets[0].kind", "not_available"),
            ("notify.targets[1].id", "not_allowed"),
            ("notify.targets[2].id", "required"),
            ("notify.targets[4].id", "not_unique"),
        ];
        assert_eq!(faults(&workflow(Kind::Notify(step))), expected.map(|(name, code)| (field(name), code)));
    }
}
