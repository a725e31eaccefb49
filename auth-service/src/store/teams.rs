use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::page::{ConfigKey, Page};
use serde_json::Value as Json;

use super::users::User;
use crate::schema::{team_members, teams, users};
use crate::words::{TeamId, TeamRole, UserId};

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = teams, check_for_backend(diesel::pg::Pg))]
pub struct Team {
    pub org_id: OrgId,
    pub id: TeamId,
    pub slug: String,
    pub name: String,
    pub labels: Json,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    pub archived_at: Option<DateTime<Utc>>,
    pub version: i64,
}

#[derive(AsChangeset)]
#[diesel(table_name = teams, treat_none_as_null = true)]
pub struct TeamChange<'a> {
    pub name: &'a str,
    pub labels: Json,
    pub archived_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
    pub updated_by: &'a str,
    pub version: i64,
}

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = team_members, check_for_backend(diesel::pg::Pg))]
pub struct TeamMember {
    pub org_id: OrgId,
    pub team_id: TeamId,
    pub user_id: UserId,
    pub role: TeamRole,
    pub added_at: DateTime<Utc>,
    pub added_by: String,
}

pub async fn insert(conn: &mut AsyncPgConnection, new: &Team) -> Result<()> {
    diesel::insert_into(teams::table).values(new).execute(conn).await?;
    Ok(())
}

pub async fn get(conn: &mut AsyncPgConnection, org: OrgId, id: TeamId) -> Result<Team> {
    let found = teams::table.find((org, id)).select(Team::as_select()).first(conn).await;
    found.optional()?.ok_or_else(not_found)
}

/// The team under its lock: of a change of itself or of its members.
pub async fn get_to_change(conn: &mut AsyncPgConnection, org: OrgId, id: TeamId) -> Result<Team> {
    let query = teams::table.find((org, id)).select(Team::as_select());
    query.for_no_key_update().first(conn).await.optional()?.ok_or_else(not_found)
}

pub async fn list(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    archived: bool,
    page: &Page<ConfigKey>,
) -> Result<Vec<Team>> {
    let mut query = teams::table.filter(teams::org_id.eq(org)).select(Team::as_select()).into_boxed();
    if !archived {
        query = query.filter(teams::archived_at.is_null());
    }
    Ok(platform::config_list!(query, teams, page).load(conn).await?)
}

pub async fn update(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: TeamId,
    change: &TeamChange<'_>,
) -> Result<Team> {
    let updated = diesel::update(teams::table.find((org, id)))
        .set(change)
        .returning(Team::as_returning())
        .get_result(conn)
        .await?;
    Ok(updated)
}

pub async fn find_member(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    team: TeamId,
    user: UserId,
) -> Result<Option<TeamMember>> {
    let query = team_members::table.find((org, team, user)).select(TeamMember::as_select());
    Ok(query.first(conn).await.optional()?)
}

/// Adds the member or changes its role; who added it and when stays.
pub async fn put_member(conn: &mut AsyncPgConnection, member: &TeamMember) -> Result<TeamMember> {
    let put = diesel::insert_into(team_members::table)
        .values(member)
        .on_conflict((team_members::org_id, team_members::team_id, team_members::user_id))
        .do_update()
        .set(team_members::role.eq(member.role))
        .returning(TeamMember::as_returning())
        .get_result(conn)
        .await?;
    Ok(put)
}

pub async fn delete_member(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    team: TeamId,
    user: UserId,
) -> Result<()> {
    diesel::delete(team_members::table.find((org, team, user))).execute(conn).await?;
    Ok(())
}

/// Takes the user out of every team; returns the memberships that were.
pub async fn delete_memberships(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    user: UserId,
) -> Result<Vec<TeamMember>> {
    let memberships =
        team_members::table.filter(team_members::org_id.eq(org)).filter(team_members::user_id.eq(user));
    let deleted = diesel::delete(memberships).returning(TeamMember::as_returning()).get_results(conn).await?;
    Ok(deleted)
}

/// In the order in which they were added.
pub async fn list_members(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    team: TeamId,
    page: &Page<(DateTime<Utc>, UserId)>,
) -> Result<Vec<(TeamMember, User)>> {
    let query = team_members::table
        .inner_join(
            users::table.on(users::org_id.eq(team_members::org_id).and(users::id.eq(team_members::user_id))),
        )
        .filter(team_members::org_id.eq(org))
        .filter(team_members::team_id.eq(team))
        .select((TeamMember::as_select(), User::as_select()))
        .into_boxed();
    Ok(platform::keyset!(query, team_members::added_at, team_members::user_id, page).load(conn).await?)
}

fn not_found() -> Error {
    Error::not_found("team")
}
