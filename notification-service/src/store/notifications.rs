use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::expression::SqlLiteral;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Jsonb, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::leased::{Birth, LEASE_LOST};
use platform::page::Page;
use platform::sql::sql;
use uuid::Uuid;

use crate::ids::{ChannelId, ContactMethodId, MessageId, NotificationId, UserId};
use crate::kinds::{Kind, Progress, Status};
use crate::schema::notifications;

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
    pub failing_told: bool,
    pub notes: Option<serde_json::Value>,
    pub created_at: DateTime<Utc>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub due_at: Option<DateTime<Utc>>,
}

impl Notification {
    /// Whether it was over before it began: a later word had gone to its destination.
    pub fn was_overtaken_at_birth(&self) -> bool {
        self.status == Status::Cancelled && self.ended_at == Some(self.created_at)
    }
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

/// Rows of one INSERT: the protocol numbers what is bound with 16 bits.
pub(super) const PART: usize = 500;

/// An id may be this much younger or older than its row's time.
const ID_SLACK: TimeDelta = TimeDelta::minutes(1);

/// Adds that `$column` is one of `$values`, when there are any. A single one is compared by `=`: only
/// then does an index on it give the order of the list as well.
macro_rules! one_of {
    ($query:ident, $column:expr, $values:expr) => {
        match &$values[..] {
            [] => $query,
            [only] => $query.filter($column.eq(only)),
            many => $query.filter($column.eq_any(many)),
        }
    };
}

/// A page of notifications.
pub(super) type ListQuery<'q> = notifications::BoxedQuery<'q, Pg, SqlTypeOf<AsSelect<Notification, Pg>>>;

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
    for part in rows.chunks(PART) {
        diesel::insert_into(notifications::table).values(part).execute(conn).await?;
    }
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
    Ok(list_query(org, filter, page).load(conn).await?)
}

pub(super) fn list_query<'q>(org: OrgId, filter: &'q Filter, page: &Page<NotificationId>) -> ListQuery<'q> {
    let query = notifications::table.filter(notifications::org_id.eq(org)).into_boxed();
    let mut query =
        query.select(Notification::as_select()).order(notifications::id.desc()).limit(page.limit());
    if !filter.statuses.is_empty() {
        query = query.filter(is_one_of(&filter.statuses));
    }
    query = one_of!(query, notifications::incident_id, &filter.incident_ids);
    query = one_of!(query, notifications::user_id, &filter.user_ids);
    query = one_of!(query, notifications::channel_id, &filter.channel_ids);
    // Ids are made in the order of time: they bound the search, the column decides.
    if let Some(from) = filter.created_after {
        let bound = NotificationId::floor(from - ID_SLACK);
        query = query.filter(notifications::created_at.ge(from).and(notifications::id.ge(bound)));
    }
    if let Some(to) = filter.created_before {
        let bound = NotificationId::floor(to + ID_SLACK);
        query = query.filter(notifications::created_at.lt(to).and(notifications::id.lt(bound)));
    }
    if let Some(after) = page.after {
        query = query.filter(notifications::id.lt(after));
    }
    query
}

/// The statuses stand in the statement itself: an index on some of them serves only those that the planner
/// can see.
fn is_one_of(statuses: &[Status]) -> SqlLiteral<Bool> {
    let literal = |status: &Status| format!("'{}'", status.as_str());
    let literals: Vec<String> = statuses.iter().map(literal).collect();
    diesel::dsl::sql(&match &literals[..] {
        [only] => format!("notifications.status = {only}"),
        many => format!("notifications.status IN ({})", many.join(", ")),
    })
}

/// How many test messages the channel has had since, and when the oldest of them was made.
pub async fn count_tests(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    channel: ChannelId,
    since: DateTime<Utc>,
) -> Result<(i64, Option<DateTime<Utc>>)> {
    let tests = notifications::table
        .filter(notifications::org_id.eq(org).and(notifications::channel_id.eq(channel)))
        .filter(notifications::id.ge(NotificationId::floor(since - ID_SLACK)))
        .filter(notifications::incident_id.is_null().and(notifications::created_at.gt(since)))
        .select((diesel::dsl::count_star(), diesel::dsl::min(notifications::created_at)));
    Ok(tests.get_result(conn).await?)
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
/// budget of attempts. What has happened until the incident came to `status` does not cancel it: a
/// person who knows that asked for it. `notes` are those that the timeline is owed.
pub async fn reopen_notification(
    conn: &mut AsyncPgConnection,
    row: &Notification,
    spent: i32,
    birth: &Birth,
    status: Option<Progress>,
    notes: Option<serde_json::Value>,
) -> Result<()> {
    diesel::update(notifications::table.find((row.org_id, row.id)))
        .set((
            notifications::status.eq(Status::Pending),
            notifications::ended_at.eq(None::<DateTime<Utc>>),
            notifications::spent.eq(spent),
            notifications::decided_at.eq(birth.due_at),
            notifications::decided_status.eq(status),
            notifications::failing_told.eq(false),
            notifications::notes.eq(notes),
            notifications::due_at.eq(birth.due_at),
            notifications::lease_until.eq(birth.lease_until),
            notifications::epoch.eq(birth.epoch),
            notifications::attempts.eq(birth.attempts),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds names to those of a delivery.
pub async fn set_recipient(conn: &mut AsyncPgConnection, row: &Notification) -> Result<()> {
    let this = notifications::table.find((row.org_id, row.id));
    diesel::update(this).set(notifications::recipient.eq(&row.recipient)).execute(conn).await?;
    Ok(())
}

/// Adds to what the incident's timeline is owed, whoever is at the row: see [`owes_still`].
pub async fn owe(
    conn: &mut AsyncPgConnection,
    row: &Notification,
    notes: &serde_json::Value,
    now: DateTime<Utc>,
) -> Result<()> {
    sql("UPDATE notifications SET notes = coalesce(notes, '[]') || $1,
            due_at = CASE WHEN ended_at IS NULL THEN due_at ELSE coalesce(due_at, $2) END
         WHERE org_id = $3 AND id = $4")
    .bind::<Jsonb, _>(notes)
    .bind::<Timestamptz, _>(now)
    .bind::<SqlUuid, _>(row.org_id)
    .bind::<SqlUuid, _>(row.id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a row that has just been finished due again, when notes have come to it meanwhile; whether it is.
pub async fn owes_still(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: NotificationId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let finished = notifications::due_at.is_null().and(notifications::ended_at.is_not_null());
    let owing = diesel::update(notifications::table.find((org, id)))
        .filter(finished.and(notifications::notes.is_not_null()))
        .set(notifications::due_at.eq(now))
        .execute(conn)
        .await?;
    Ok(owing > 0)
}

/// Remembers what the incident's timeline has been told: that attempts fail, and the notes that waited
/// in the row, unless others have come to it since.
pub async fn mark_told(
    conn: &mut AsyncPgConnection,
    row: &Notification,
    failing: bool,
    notes: bool,
) -> Result<()> {
    let this = notifications::table.find((row.org_id, row.id));
    if failing {
        diesel::update(this).set(notifications::failing_told.eq(true)).execute(conn).await?;
    }
    if notes {
        let nothing = notifications::notes.eq(None::<serde_json::Value>);
        diesel::update(this.filter(notifications::notes.eq(&row.notes))).set(nothing).execute(conn).await?;
    }
    Ok(())
}

/// The row belongs to another process by now.
pub fn lease_lost() -> Error {
    Error::conflict(LEASE_LOST, "another process holds this delivery")
}
