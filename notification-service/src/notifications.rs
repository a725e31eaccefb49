//! What was sent, to whom, and what became of it.

use std::collections::HashMap;

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::{Error, Result};
use platform::leased::{self, Birth, Claim};
use proto::notification::v1 as wire;

use crate::convert;
use crate::ids::NotificationId;
use crate::kinds::Status;
use crate::store::messages;
use crate::store::notifications::{self, Attempt, Filter, Notification};

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

/// Tries a dead notification again: same key, attempts count on, a budget of its own. The claim is
/// for right after the commit.
pub async fn replay(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ReplayNotificationRequest,
) -> Result<(wire::Notification, Claim)> {
    let id = NotificationId::parse("id", &request.id)?;
    let (row, epoch) = notifications::get_notification_for_update(conn, cx.org, id).await?;
    if row.status != Status::Dead {
        return Err(Error::conflict("not_dead", "only a dead notification is replayed"));
    }
    let last = notifications::find_last_attempt(conn, cx.org, id).await?;
    let spent = last.map_or(0, |last| last.number);
    let birth = Birth { epoch: epoch + 1, ..leased::birth(cx.source.now()) };
    notifications::reopen_notification(conn, &row, spent, &birth).await?;
    let attempt = Attempt::started(&row, spent + 1, birth.epoch, birth.due_at);
    notifications::insert_attempts(conn, &[attempt]).await?;
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
    let mut attempts: HashMap<NotificationId, Vec<Attempt>> = HashMap::new();
    for attempt in notifications::find_attempts(conn, cx.org, &ids).await? {
        attempts.entry(attempt.notification_id).or_default().push(attempt);
    }
    let show = |row: Notification| {
        let subject = subjects.get(&row.message_id).cloned().unwrap_or_default();
        let attempts = attempts.remove(&row.id).unwrap_or_default();
        convert::notification(row, subject, attempts)
    };
    Ok(rows.into_iter().map(show).collect())
}
