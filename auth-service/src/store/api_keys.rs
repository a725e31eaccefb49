use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::page::Page;
use uuid::Uuid;

use super::database_now;
use crate::schema::api_keys;
use crate::words::{KeyId, KeyKind, UserId};

/// A key without its hash, which nobody reads back.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = api_keys, check_for_backend(diesel::pg::Pg))]
pub struct ApiKey {
    pub org_id: OrgId,
    pub id: KeyId,
    pub kind: KeyKind,
    pub name: String,
    pub prefix: String,
    pub scopes: Vec<String>,
    pub user_id: Option<UserId>,
    pub service_id: Option<Uuid>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub revoked_at: Option<DateTime<Utc>>,
    pub version: i64,
}

#[derive(Insertable)]
#[diesel(table_name = api_keys)]
pub struct NewApiKey<'a> {
    pub org_id: OrgId,
    pub id: KeyId,
    pub kind: KeyKind,
    pub name: &'a str,
    pub prefix: &'a str,
    pub hash: &'a [u8],
    pub scopes: &'a [String],
    pub user_id: Option<UserId>,
    pub service_id: Option<Uuid>,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub created_by: &'a str,
    pub updated_at: DateTime<Utc>,
    pub updated_by: &'a str,
    pub version: i64,
}

/// Which keys a list shows.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    Api {
        revoked: bool,
    },
    /// Those of the service that are not revoked.
    Integration {
        service: Uuid,
    },
}

pub async fn insert(conn: &mut AsyncPgConnection, new: &NewApiKey<'_>) -> Result<ApiKey> {
    let inserted = diesel::insert_into(api_keys::table)
        .values(new)
        .returning(ApiKey::as_returning())
        .get_result(conn)
        .await?;
    Ok(inserted)
}

pub async fn find(conn: &mut AsyncPgConnection, org: OrgId, id: KeyId) -> Result<Option<ApiKey>> {
    let query = api_keys::table.find((org, id)).select(ApiKey::as_select());
    Ok(query.first(conn).await.optional()?)
}

/// The key under the lock of its revocation; nobody is given a token for it meanwhile.
pub async fn get_to_change(conn: &mut AsyncPgConnection, org: OrgId, id: KeyId) -> Result<ApiKey> {
    let query = api_keys::table.find((org, id)).select(ApiKey::as_select());
    let found = query.for_update().first(conn).await.optional()?;
    found.ok_or_else(|| Error::not_found("key"))
}

/// The good key of this hash, across organizations, so in a system transaction; whether it was last
/// used more than a minute ago comes along. A revocation waits until the transaction ends.
pub async fn find_good(
    conn: &mut AsyncPgConnection,
    hash: &[u8],
    used_before: DateTime<Utc>,
) -> Result<Option<(ApiKey, bool)>> {
    let found: Option<ApiKey> = api_keys::table
        .filter(api_keys::hash.eq(hash))
        .filter(api_keys::revoked_at.is_null())
        .filter(api_keys::expires_at.is_null().or(api_keys::expires_at.gt(database_now().nullable())))
        .select(ApiKey::as_select())
        .for_key_share()
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|key| {
        let stale = key.last_used_at.is_none_or(|at| at <= used_before);
        (key, stale)
    }))
}

/// The API keys of the user that are not revoked.
pub async fn of_user(conn: &mut AsyncPgConnection, org: OrgId, user: UserId) -> Result<Vec<KeyId>> {
    let found = api_keys::table
        .filter(api_keys::org_id.eq(org))
        .filter(api_keys::user_id.eq(user))
        .filter(api_keys::revoked_at.is_null())
        .order(api_keys::id)
        .select(api_keys::id)
        .load(conn)
        .await?;
    Ok(found)
}

pub async fn touch(
    conn: &mut AsyncPgConnection,
    key: &ApiKey,
    at: DateTime<Utc>,
    used_before: DateTime<Utc>,
) -> Result<()> {
    let stale = api_keys::table
        .find((key.org_id, key.id))
        .filter(api_keys::last_used_at.is_null().or(api_keys::last_used_at.le(used_before)));
    diesel::update(stale).set(api_keys::last_used_at.eq(at)).execute(conn).await?;
    Ok(())
}

pub async fn list(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    which: Which,
    page: &Page<(DateTime<Utc>, KeyId)>,
) -> Result<Vec<ApiKey>> {
    let query = api_keys::table.filter(api_keys::org_id.eq(org)).select(ApiKey::as_select()).into_boxed();
    let query = match which {
        Which::Api { revoked: true } => {
            query.filter(api_keys::kind.eq(KeyKind::Api)).filter(api_keys::revoked_at.is_not_null())
        }
        Which::Api { revoked: false } => {
            query.filter(api_keys::kind.eq(KeyKind::Api)).filter(api_keys::revoked_at.is_null())
        }
        Which::Integration { service } => query
            .filter(api_keys::kind.eq(KeyKind::Integration))
            .filter(api_keys::service_id.eq(service))
            .filter(api_keys::revoked_at.is_null()),
    };
    Ok(platform::keyset!(query, api_keys::created_at, api_keys::id, page).load(conn).await?)
}

pub async fn revoke(
    conn: &mut AsyncPgConnection,
    key: &ApiKey,
    at: DateTime<Utc>,
    by: &str,
) -> Result<ApiKey> {
    let revoked = diesel::update(api_keys::table.find((key.org_id, key.id)))
        .set((
            api_keys::revoked_at.eq(at),
            api_keys::updated_at.eq(at),
            api_keys::updated_by.eq(by),
            api_keys::version.eq(key.version + 1),
        ))
        .returning(ApiKey::as_returning())
        .get_result(conn)
        .await?;
    Ok(revoked)
}
