use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use uuid::Uuid;

use crate::ids::MessageId;
use crate::schema::messages;

/// What is said, once for all notifications of one request.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = messages, check_for_backend(diesel::pg::Pg))]
pub struct Message {
    pub org_id: OrgId,
    pub id: MessageId,
    pub send_key: String,
    pub subject: String,
    pub text_body: String,
    pub json_body: String,
    pub incident_id: Option<Uuid>,
    pub run_id: Option<Uuid>,
    pub nobody_reachable: bool,
    pub actor_kind: i32,
    pub actor_id: String,
    pub actor_name: String,
    pub trace: String,
    pub created_at: DateTime<Utc>,
}

/// Whether the row is new: false when the request's key has made one before, which another
/// transaction may be doing right now; then this waits for its end.
pub async fn insert_message(conn: &mut AsyncPgConnection, row: &Message) -> Result<bool> {
    let inserted = diesel::insert_into(messages::table)
        .values(row)
        .on_conflict((messages::org_id, messages::send_key))
        .do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted == 1)
}

pub async fn find_message_by_key(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    send_key: &str,
) -> Result<Option<Message>> {
    let row = messages::table
        .filter(messages::org_id.eq(org).and(messages::send_key.eq(send_key)))
        .select(Message::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row)
}

pub async fn get_message(conn: &mut AsyncPgConnection, org: OrgId, id: MessageId) -> Result<Message> {
    Ok(messages::table.find((org, id)).select(Message::as_select()).first(conn).await?)
}

/// The subjects of these messages.
pub async fn find_subjects(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    ids: &[MessageId],
) -> Result<HashMap<MessageId, String>> {
    let rows: Vec<(MessageId, String)> = messages::table
        .filter(messages::org_id.eq(org).and(messages::id.eq_any(ids)))
        .select((messages::id, messages::subject))
        .load(conn)
        .await?;
    Ok(rows.into_iter().collect())
}
