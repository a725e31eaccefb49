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

/// Adds those that are not there yet, neither under the same id nor with the same address. What a
/// person has entered before is verified by the same address that comes verified.
pub async fn insert_missing(conn: &mut AsyncPgConnection, rows: &[ContactMethod]) -> Result<()> {
    diesel::insert_into(contact_methods::table).values(rows).on_conflict_do_nothing().execute(conn).await?;
    for row in rows.iter().filter(|row| row.verified_at.is_some()) {
        let same_address = contact_methods::table
            .filter(contact_methods::org_id.eq(row.org_id).and(contact_methods::user_id.eq(row.user_id)))
            .filter(contact_methods::kind.eq(row.kind))
            .filter(contact_methods::address_digest.eq(&row.address_digest))
            .filter(contact_methods::archived_at.is_null().and(contact_methods::verified_at.is_null()));
        diesel::update(same_address)
            .set((
                contact_methods::verified_at.eq(row.verified_at),
                contact_methods::updated_at.eq(row.updated_at),
                contact_methods::updated_by.eq(row.updated_by),
                contact_methods::version.eq(contact_methods::version + 1),
            ))
            .execute(conn)
            .await?;
    }
    Ok(())
}

destinations!(contact_methods, ContactMethod, ContactMethodChange, ContactMethodId, "contact method");

/// The address is proven at `at`.
pub async fn prove(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: ContactMethodId,
    at: DateTime<Utc>,
    by: Uuid,
) -> Result<ContactMethod> {
    let row = diesel::update(contact_methods::table.find((org, id)))
        .set((
            contact_methods::verified_at.eq(at),
            contact_methods::updated_at.eq(at),
            contact_methods::updated_by.eq(by),
            contact_methods::version.eq(contact_methods::version + 1),
        ))
        .returning(ContactMethod::as_returning())
        .get_result(conn)
        .await?;
    Ok(row)
}

/// How many methods the person has that have not ended.
pub async fn count(conn: &mut AsyncPgConnection, org: OrgId, user: UserId) -> Result<i64> {
    let live = contact_methods::table
        .filter(contact_methods::org_id.eq(org).and(contact_methods::user_id.eq(user)))
        .filter(contact_methods::archived_at.is_null());
    Ok(live.count().get_result(conn).await?)
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
