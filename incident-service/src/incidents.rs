//! Incidents: opened in slices, taken and resolved one at a time. Every change is one transaction
//! over the row, its timeline and its event; the version is the event's version.

mod edit;
mod open;
mod quiet;
mod respond;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::Result;
use platform::outbox;
use proto::incident::v1 as wire;

pub use edit::{assign, check_assignees, escalate, set_severity, update};
pub use open::{Opening, create, open};
pub use quiet::resolve_quiet;
pub use respond::{Response, act};

use crate::announce::{self, Extra, Step};
use crate::convert;
use crate::json::Actor;
use crate::kinds::{Severity, Status, Urgency};
use crate::store::incidents::{self as store, Incident, Key, Named};
use crate::store::{services, timeline};

pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<Incident> {
    store::get(conn, cx.org, Named::parse(id)?).await
}

/// The next version of `incident`, written with its entry and its event.
async fn record(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    incident: &mut Incident,
    told: Told<'_>,
) -> Result<()> {
    incident.version += 1;
    store::update(conn, incident).await?;
    let service = services::get(conn, incident.org_id, incident.service_id).await?;
    let entry = announce::entry(cx, incident, told.step.entry(), told.actor, told.data);
    timeline::append(conn, &[entry]).await?;
    let event = announce::event(cx, told.step, incident, &service, told.actor, told.extra);
    outbox::append(conn, &[event]).await
}

/// What is told about a change.
struct Told<'a> {
    step: Step,
    actor: &'a Actor,
    data: Option<wire::timeline_entry::Data>,
    extra: Extra,
}

impl<'a> Told<'a> {
    fn new(step: Step, actor: &'a Actor, data: Option<wire::timeline_entry::Data>) -> Self {
        Self { step, actor, data, extra: Extra::default() }
    }
}

/// One page of incidents.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ListIncidentsRequest,
) -> Result<wire::ListIncidentsResponse> {
    let page = platform::page!(request, &["created_at", "number"], "-created_at")?;
    let rows = store::list(conn, cx.org, &filter(request)?, &page).await?;
    let (rows, next_page_token) = page.finish(rows, |row| Key::of(page.sort.field, row))?;
    Ok(wire::ListIncidentsResponse { items: rows.iter().map(convert::incident).collect(), next_page_token })
}

fn filter(request: &wire::ListIncidentsRequest) -> Result<store::Filter> {
    let time = |field: &str, at: &Option<prost_types::Timestamp>| -> Result<Option<DateTime<Utc>>> {
        convert::read_time(field, at.as_ref())
    };
    Ok(store::Filter {
        statuses: request.status.iter().copied().filter_map(Status::from_wire).collect(),
        severities: request.severity.iter().copied().filter_map(Severity::from_wire).collect(),
        urgencies: request.urgency.iter().copied().filter_map(Urgency::from_wire).collect(),
        service_ids: parse_ids("service_id", &request.service_id)?,
        team_ids: parse_ids("team_id", &request.team_id)?,
        assignee_ids: parse_ids("assignee_id", &request.assignee_id)?,
        created_after: time("created_after", &request.created_after)?,
        created_before: time("created_before", &request.created_before)?,
    })
}
