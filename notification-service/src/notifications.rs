//! What was sent, to whom, and what became of it.

use std::collections::HashMap;

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::db::Db;
use platform::error::{Error, Result};
use platform::leased::{self, Birth, Claim};
use proto::notification::v1 as wire;

use crate::convert;
use crate::ids::NotificationId;
use crate::kinds::{Progress, Status};
use crate::notes::{self, Note};
use crate::peers::Peers;
use crate::proofs;
use crate::store::attempts::{self, Attempt};
use crate::store::messages;
use crate::store::notifications::{self, Filter, Notification};

pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<wire::Notification> {
    let row = notifications::get_notification(conn, cx.org, NotificationId::parse("id", id)?).await?;
    one(cx, conn, row).await
}

pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ListNotificationsRequest,
) -> Result<wire::ListNotificationsResponse> {
    let filter = filter(request)?;
    let page = platform::page!(request, "-id")?;
    let rows = notifications::list_notifications(conn, cx.org, &filter, &page).await?;
    let (rows, next_page_token) = page.finish(rows, |row| row.id)?;
    Ok(wire::ListNotificationsResponse { items: shown(cx, conn, rows).await?, next_page_token })
}

/// How far the incident of a notification is, before it is replayed: what happens to it later
/// cancels, what has happened does not. Call it outside of transactions.
///
/// # Errors
/// NotFound; those of the database.
pub async fn present_progress(
    cx: &Ctx,
    db: &Db,
    peers: &Peers,
    request: &wire::ReplayNotificationRequest,
) -> Result<Option<Progress>> {
    let id = NotificationId::parse("id", &request.id)?;
    let row = platform::tx!(db, cx, |conn| notifications::get_notification(conn, cx.org, id).await)?;
    let Some(incident) = row.incident_id else { return Ok(None) };
    let progress = peers.progress(&cx.as_service(crate::NAME), incident).await.unwrap_or_else(|error| {
        tracing::warn!(error = %error.chain(), incident.id = %incident, "the incident's state is unknown: replaying");
        None
    });
    Ok(Some(progress.unwrap_or(Progress::Triggered)))
}

/// Tries a dead notification again: same key, attempts count on, a budget of its own. `progress` is
/// that of its incident now. A timeline that has not heard of the death hears of it after the next
/// attempt. The claim is for right after the commit.
pub async fn replay(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ReplayNotificationRequest,
    progress: Option<Progress>,
) -> Result<(wire::Notification, Claim)> {
    let id = NotificationId::parse("id", &request.id)?;
    let (row, epoch) = notifications::get_notification_for_update(conn, cx.org, id).await?;
    if row.status != Status::Dead {
        return Err(Error::conflict("not_dead", "only a dead notification is replayed"));
    }
    if messages::get_message(conn, cx.org, row.message_id).await?.carries_code {
        return Err(proofs::expired());
    }
    let last = attempts::find_last_attempt(conn, cx.org, id).await?;
    let mut owed = notes::read(row.notes.as_ref());
    if let (Some(_), Some(last)) = (row.due_at, &last) {
        owed.push(Note::of_end(&row, last));
    }
    let spent = last.map_or(0, |last| last.number);
    let birth = Birth { epoch: epoch + 1, ..leased::birth(cx.source.now()) };
    notifications::reopen_notification(conn, &row, spent, &birth, progress, notes::write(&owed)).await?;
    let attempt = Attempt::started(&row, spent + 1, birth.epoch, birth.due_at);
    attempts::insert_attempts(conn, &[attempt]).await?;
    let row = notifications::get_notification(conn, cx.org, id).await?;
    Ok((one(cx, conn, row).await?, birth.claim(cx.org, id.uuid())))
}

fn filter(request: &wire::ListNotificationsRequest) -> Result<Filter> {
    let time = |time: &Option<prost_types::Timestamp>, field| {
        time.as_ref().map(|time| convert::read_time(time, field)).transpose()
    };
    Ok(Filter {
        statuses: request.status().filter_map(convert::read_status).collect(),
        incident_ids: parse_ids("incident_id", &request.incident_id)?,
        user_ids: parse_ids("user_id", &request.user_id)?,
        channel_ids: parse_ids("channel_id", &request.channel_id)?,
        created_after: time(&request.created_after, "created_after")?,
        created_before: time(&request.created_before, "created_before")?,
    })
}

async fn one(cx: &Ctx, conn: &mut AsyncPgConnection, row: Notification) -> Result<wire::Notification> {
    let mut shown = shown(cx, conn, vec![row]).await?;
    shown.pop().ok_or_else(|| Error::not_found("notification"))
}

async fn shown(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    rows: Vec<Notification>,
) -> Result<Vec<wire::Notification>> {
    let ids: Vec<NotificationId> = rows.iter().map(|row| row.id).collect();
    let message_ids: Vec<_> = rows.iter().map(|row| row.message_id).collect();
    let subjects = messages::find_subjects(conn, cx.org, &message_ids).await?;
    let mut tries: HashMap<NotificationId, Vec<Attempt>> = HashMap::new();
    for attempt in attempts::find_attempts(conn, cx.org, &ids).await? {
        tries.entry(attempt.notification_id).or_default().push(attempt);
    }
    let show = |row: Notification| {
        let subject = subjects.get(&row.message_id).cloned().unwrap_or_default();
        let tries = tries.remove(&row.id).unwrap_or_default();
        convert::notification(row, subject, tries)
    };
    Ok(rows.into_iter().map(show).collect())
}
