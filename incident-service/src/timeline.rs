//! The timeline of an incident: what happened, append-only.

use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::{Error, Result};
use proto::incident::v1 as wire;
use proto::incident::v1::record_step_request::Data as StepData;
use proto::incident::v1::timeline_entry::Data;

use crate::announce;
use crate::convert;
use crate::json::Actor;
use crate::kinds::TimelineKind;
use crate::store::incidents::{self, Named};
use crate::store::timeline::{self as store, Entry};

/// Writes a person's note.
pub async fn create_note(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::CreateNoteRequest,
) -> Result<wire::TimelineEntry> {
    let incident = incidents::get(conn, cx.org, Named::parse(&request.id)?).await?;
    let data = announce::note(&request.text);
    let entry = announce::entry(cx, &incident, TimelineKind::Note, &Actor::of(cx), data);
    store::append(conn, std::slice::from_ref(&entry)).await?;
    convert::entry(entry)
}

/// Writes what an automation did. Only the kinds that automations have are taken: what changes the
/// incident has its own entry.
pub async fn record_step(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: wire::RecordStepRequest,
) -> Result<()> {
    let kind = match TimelineKind::from_wire(request.kind) {
        Some(
            kind @ (TimelineKind::Note
            | TimelineKind::Step
            | TimelineKind::Notified
            | TimelineKind::NotificationFailed
            | TimelineKind::NobodyReachable),
        ) => kind,
        _ => return Err(Error::field("kind", "not_in", "must be that of a note, step or notification")),
    };
    let at = convert::read_time("at", request.at.as_ref())?.unwrap_or(cx.now);
    let incident = incidents::get(conn, cx.org, Named::parse(&request.incident_id)?).await?;
    let actor = actor_of(cx, request.actor);
    let data = request.data.map(|data| match data {
        StepData::Note(data) => Data::Note(data),
        StepData::Step(data) => Data::Step(data),
        StepData::Notification(data) => Data::Notification(data),
    });
    let key = (incident.org_id, incident.id);
    store::append(conn, &[announce::entry_of(cx, key, at, kind, &actor, data)]).await
}

/// Who an automation says it is, else the calling service.
pub fn actor_of(cx: &Ctx, said: Option<proto::api::v1::Actor>) -> Actor {
    let caller = Actor::of(cx);
    said.map_or_else(|| caller.clone(), |said| convert::read_actor(said, &caller))
}

/// One page of an incident's timeline.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ListTimelineRequest,
) -> Result<wire::ListTimelineResponse> {
    let page = platform::page!(request, &["at"], "at")?;
    let kinds: Vec<TimelineKind> = request.kind.iter().copied().filter_map(TimelineKind::from_wire).collect();
    let incident = incidents::get(conn, cx.org, Named::parse(&request.id)?).await?;
    let rows = store::list(conn, cx.org, incident.id, &kinds, &page).await?;
    let (rows, next_page_token) = page.finish(rows, |row: &Entry| (row.at, row.id))?;
    let items = rows.into_iter().map(convert::entry).collect::<Result<_>>()?;
    Ok(wire::ListTimelineResponse { items, next_page_token })
}
