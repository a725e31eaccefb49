use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::page::Page;
use uuid::Uuid;

use crate::ids::{ContactMethodId, UserId};
use crate::kinds::Kind;
use crate::schema::contact_methods;

/// One address of one person.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = contact_methods, check_for_backend(diesel::pg::Pg))]
pub struct ContactMethod {
    pub org_id: OrgId,
    pub id: ContactMethodId,
    pub user_id: UserId,
    pub kind: Kind,
    pub address_sealed: Vec<u8>,
    pub address_shown: String,
    pub address_digest: Vec<u8>,
    pub secret_sealed: Option<Vec<u8>>,
    pub disabled: bool,
    pub verified_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub created_by: Uuid,
    pub updated_at: DateTime<Utc>,
    pub updated_by: Uuid,
    pub version: i64,
    pub archived_at: Option<DateTime<Utc>>,
}

/// What a change may touch; the version goes up by one with it.
#[derive(Clone, Debug, AsChangeset)]
#[diesel(table_name = contact_methods, treat_none_as_null = true)]
pub struct ContactMethodChange {
    pub address_sealed: Vec<u8>,
    pub address_shown: String,
    pub address_digest: Vec<u8>,
    pub disabled: bool,
    pub verified_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
    pub updated_by: Uuid,
}

pub async fn insert_contact_method(conn: &mut AsyncPgConnection, row: &ContactMethod) -> Result<()> {
    diesel::insert_into(contact_methods::table).values(row).execute(conn).await?;
    Ok(())
}

/// Adds those that are not there yet, neither under the same id nor with the same address.
pub async fn insert_missing(conn: &mut AsyncPgConnection, rows: &[ContactMethod]) -> Result<()> {
    diesel::insert_into(contact_methods::table).values(rows).on_conflict_do_nothing().execute(conn).await?;
    Ok(())
}

pub async fn get_contact_method(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    user: UserId,
    id: ContactMethodId,
) -> Result<ContactMethod> {
    let row = contact_methods::table
        .find((org, id))
        .filter(contact_methods::user_id.eq(user))
        .select(ContactMethod::as_select())
        .first(conn)
        .await
        .optional()?;
    row.ok_or_else(|| Error::not_found("contact method"))
}

/// Locks the row until the transaction ends.
pub async fn get_contact_method_for_update(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    user: UserId,
    id: ContactMethodId,
) -> Result<ContactMethod> {
    let row = contact_methods::table
        .find((org, id))
        .filter(contact_methods::user_id.eq(user))
        .select(ContactMethod::as_select())
        .for_update()
        .first(conn)
        .await
        .optional()?;
    row.ok_or_else(|| Error::not_found("contact method"))
}

/// Those of `ids` that exist, ended ones too: what was decided is delivered.
pub async fn find_contact_method(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: ContactMethodId,
) -> Result<Option<ContactMethod>> {
    let row = contact_methods::table
        .find((org, id))
        .select(ContactMethod::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row)
}

/// The methods of these people that are switched on.
pub async fn find_enabled(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    users: &[UserId],
) -> Result<Vec<ContactMethod>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let rows = contact_methods::table
        .filter(contact_methods::org_id.eq(org).and(contact_methods::user_id.eq_any(users)))
        .filter(contact_methods::archived_at.is_null().and(contact_methods::disabled.eq(false)))
        .order(contact_methods::id)
        .select(ContactMethod::as_select())
        .load(conn)
        .await?;
    Ok(rows)
}

/// Up to `limit` methods of a person behind `after`, oldest first.
pub async fn list_contact_methods(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    user: UserId,
    page: &Page<ContactMethodId>,
) -> Result<Vec<ContactMethod>> {
    let mut query = contact_methods::table
        .filter(contact_methods::org_id.eq(org).and(contact_methods::user_id.eq(user)))
        .filter(contact_methods::archived_at.is_null())
        .select(ContactMethod::as_select())
        .order(contact_methods::id.asc())
        .limit(page.limit())
        .into_boxed();
    if let Some(after) = page.after {
        query = query.filter(contact_methods::id.gt(after));
    }
    Ok(query.load(conn).await?)
}

pub async fn update_contact_method(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: ContactMethodId,
    change: &ContactMethodChange,
) -> Result<ContactMethod> {
    let row = diesel::update(contact_methods::table.find((org, id)))
        .set((change, contact_methods::version.eq(contact_methods::version + 1)))
        .returning(ContactMethod::as_returning())
        .get_result(conn)
        .await?;
    Ok(row)
}

pub async fn archive_contact_method(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: ContactMethodId,
    at: DateTime<Utc>,
    by: Uuid,
) -> Result<()> {
    diesel::update(contact_methods::table.find((org, id)))
        .set((
            contact_methods::archived_at.eq(at),
            contact_methods::updated_at.eq(at),
            contact_methods::updated_by.eq(by),
            contact_methods::version.eq(contact_methods::version + 1),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
