use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::{Error, FieldError, Result};
use proto::auth::v1::PermissionCheck;
use proto::incident::v1 as wire;
use uuid::Uuid;

use super::{Told, record};
use crate::announce::{self, Extra, Step, change};
use crate::convert;
use crate::json::{Actor, Json};
use crate::kinds::{Severity, Status, Urgency};
use crate::peers::UNKNOWN_REFERENCE;
use crate::store::incidents::{self as store, Incident, Named};
use crate::store::services;

/// Longest text of a change in a timeline entry; what is longer is cut there, not in the incident.
const MAX_SHOWN: usize = 200;

/// Changes the fields that the request's mask names. A severity change and other changes are two
/// steps, each with its entry and event.
pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::UpdateIncidentRequest,
) -> Result<Incident> {
    let mut incident = store::lock(conn, cx.org, Named::parse(&request.id)?).await?;
    cx.expect_version(incident.version)?;
    let (patch, mask) = (request.incident.as_ref(), request.update_mask.as_ref());
    let after = proto::update("incident", &convert::incident(&incident), patch, mask)?;

    let actor = Actor::of(cx);
    let urgency_said = mask.is_some_and(|mask| mask.paths.iter().any(|path| path == "urgency"));
    if let Some(severity) = Severity::from_wire(after.severity) {
        let urgency = Urgency::from_wire(after.urgency).filter(|_| urgency_said);
        change_severity(cx, conn, &mut incident, (severity, urgency), &actor).await?;
    }
    let changes = changes(&convert::incident(&incident), &after, urgency_said);
    if changes.is_empty() {
        return Ok(incident);
    }
    let urgency_cleared = urgency_said && Urgency::from_wire(after.urgency).is_none();
    write(&mut incident, after, urgency_said)?;
    if urgency_cleared {
        let service = services::get(conn, cx.org, incident.service_id).await?;
        incident.urgency = service.urgency_rule.urgency(incident.severity);
    }
    let told = Told::new(Step::Updated, &actor, announce::changes(changes));
    record(cx, conn, &mut incident, told).await?;
    Ok(incident)
}

/// Takes what the contract lets people change, but the severity.
fn write(incident: &mut Incident, after: wire::Incident, urgency_said: bool) -> Result<()> {
    incident.custom_fields = convert::read_custom_fields(after.custom_fields)?;
    incident.title = after.title;
    incident.description = after.description;
    if urgency_said {
        incident.urgency = Urgency::from_wire(after.urgency).unwrap_or(incident.urgency);
    }
    incident.labels = Json(after.labels);
    incident.links = Json(convert::read_links(after.links));
    incident.images = Json(convert::read_images(after.images));
    incident.runbook_url = after.runbook_url;
    incident.conference_url = after.conference_url;
    incident.external_refs = Json(convert::read_external_refs(after.external_refs));
    Ok(())
}

