use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::leased::{Birth, LEASE_LOST};
use platform::page::Page;
use uuid::Uuid;

use crate::ids::{ChannelId, ContactMethodId, MessageId, NotificationId, UserId};
use crate::kinds::{AttemptOutcome, Kind, Progress, Status};
use crate::schema::{attempts, notifications};

/// One message to one destination. The lease columns belong to `platform::leased`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = notifications, check_for_backend(diesel::pg::Pg))]
pub struct Notification {
    pub org_id: OrgId,
    pub id: NotificationId,
    pub key: String,
    pub message_id: MessageId,
    pub status: Status,
    pub kind: Kind,
    pub channel_id: Option<ChannelId>,
    pub contact_method_id: Option<ContactMethodId>,
    pub user_id: Option<UserId>,
    pub recipient: String,
    pub address_shown: String,
    pub incident_id: Option<Uuid>,
    pub run_id: Option<Uuid>,
    pub order_key: String,
    pub sequence: i64,
    pub decided_at: DateTime<Utc>,
    pub decided_status: Option<Progress>,
    pub spent: i32,
    pub created_at: DateTime<Utc>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub due_at: Option<DateTime<Utc>>,
}

/// A notification with its first lease.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = notifications)]
pub struct NewNotification {
    #[diesel(embed)]
    pub row: Notification,
    pub lease_until: Option<DateTime<Utc>>,
    pub epoch: i64,
    pub attempts: i32,
}

/// One try, written by the claim before anything is sent.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = attempts, check_for_backend(diesel::pg::Pg))]
pub struct Attempt {
    pub org_id: OrgId,
    pub notification_id: NotificationId,
    pub number: i32,
    /// The lease under which it was claimed.
    pub epoch: i64,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub outcome: AttemptOutcome,
    pub status: i32,
    pub detail: String,
}

impl Attempt {
    /// A try that begins now.
    pub fn started(of: &Notification, number: i32, epoch: i64, at: DateTime<Utc>) -> Self {
        Self {
            org_id: of.org_id,
            notification_id: of.id,
            number,
            epoch,
            started_at: at,
            ended_at: None,
            outcome: AttemptOutcome::Started,
            status: 0,
            detail: String::new(),
        }
    }
}

/// Which notifications a list shows; an empty set means every one.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub statuses: Vec<Status>,
    pub incident_ids: Vec<Uuid>,
    pub user_ids: Vec<UserId>,
    pub channel_ids: Vec<ChannelId>,
    pub created_after: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
}

pub async fn insert_notifications(conn: &mut AsyncPgConnection, rows: &[NewNotification]) -> Result<()> {
    diesel::insert_into(notifications::table).values(rows).execute(conn).await?;
    Ok(())
}

pub async fn get_notification(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: NotificationId,
) -> Result<Notification> {
    let row = notifications::table
        .find((org, id))
        .select(Notification::as_select())
        .first(conn)
        .await
        .optional()?;
    row.ok_or_else(|| Error::not_found("notification"))
}

/// The row, when it is leased under `epoch`.
///
/// # Errors
/// Conflict, code [`LEASE_LOST`], when another process holds the row.
pub async fn get_leased(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: NotificationId,
    epoch: i64,
) -> Result<Notification> {
    let row = notifications::table
        .find((org, id))
        .filter(notifications::epoch.eq(epoch))
        .select(Notification::as_select())
        .first(conn)
        .await
        .optional()?;
    row.ok_or_else(lease_lost)
}

/// Locks the row until the transaction ends; with its lease's epoch.
pub async fn get_notification_for_update(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: NotificationId,
) -> Result<(Notification, i64)> {
    let row = notifications::table
        .find((org, id))
        .select((Notification::as_select(), notifications::epoch))
        .for_update()
        .first(conn)
        .await
        .optional()?;
    row.ok_or_else(|| Error::not_found("notification"))
}

/// The notifications of one message, in the order in which they were made.
pub async fn find_by_message(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    message: MessageId,
) -> Result<Vec<Notification>> {
    let rows = notifications::table
        .filter(notifications::org_id.eq(org).and(notifications::message_id.eq(message)))
        .order(notifications::id)
        .select(Notification::as_select())
        .load(conn)
        .await?;
    Ok(rows)
}

