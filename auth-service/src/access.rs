//! What the other services ask about people.

use std::collections::HashMap;

use diesel_async::AsyncPgConnection;
use platform::access::AccessTable;
use platform::ctx::Ctx;
use platform::error::{Error, Result};
use proto::auth::v1 as pb;
use proto::time::from_timestamp;

use crate::store::{self, users::User};
use crate::words::{Role, SessionId, UserId};

/// Whether each of the users holds the permission, in the order asked for.
///
/// # Errors
/// Invalid `unknown_permission`.
pub async fn check_permission(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    access: &AccessTable,
    request: &pb::CheckPermissionRequest,
) -> Result<Vec<pb::PermissionCheck>> {
    if !access.permissions().contains(&request.permission) {
        let detail = "is not the name of a permission";
        return Err(Error::field("permission", "unknown_permission", detail));
    }
    let ids = request.user_ids.iter().map(|id| UserId::parse("user_ids", id));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    let users = store::users::find_many(conn, cx.org, &ids).await?;
    let users: HashMap<UserId, User> = users.into_iter().map(|user| (user.id, user)).collect();
    let check = |id: &UserId| {
        let active = users.get(id).filter(|user| user.is_active());
        let allowed =
            active.is_some_and(|user| access.role(user.role.as_str()).contains(&request.permission));
        pb::PermissionCheck {
            user_id: id.to_string(),
            allowed,
            found: active.is_some(),
            name: active.map(|user| user.name.clone()).unwrap_or_default(),
        }
    };
    Ok(ids.iter().map(check).collect())
}

/// Whether an access token with these claims would still be signed.
pub async fn confirm(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::ConfirmTokenRequest,
) -> Result<bool> {
    let user = UserId::parse("user_id", &request.user_id)?;
    let session = SessionId::parse("session_id", &request.session_id)?;
    let user = store::users::find_many(conn, cx.org, &[user]).await?.pop();
    let session = store::sessions::find(conn, cx.org, session).await?;
    let (Some(user), Some(session)) = (user, session) else { return Ok(false) };
    let same_role = Role::from_wire(request.role) == Some(user.role);
    let open = session.revoked_at.is_none() && session.user_id == user.id;
    let begun = request.issued_at.as_ref().and_then(from_timestamp);
    let plausible = begun.is_none_or(|at| at.timestamp() >= session.created_at.timestamp());
    Ok(user.is_active() && same_role && open && plausible)
}
