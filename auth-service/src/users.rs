//! The people of an organization.

use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use platform::access::AccessTable;
use platform::ctx::{Ctx, Permissions, PrincipalKind, parse_ids};
use platform::error::{Error, Result};
use platform::page::{CONFIG_SORTS, ConfigKey};
use platform::secret::Secret;
use proto::auth::v1 as pb;

use crate::events::Whose;
use crate::roles::{self, Caller, Change, Refusal};
use crate::store::organizations::Organization;
use crate::store::users::{Filter, NewUser, User, UserChange};
use crate::words::{Role, TeamId, UserId, UserStatus};
use crate::{audit, convert, events, passwords, store};

/// Of whoever names none.
pub const DEFAULT_TIME_ZONE: &str = "UTC";

/// A password to be set: the plain one to be compared with the address, the hash to be stored.
pub struct NewPassword {
    pub plain: Secret<String>,
    pub hash: Secret<String>,
}

/// An address as it is stored and looked up.
pub fn fold_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Adds a user.
///
/// # Errors
/// Conflict `already_exists` at `user.email`; Forbidden `owner_required`, `role_exceeds_caller`;
/// Invalid at the field.
pub async fn create(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    access: &AccessTable,
    new: &pb::User,
    password_hash: Option<&Secret<String>>,
) -> Result<User> {
    let role = Role::from_wire(new.role).ok_or_else(|| required("user.role"))?;
    let status = UserStatus::from_wire(new.status).unwrap_or(UserStatus::Active);
    check_words(new)?;
    let after = roles::Standing { role, status, archived: false };
    let change = Change { before: None, after, password: password_hash.is_some() };
    decide(cx, access, change, 0)?;
    let by = cx.principal.subject().to_string();
    let row = NewUser {
        org_id: cx.org,
        id: UserId(cx.id()),
        email: &fold_email(&new.email),
        name: &new.name,
        role,
        password_hash: password_hash.map(|hash| hash.expose().as_str()),
        time_zone: new.time_zone.as_deref().unwrap_or(DEFAULT_TIME_ZONE),
        locale: new.locale.as_deref(),
        status,
        labels: convert::labels(&new.labels)?,
        created_at: cx.now,
        created_by: &by,
        updated_at: cx.now,
        updated_by: &by,
        version: 1,
    };
    let user = store::users::insert(conn, &row).await.map_err(|error| error.under("user"))?;
    audit::write(cx, conn, "user.created", None, Some(&user)).await?;
    events::user_created(cx, conn, &user).await?;
    Ok(user)
}

/// # Errors
/// NotFound.
pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: UserId) -> Result<User> {
    store::users::get(conn, cx.org, id).await
}

/// The caller, when it is a user, and the organization.
pub async fn me(cx: &Ctx, conn: &mut AsyncPgConnection) -> Result<(Organization, Option<User>)> {
    let organization = store::organizations::get(conn, cx.org).await?;
    let user = match cx.principal.kind {
        PrincipalKind::User => Some(get(cx, conn, UserId(cx.principal.id)).await?),
        _ => None,
    };
    Ok((organization, user))
}

/// The owners who can act.
pub async fn owners(cx: &Ctx, conn: &mut AsyncPgConnection) -> Result<Vec<UserId>> {
    store::users::owners(conn, cx.org, None).await
}

/// A page of users and the token of the next.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::ListUsersRequest,
) -> Result<(Vec<User>, String)> {
    let page = platform::page!(request, CONFIG_SORTS, "created_at")?;
    let roles: Vec<Role> = request.role.iter().filter_map(|role| Role::from_wire(*role)).collect();
    let teams: Vec<TeamId> = parse_ids("team_id", &request.team_id)?;
    let filter = Filter { roles: &roles, teams: &teams, archived: request.archived };
    let rows = store::users::list(conn, cx.org, filter, &page).await?;
    page.finish(rows, |user| ConfigKey::of(page.sort, user.created_at, &user.name, user.id.into()))
}

/// Changes the fields that `mask` names.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`; Conflict `archived`, `last_owner`; Forbidden
/// `owner_required`, `role_exceeds_caller`; Invalid at the field.
pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    access: &AccessTable,
    request: &pb::UpdateUserRequest,
    password: Option<&NewPassword>,
) -> Result<User> {
    let id = UserId::parse("id", &request.id)?;
    let before = lock(cx, conn, id).await?;
    let (patch, mask) = (request.user.as_ref(), request.update_mask.as_ref());
    let merged = proto::update("user", &convert::user(&before), patch, mask)?;
    check_words(&merged)?;
    if let Some(password) = password {
        passwords::check_not_email(password.plain.expose(), &before.email, "user.password")?;
    }
    let touches_password = mask.is_some_and(|mask| mask.paths.iter().any(|path| path == "password"));
    let role = Role::from_wire(merged.role).ok_or_else(|| required("user.role"))?;
    let status = UserStatus::from_wire(merged.status).ok_or_else(|| required("user.status"))?;
    let after = roles::Standing { role, status, archived: false };
    let change = Change { before: Some(before.standing()), after, password: touches_password };
    let others = store::users::owners(conn, cx.org, Some(id)).await?.len();
    decide(cx, access, change, others)?;
    if touches_password {
        let hash = password.map(|password| password.hash.expose().as_str());
        store::users::set_password(conn, cx.org, id, hash).await?;
    }
    let by = cx.principal.subject().to_string();
    let row = UserChange {
        name: &merged.name,
        role,
        time_zone: merged.time_zone.as_deref().unwrap_or(DEFAULT_TIME_ZONE),
        locale: merged.locale.as_deref(),
        status,
        labels: convert::labels(&merged.labels)?,
        archived_at: None,
        updated_at: cx.now,
        updated_by: &by,
        version: before.version + 1,
    };
    let user = store::users::update(conn, cx.org, id, &row).await?;
    let action = if touches_password { "user.password_changed" } else { "user.updated" };
    audit::write(cx, conn, action, Some(&before), Some(&user)).await?;
    if user.name != before.name || user.standing() != before.standing() {
        events::user_changed(cx, conn, &user).await?;
    }
    end_access(cx, conn, change, &user).await?;
    Ok(user)
}