/// Up to `limit` notifications behind `after`, newest first.
pub async fn list_notifications(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: &Filter,
    page: &Page<NotificationId>,
) -> Result<Vec<Notification>> {
    let mut query = notifications::table
        .filter(notifications::org_id.eq(org))
        .select(Notification::as_select())
        .order(notifications::id.desc())
        .limit(page.limit())
        .into_boxed();
    if !filter.statuses.is_empty() {
        query = query.filter(notifications::status.eq_any(&filter.statuses));
    }
    if !filter.incident_ids.is_empty() {
        query = query.filter(notifications::incident_id.eq_any(&filter.incident_ids));
    }
    if !filter.user_ids.is_empty() {
        query = query.filter(notifications::user_id.eq_any(&filter.user_ids));
    }
    if !filter.channel_ids.is_empty() {
        query = query.filter(notifications::channel_id.eq_any(&filter.channel_ids));
    }
    if let Some(from) = filter.created_after {
        query = query.filter(notifications::created_at.ge(from));
    }
    if let Some(to) = filter.created_before {
        query = query.filter(notifications::created_at.lt(to));
    }
    if let Some(after) = page.after {
        query = query.filter(notifications::id.lt(after));
    }
    Ok(query.load(conn).await?)
}

/// Those of `order_keys` under which something earlier than `sequence` is still open and younger
/// than `since`.
pub async fn find_blocked(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    order_keys: &[String],
    sequence: i64,
    since: DateTime<Utc>,
) -> Result<Vec<String>> {
    let keys = notifications::table
        .filter(notifications::org_id.eq(org).and(notifications::order_key.eq_any(order_keys)))
        .filter(notifications::sequence.lt(sequence).and(notifications::due_at.is_not_null()))
        .filter(notifications::status.eq(Status::Pending).and(notifications::created_at.gt(since)))
        .select(notifications::order_key)
        .distinct()
        .load(conn)
        .await?;
    Ok(keys)
}

/// Ends a notification under the lease `epoch`; it stays due until its incident's timeline has it.
///
/// # Errors
/// Conflict, code [`LEASE_LOST`], when another process holds the row.
pub async fn end_notification(
    conn: &mut AsyncPgConnection,
    row: &Notification,
    epoch: i64,
    status: Status,
    at: DateTime<Utc>,
) -> Result<()> {
    let delivered_at = (status == Status::Delivered).then_some(at);
    let ended = diesel::update(notifications::table.find((row.org_id, row.id)))
        .filter(notifications::epoch.eq(epoch))
        .set((
            notifications::status.eq(status),
            notifications::delivered_at.eq(delivered_at),
            notifications::ended_at.eq(at),
        ))
        .execute(conn)
        .await?;
    if ended == 0 { Err(lease_lost()) } else { Ok(()) }
}

/// Makes an ended notification one that is tried again, leased as `birth` says and with a new
/// budget of attempts. Nothing cancels it: a person asked for it.
pub async fn reopen_notification(
    conn: &mut AsyncPgConnection,
    row: &Notification,
    spent: i32,
    birth: &Birth,
) -> Result<()> {
    diesel::update(notifications::table.find((row.org_id, row.id)))
        .set((
            notifications::status.eq(Status::Pending),
            notifications::ended_at.eq(None::<DateTime<Utc>>),
            notifications::spent.eq(spent),
            notifications::decided_at.eq(birth.due_at),
            notifications::decided_status.eq(None::<Progress>),
            notifications::due_at.eq(birth.due_at),
            notifications::lease_until.eq(birth.lease_until),
            notifications::epoch.eq(birth.epoch),
            notifications::attempts.eq(birth.attempts),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn insert_attempts(conn: &mut AsyncPgConnection, rows: &[Attempt]) -> Result<()> {
    diesel::insert_into(attempts::table).values(rows).execute(conn).await?;
    Ok(())
}

/// The attempts of these notifications, each one's in their order.
pub async fn find_attempts(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    ids: &[NotificationId],
) -> Result<Vec<Attempt>> {
    let rows = attempts::table
        .filter(attempts::org_id.eq(org).and(attempts::notification_id.eq_any(ids)))
        .order((attempts::notification_id, attempts::number))
        .select(Attempt::as_select())
        .load(conn)
        .await?;
    Ok(rows)
}

pub async fn find_last_attempt(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: NotificationId,
) -> Result<Option<Attempt>> {
    let row = attempts::table
        .filter(attempts::org_id.eq(org).and(attempts::notification_id.eq(id)))
        .order(attempts::number.desc())
        .select(Attempt::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row)
}

/// Writes what became of an attempt.
pub async fn end_attempt(conn: &mut AsyncPgConnection, ended: &Attempt) -> Result<()> {
    diesel::update(attempts::table.find((ended.org_id, ended.notification_id, ended.number)))
        .filter(attempts::epoch.eq(ended.epoch))
        .set((
            attempts::ended_at.eq(ended.ended_at),
            attempts::outcome.eq(ended.outcome),
            attempts::status.eq(ended.status),
            attempts::detail.eq(&ended.detail),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// The row belongs to another process by now.
pub fn lease_lost() -> Error {
    Error::conflict(LEASE_LOST, "another process holds this delivery")
}
