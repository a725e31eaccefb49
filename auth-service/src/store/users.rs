use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::page::{ConfigKey, Page};
use platform::secret::Secret;
use serde_json::Value as Json;

use crate::roles::Standing;
use crate::schema::{team_members, users};
use crate::words::{Role, TeamId, UserId, UserStatus};

/// A user without the password's hash, which only [`find_by_email`] reads.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg))]
pub struct User {
    pub org_id: OrgId,
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub time_zone: String,
    pub locale: Option<String>,
    pub status: UserStatus,
    pub labels: Json,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub archived_at: Option<DateTime<Utc>>,
    pub version: i64,
}

impl User {
    pub fn standing(&self) -> Standing {
        Standing { role: self.role, status: self.status, archived: self.archived_at.is_some() }
    }

    /// Whether the user may sign in and act.
    pub fn is_active(&self) -> bool {
        self.status == UserStatus::Active && self.archived_at.is_none()
    }
}

#[derive(Insertable)]
#[diesel(table_name = users)]
pub struct NewUser<'a> {
    pub org_id: OrgId,
    pub id: UserId,
    pub email: &'a str,
    pub name: &'a str,
    pub role: Role,
    pub password_hash: Option<&'a str>,
    pub time_zone: &'a str,
    pub locale: Option<&'a str>,
    pub status: UserStatus,
    pub labels: Json,
    pub created_at: DateTime<Utc>,
    pub created_by: &'a str,
    pub updated_at: DateTime<Utc>,
    pub updated_by: &'a str,
    pub version: i64,
}

/// What an update writes: all that can change, and the password only when it does.
#[derive(AsChangeset)]
#[diesel(table_name = users, treat_none_as_null = true)]
pub struct UserChange<'a> {
    pub name: &'a str,
    pub role: Role,
    pub time_zone: &'a str,
    pub locale: Option<&'a str>,
    pub status: UserStatus,
    pub labels: Json,
    pub archived_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
    pub updated_by: &'a str,
    pub version: i64,
}

/// What a login needs to know before it knows the organization.
pub struct Account {
    pub org: OrgId,
    pub user: UserId,
    pub password_hash: Option<Secret<String>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    pub roles: &'a [Role],
    /// Members of any of these; everybody when empty.
    pub teams: &'a [TeamId],
    /// The archived, too.
    pub archived: bool,
}

pub async fn insert(conn: &mut AsyncPgConnection, new: &NewUser<'_>) -> Result<User> {
    let inserted = diesel::insert_into(users::table)
        .values(new)
        .returning(User::as_returning())
        .get_result(conn)
        .await?;
    Ok(inserted)
}

/// For a login: across organizations, so in a system transaction.
pub async fn find_by_email(conn: &mut AsyncPgConnection, email: &str) -> Result<Option<Account>> {
    let found: Option<(OrgId, UserId, Option<String>)> = users::table
        .filter(users::email.eq(email))
        .filter(users::archived_at.is_null())
        .select((users::org_id, users::id, users::password_hash))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|(org, user, hash)| Account { org, user, password_hash: hash.map(Secret::new) }))
}

pub async fn get(conn: &mut AsyncPgConnection, org: OrgId, id: UserId) -> Result<User> {
    let found = users::table.find((org, id)).select(User::as_select()).first(conn).await;
    found.optional()?.ok_or_else(not_found)
}

/// The user as it stays until the transaction ends: whoever changes rights waits (`get_to_change`),
/// so a token made under this lock is older than the revocation that follows.
pub async fn get_to_sign(conn: &mut AsyncPgConnection, org: OrgId, id: UserId) -> Result<User> {
    let query = users::table.find((org, id)).select(User::as_select());
    query.for_key_share().first(conn).await.optional()?.ok_or_else(not_found)
}

/// As [`get_to_sign`], if the password's hash is still the one that was verified.
pub async fn find_to_sign_in(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: UserId,
    password_hash: &str,
) -> Result<Option<User>> {
    let query = users::table.find((org, id)).filter(users::password_hash.eq(password_hash));
    Ok(query.select(User::as_select()).for_key_share().first(conn).await.optional()?)
}

/// The user under the lock of a change.
pub async fn get_to_change(conn: &mut AsyncPgConnection, org: OrgId, id: UserId) -> Result<User> {
    let query = users::table.find((org, id)).select(User::as_select());
    query.for_update().first(conn).await.optional()?.ok_or_else(not_found)
}

pub async fn find_many(conn: &mut AsyncPgConnection, org: OrgId, ids: &[UserId]) -> Result<Vec<User>> {
    let found = users::table
        .filter(users::org_id.eq(org))
        .filter(users::id.eq_any(ids))
        .select(User::as_select())
        .load(conn)
        .await?;
    Ok(found)
}

pub async fn list(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: Filter<'_>,
    page: &Page<ConfigKey>,
) -> Result<Vec<User>> {
    let mut query = users::table.filter(users::org_id.eq(org)).select(User::as_select()).into_boxed();
    if !filter.archived {
        query = query.filter(users::archived_at.is_null());
    }
    if !filter.roles.is_empty() {
        query = query.filter(users::role.eq_any(filter.roles));
    }
    if !filter.teams.is_empty() {
        let members = team_members::table
            .filter(team_members::org_id.eq(org))
            .filter(team_members::team_id.eq_any(filter.teams))
            .select(team_members::user_id);
        query = query.filter(users::id.eq_any(members));
    }
    Ok(platform::config_list!(query, users, page).load(conn).await?)
}

/// The owners who can act, besides `besides`.
pub async fn owners(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    besides: Option<UserId>,
) -> Result<Vec<UserId>> {
    let besides = besides.unwrap_or(UserId::nil());
    let found = users::table
        .filter(users::org_id.eq(org))
        .filter(users::role.eq(Role::Owner))
        .filter(users::status.eq(UserStatus::Active))
        .filter(users::archived_at.is_null())
        .filter(users::id.ne(besides))
        .order(users::id)
        .select(users::id)
        .load(conn)
        .await?;
    Ok(found)
}

pub async fn update(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: UserId,
    change: &UserChange<'_>,
) -> Result<User> {
    let updated = diesel::update(users::table.find((org, id)))
        .set(change)
        .returning(User::as_returning())
        .get_result(conn)
        .await?;
    Ok(updated)
}

pub async fn set_password(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: UserId,
    hash: Option<&str>,
) -> Result<()> {
    diesel::update(users::table.find((org, id))).set(users::password_hash.eq(hash)).execute(conn).await?;
    Ok(())
}

fn not_found() -> Error {
    Error::not_found("user")
}