/// Archives a user; nothing happens when it was archived before.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`; Conflict `last_owner`; Forbidden `owner_required`.
pub async fn archive(cx: &Ctx, conn: &mut AsyncPgConnection, access: &AccessTable, id: UserId) -> Result<()> {
    store::organizations::lock(conn, cx.org).await?;
    let before = store::users::get_to_change(conn, cx.org, id).await?;
    cx.expect_version(before.version)?;
    if before.archived_at.is_some() {
        return Ok(());
    }
    let after = roles::Standing { archived: true, ..before.standing() };
    let change = Change { before: Some(before.standing()), after, password: false };
    let others = store::users::owners(conn, cx.org, Some(id)).await?.len();
    decide(cx, access, change, others)?;
    let by = cx.principal.subject().to_string();
    let row = UserChange {
        name: &before.name,
        role: before.role,
        time_zone: &before.time_zone,
        locale: before.locale.as_deref(),
        status: before.status,
        labels: before.labels.clone(),
        archived_at: Some(cx.now),
        updated_at: cx.now,
        updated_by: &by,
        version: before.version + 1,
    };
    let user = store::users::update(conn, cx.org, id, &row).await?;
    for membership in store::teams::delete_memberships(conn, cx.org, id).await? {
        audit::write(cx, conn, "team_member.removed", Some(&membership), None).await?;
    }
    audit::write(cx, conn, "user.archived", Some(&before), Some(&user)).await?;
    events::user_changed(cx, conn, &user).await?;
    end_access(cx, conn, change, &user).await
}

/// The user under the locks of a change, when it may be changed at all.
async fn lock(cx: &Ctx, conn: &mut AsyncPgConnection, id: UserId) -> Result<User> {
    store::organizations::lock(conn, cx.org).await?;
    let user = store::users::get_to_change(conn, cx.org, id).await?;
    cx.expect_version(user.version)?;
    if user.archived_at.is_some() {
        return Err(Error::conflict("archived", "an archived user cannot be changed"));
    }
    Ok(user)
}

/// Tokens of the user and of the user's keys, and sessions, end as far as `change` takes rights away.
async fn end_access(cx: &Ctx, conn: &mut AsyncPgConnection, change: Change, user: &User) -> Result<()> {
    let ending = roles::ending(change);
    // After the lock on the user: no token with the old rights is signed later than this.
    let at = store::now(conn).await?;
    if let Some(why) = ending.sessions {
        store::sessions::revoke_of_user(conn, cx.org, user.id, at, why).await?;
    }
    let whose = ending.tokens.then_some(Whose::User(user.id));
    let keys = match ending.keys {
        true => store::api_keys::of_user(conn, cx.org, user.id).await?,
        false => Vec::new(),
    };
    events::revoked(cx, conn, whose.into_iter().chain(keys.into_iter().map(Whose::Key)), at).await
}

fn decide(cx: &Ctx, access: &AccessTable, change: Change, other_owners: usize) -> Result<()> {
    let caller = Caller {
        role: cx.principal.role.as_deref().and_then(Role::parse),
        permissions: cx.principal.permissions.clone(),
    };
    let permissions = |role: Role| -> Permissions { access.role(role.as_str()) };
    roles::check(&caller, change, other_owners, permissions).map_err(|refusal| match refusal {
        Refusal::OwnerRequired => Error::forbidden("owner_required", "only an owner may do this to an owner"),
        Refusal::RoleExceedsCaller => {
            Error::forbidden("role_exceeds_caller", "the role may do more than the caller")
        }
        Refusal::LastOwner => Error::conflict("last_owner", "an organization keeps an owner"),
    })
}

/// What no rule of the contract says: the zone exists, the locale looks like one.
fn check_words(user: &pb::User) -> Result<()> {
    let zone = user.time_zone.as_deref().unwrap_or(DEFAULT_TIME_ZONE);
    if zone.parse::<Tz>().is_err() {
        return Err(Error::field("user.time_zone", "unknown_time_zone", "must be an IANA time zone"));
    }
    if user.locale.as_deref().is_some_and(|locale| !is_language_tag(locale)) {
        return Err(Error::field("user.locale", "locale", "must be a BCP 47 language tag"));
    }
    Ok(())
}

/// The shape of RFC 5646: subtags of up to 8 letters and digits, the first of letters only.
fn is_language_tag(text: &str) -> bool {
    let subtag =
        |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let language = text.split('-').next().unwrap_or_default();
    language.bytes().all(|b| b.is_ascii_alphabetic()) && text.split('-').all(subtag)
}

fn required(field: &str) -> Error {
    Error::field(field, "required", "is required")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folded() {
        assert_eq!(fold_email(" Ann@Example.COM "), "ann@example.com");
    }

    #[test]
    fn language_tags_have_a_shape() {
        for good in ["de", "en-GB", "zh-Hant-TW", "sl-rozaj-biske"] {
            assert!(is_language_tag(good), "{good}");
        }
        for bad in ["", "12", "en_GB", "en-", "abcdefghi", "e n"] {
            assert!(!is_language_tag(bad), "{bad}");
        }
    }
}
