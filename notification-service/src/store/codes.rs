use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;

use crate::ids::{ContactMethodId, MessageId};
use crate::schema::{code_mails, contact_method_codes};

/// The code that was mailed last to a contact method. The code itself is kept nowhere.
#[derive(Clone, Copy, Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = contact_method_codes, primary_key(org_id, contact_method_id))]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct Code {
    pub org_id: OrgId,
    pub contact_method_id: ContactMethodId,
    /// The message that carries it, and what it is made of.
    pub message_id: MessageId,
    pub tries: i32,
    pub sent_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Puts `code` in place of the one before.
pub async fn upsert_code(conn: &mut AsyncPgConnection, code: &Code) -> Result<()> {
    diesel::insert_into(contact_method_codes::table)
        .values(code)
        .on_conflict((contact_method_codes::org_id, contact_method_codes::contact_method_id))
        .do_update()
        .set(code)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn find_code(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    method: ContactMethodId,
) -> Result<Option<Code>> {
    let code = contact_method_codes::table.find((org, method)).select(Code::as_select());
    Ok(code.first(conn).await.optional()?)
}

/// Counts a try of the code that was mailed last, and gives that code; `None` when it is over at `now`
/// or was tried `most` times.
pub async fn try_code(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    method: ContactMethodId,
    now: DateTime<Utc>,
    most: i32,
) -> Result<Option<Code>> {
    let code = diesel::update(contact_method_codes::table.find((org, method)))
        .filter(contact_method_codes::expires_at.gt(now).and(contact_method_codes::tries.lt(most)))
        .set(contact_method_codes::tries.eq(contact_method_codes::tries + 1))
        .returning(Code::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    Ok(code)
}

/// No code proves this method any more.
pub async fn delete_code(conn: &mut AsyncPgConnection, org: OrgId, method: ContactMethodId) -> Result<()> {
    diesel::delete(contact_method_codes::table.find((org, method))).execute(conn).await?;
    Ok(())
}

/// Counts a code to the address with this digest, for every organization.
pub async fn insert_mail(conn: &mut AsyncPgConnection, digest: &[u8], at: DateTime<Utc>) -> Result<()> {
    let mail = (code_mails::address_digest.eq(digest), code_mails::sent_at.eq(at));
    diesel::insert_into(code_mails::table).values(mail).execute(conn).await?;
    Ok(())
}

/// When codes were mailed to this address since, of whatever organization.
pub async fn find_mails(
    conn: &mut AsyncPgConnection,
    digest: &[u8],
    since: DateTime<Utc>,
) -> Result<Vec<DateTime<Utc>>> {
    let mails = code_mails::table
        .filter(code_mails::address_digest.eq(digest).and(code_mails::sent_at.gt(since)))
        .select(code_mails::sent_at);
    Ok(mails.load(conn).await?)
}

/// Forgets the codes that were mailed until `before`.
pub async fn sweep_mails(conn: &mut AsyncPgConnection, before: DateTime<Utc>) -> Result<()> {
    diesel::delete(code_mails::table.filter(code_mails::sent_at.le(before))).execute(conn).await?;
    Ok(())
}