fn changes(before: &wire::Incident, after: &wire::Incident, urgency_said: bool) -> Vec<wire::FieldChange> {
    let mut changes = Vec::new();
    let mut compare = |field: &str, from: String, to: String| {
        if from != to {
            changes.push(change(field, shown(&from), shown(&to)));
        }
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let urgency = |number| Urgency::from_wire(number).map_or("by severity", Urgency::as_str).to_owned();
    compare("title", before.title.clone(), after.title.clone());
    compare("description", before.description.clone(), after.description.clone());
    if urgency_said {
        compare("urgency", urgency(before.urgency), urgency(after.urgency));
    }
    compare("labels", debug(&before.labels), debug(&after.labels));
    compare("custom_fields", debug(&before.custom_fields), debug(&after.custom_fields));
    compare("links", debug(&before.links), debug(&after.links));
    compare("images", debug(&before.images), debug(&after.images));
    compare("runbook_url", text(&before.runbook_url), text(&after.runbook_url));
    compare("conference_url", text(&before.conference_url), text(&after.conference_url));
    compare("external_refs", debug(&before.external_refs), debug(&after.external_refs));
    for composite in changes.iter_mut().filter(|c| COMPOSITE.contains(&c.field.as_str())) {
        // Their debug text is for comparing, not for people.
        composite.from.clear();
        composite.to.clear();
    }
    changes
}

const COMPOSITE: [&str; 5] = ["labels", "custom_fields", "links", "images", "external_refs"];

fn debug(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Sets the severity of an incident. Its urgency follows, unless somebody had set another one than
/// the severity gave. A resolved one stays as it was resolved: automation that comes late changes no
/// statistics.
pub async fn set_severity(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    named: Named,
    severity: Severity,
    actor: &Actor,
) -> Result<Incident> {
    let mut incident = store::lock(conn, cx.org, named).await?;
    if incident.life.status != Status::Resolved {
        change_severity(cx, conn, &mut incident, (severity, None), actor).await?;
    }
    Ok(incident)
}

/// `urgency`, when somebody says it with the severity.
async fn change_severity(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    incident: &mut Incident,
    (severity, urgency): (Severity, Option<Urgency>),
    actor: &Actor,
) -> Result<()> {
    let (old, loud) = (incident.severity, incident.urgency);
    if old == severity {
        return Ok(());
    }
    let rule = services::get(conn, incident.org_id, incident.service_id).await?.urgency_rule;
    let follows = if loud == rule.urgency(old) { rule.urgency(severity) } else { loud };
    incident.urgency = urgency.unwrap_or(follows);
    incident.severity = severity;
    let mut changes = vec![change("severity", old, severity)];
    if incident.urgency != loud {
        changes.push(change("urgency", loud, incident.urgency));
    }
    let told = Told::new(Step::SeverityChanged, actor, announce::changes(changes));
    record(cx, conn, incident, told).await
}

/// Says that the next level is told. An incident that nobody has to be told about any more stays
/// as it is: the answer says so.
pub async fn escalate(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    named: Named,
    escalation: wire::EscalationData,
    actor: &Actor,
) -> Result<Incident> {
    let mut incident = store::lock(conn, cx.org, named).await?;
    if incident.life.status != Status::Triggered {
        return Ok(incident);
    }
    let told = Told {
        step: Step::Escalated,
        actor,
        data: Some(wire::timeline_entry::Data::Escalation(escalation.clone())),
        extra: Extra { escalation: Some(escalation), ..Extra::default() },
    };
    record(cx, conn, &mut incident, told).await?;
    Ok(incident)
}

/// The users of the request, refused unless each may respond.
///
/// # Errors
/// Invalid at `assignee_ids[index]`: `unknown_reference` or `cannot_respond`.
pub fn check_assignees(checks: &[PermissionCheck]) -> Result<()> {
    let faults: Vec<FieldError> = checks
        .iter()
        .enumerate()
        .filter(|(_, check)| !check.allowed)
        .map(|(index, check)| {
            let field = format!("assignee_ids[{index}]");
            match check.found {
                true => FieldError::new(field, "cannot_respond", "may not respond to incidents"),
                false => FieldError::new(field, UNKNOWN_REFERENCE, "there is no such user"),
            }
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::fields(faults)) }
}

/// Sets who works on it; [`check_assignees`] has passed. The same people again change nothing.
pub async fn assign(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::AssignIncidentRequest,
) -> Result<Incident> {
    let mut assignees: Vec<Uuid> = Vec::new();
    for id in parse_ids("assignee_ids", &request.assignee_ids)? {
        // The same one may be written in capitals as well.
        if !assignees.contains(&id) {
            assignees.push(id);
        }
    }
    let mut incident = store::lock(conn, cx.org, Named::parse(&request.id)?).await?;
    cx.expect_version(incident.version)?;
    if same_people(&incident.assignee_ids, &assignees) {
        return Ok(incident);
    }
    let data =
        announce::changes(vec![change("assignee_ids", joined(&incident.assignee_ids), joined(&assignees))]);
    incident.assignee_ids = assignees;
    store::set_assignees(conn, &incident).await?;
    record(cx, conn, &mut incident, Told::new(Step::Assigned, &Actor::of(cx), data)).await?;
    Ok(incident)
}

fn same_people(a: &[Uuid], b: &[Uuid]) -> bool {
    a.len() == b.len() && a.iter().all(|id| b.contains(id))
}

fn joined(ids: &[Uuid]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
