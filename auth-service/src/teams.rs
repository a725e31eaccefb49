//! Teams and their members.

use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::{Error, Result};
use platform::page::{CONFIG_SORTS, ConfigKey};
use proto::auth::v1 as pb;

use crate::store::teams::{Team, TeamChange, TeamMember};
use crate::store::users::User;
use crate::words::{TeamId, TeamRole, UserId};
use crate::{audit, convert, store};

/// Makes a team.
///
/// # Errors
/// Conflict `already_exists` at `team.slug`.
pub async fn create(cx: &Ctx, conn: &mut AsyncPgConnection, new: &pb::Team) -> Result<Team> {
    let by = cx.principal.subject().to_string();
    let team = Team {
        org_id: cx.org,
        id: TeamId(cx.id()),
        slug: new.slug.clone(),
        name: new.name.clone(),
        labels: convert::labels(&new.labels)?,
        created_at: cx.now,
        created_by: by.clone(),
        updated_at: cx.now,
        updated_by: by,
        archived_at: None,
        version: 1,
    };
    store::teams::insert(conn, &team).await.map_err(|error| error.under("team"))?;
    audit::write(cx, conn, "team.created", None, Some(&team)).await?;
    Ok(team)
}

/// # Errors
/// NotFound.
pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: TeamId) -> Result<Team> {
    store::teams::get(conn, cx.org, id).await
}

/// A page of teams and the token of the next.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::ListTeamsRequest,
) -> Result<(Vec<Team>, String)> {
    let page = platform::page!(request, CONFIG_SORTS, "created_at")?;
    let rows = store::teams::list(conn, cx.org, request.archived, &page).await?;
    page.finish(rows, |team| ConfigKey::of(page.sort, team.created_at, &team.name, team.id.into()))
}

/// Changes the fields that the mask names.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`; Conflict `archived`; Invalid at the field.
pub async fn update(cx: &Ctx, conn: &mut AsyncPgConnection, request: &pb::UpdateTeamRequest) -> Result<Team> {
    let before = lock(cx, conn, TeamId::parse("id", &request.id)?).await?;
    cx.expect_version(before.version)?;
    let (patch, mask) = (request.team.as_ref(), request.update_mask.as_ref());
    let merged = proto::update("team", &convert::team(&before), patch, mask)?;
    let by = cx.principal.subject().to_string();
    let change = TeamChange {
        name: &merged.name,
        labels: convert::labels(&merged.labels)?,
        archived_at: None,
        updated_at: cx.now,
        updated_by: &by,
        version: before.version + 1,
    };
    let team = store::teams::update(conn, cx.org, before.id, &change).await?;
    audit::write(cx, conn, "team.updated", Some(&before), Some(&team)).await?;
    Ok(team)
}

/// Archives a team; nothing happens when it was archived before. Its members stay, because it goes
/// on working for the services that it owns.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`.
pub async fn archive(cx: &Ctx, conn: &mut AsyncPgConnection, id: TeamId) -> Result<()> {
    let before = store::teams::get_to_change(conn, cx.org, id).await?;
    cx.expect_version(before.version)?;
    if before.archived_at.is_some() {
        return Ok(());
    }
    let by = cx.principal.subject().to_string();
    let change = TeamChange {
        name: &before.name,
        labels: before.labels.clone(),
        archived_at: Some(cx.now),
        updated_at: cx.now,
        updated_by: &by,
        version: before.version + 1,
    };
    let team = store::teams::update(conn, cx.org, id, &change).await?;
    audit::write(cx, conn, "team.archived", Some(&before), Some(&team)).await
}

/// Puts a user into a team, or changes the role there.
///
/// # Errors
/// NotFound for the team; Conflict `archived`; Invalid `unknown_reference` at `user_id`.
pub async fn put_member(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::AddTeamMemberRequest,
) -> Result<(TeamMember, User)> {
    let team = TeamId::parse("team_id", &request.team_id)?;
    let user = UserId::parse("user_id", &request.user_id)?;
    // The user before the team, as when a user is archived and leaves its teams.
    let user = new_member(cx, conn, user).await?;
    lock(cx, conn, team).await?;
    let before = store::teams::find_member(conn, cx.org, team, user.id).await?;
    let member = TeamMember {
        org_id: cx.org,
        team_id: team,
        user_id: user.id,
        role: TeamRole::from_wire(request.role).unwrap_or(TeamRole::Member),
        added_at: cx.now,
        added_by: cx.principal.subject().to_string(),
    };
    let after = store::teams::put_member(conn, &member).await?;
    match &before {
        Some(known) if known.role == after.role => {}
        known => {
            let action = if known.is_some() { "team_member.changed" } else { "team_member.added" };
            audit::write(cx, conn, action, known.as_ref(), Some(&after)).await?;
        }
    }
    Ok((after, user))
}

async fn new_member(cx: &Ctx, conn: &mut AsyncPgConnection, id: UserId) -> Result<User> {
    let refused = || Error::field("user_id", "unknown_reference", "is no user of the organization");
    match store::users::get_to_sign(conn, cx.org, id).await {
        Ok(user) if user.archived_at.is_none() => Ok(user),
        Ok(_) => Err(refused()),
        Err(error) if error.kind == platform::error::Kind::NotFound => Err(refused()),
        Err(error) => Err(error),
    }
}

/// A page of members, in the order in which they were added, and the token of the next.
///
/// # Errors
/// NotFound for the team.
pub async fn list_members(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::ListTeamMembersRequest,
) -> Result<(Vec<(TeamMember, User)>, String)> {
    let team = TeamId::parse("team_id", &request.team_id)?;
    store::teams::get(conn, cx.org, team).await?;
    let page = platform::page!(request, "added_at")?;
    let rows = store::teams::list_members(conn, cx.org, team, &page).await?;
    page.finish(rows, |(member, _)| (member.added_at, member.user_id))
}

/// Takes a user out of a team.
///
/// # Errors
/// NotFound for the team, and for a user who is not in it.
pub async fn remove_member(cx: &Ctx, conn: &mut AsyncPgConnection, team: TeamId, user: UserId) -> Result<()> {
    store::teams::get_to_change(conn, cx.org, team).await?;
    let member = store::teams::find_member(conn, cx.org, team, user).await?;
    let member = member.ok_or_else(|| Error::not_found("team member"))?;
    store::teams::delete_member(conn, cx.org, team, user).await?;
    audit::write(cx, conn, "team_member.removed", Some(&member), None).await
}

/// The team under its lock, when it may be changed at all.
async fn lock(cx: &Ctx, conn: &mut AsyncPgConnection, id: TeamId) -> Result<Team> {
    let team = store::teams::get_to_change(conn, cx.org, id).await?;
    if team.archived_at.is_some() {
        return Err(Error::conflict("archived", "an archived team cannot be changed"));
    }
    Ok(team)
}
