//! Signing in and out. An access token is a JWT of 15 min that every door verifies by itself; a
//! refresh token is an opaque secret of 30 days that works once and is kept as a hash only.
//!
//! Tokens are signed inside the transaction, under a lock on their user: whoever takes rights away
//! waits for it, so no token with old rights is younger than the revocation.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, OrgId, Principal, PrincipalKind};
use platform::error::{Error, Result};
use platform::secret::{Secret, random_key, sha256};
use platform::token::{Claims, Signer};

use crate::audit;
use crate::events::{self, Whose};
use crate::refresh::{Decision, Presented, decide};
use crate::store;
use crate::store::organizations::Organization;
use crate::store::sessions::{NewRefreshToken, RefreshToken, Session};
use crate::store::users::User;
use crate::words::{SessionEnd, SessionId, UserId};

/// How long an access token lasts.
pub const ACCESS_TTL: Duration = Duration::from_secs(900);
/// How long a refresh token, and with it an unused session, lasts.
const REFRESH_TTL: TimeDelta = TimeDelta::days(30);
const REFRESH_PREFIX: &str = "por_";

/// Somebody is signed in.
pub struct Signed {
    pub user: User,
    pub organization: Organization,
    pub access_token: Secret<String>,
    pub refresh_token: Secret<String>,
}

/// The context of `user` acting in their organization, for the rest of a call that began without a
/// token.
pub fn as_user(cx: &Ctx, user: &User) -> Ctx {
    let principal = principal(user, None);
    Ctx { principal: Arc::new(principal), org: user.org_id, token: None, ..cx.clone() }
}

fn principal(user: &User, session: Option<SessionId>) -> Principal {
    let mut principal = Principal::bare(PrincipalKind::User, user.id.into(), user.name.clone());
    principal.role = Some(user.role.as_str().to_owned());
    principal.session = session.map(Into::into);
    principal
}

/// Signs in a user whose password is that of `hash`.
///
/// # Errors
/// Forbidden `user_disabled`; Unauthenticated `invalid_credentials` when the account has ended or has
/// another password meanwhile.
pub async fn login(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    signer: &Signer,
    user: UserId,
    hash: &Secret<String>,
) -> Result<Signed> {
    let user = store::users::find_to_sign_in(conn, cx.org, user, hash.expose()).await?;
    let user = user.filter(|user| user.archived_at.is_none()).ok_or_else(invalid_credentials)?;
    if !user.is_active() {
        return Err(Error::forbidden("user_disabled", "this account is disabled"));
    }
    open(&as_user(cx, &user), conn, signer, user).await
}

/// What a wrong password and an unknown address are told alike.
pub fn invalid_credentials() -> Error {
    Error::unauthenticated("invalid_credentials", "email or password is wrong")
}

/// Opens a session of `user`, who is locked or new, and signs its first pair of tokens.
pub async fn open(cx: &Ctx, conn: &mut AsyncPgConnection, signer: &Signer, user: User) -> Result<Signed> {
    let session = Session {
        org_id: user.org_id,
        id: SessionId(cx.id()),
        user_id: user.id,
        created_at: cx.now,
        last_used_at: cx.now,
        expires_at: cx.now + REFRESH_TTL,
        revoked_at: None,
        revoked_reason: None,
        version: 1,
    };
    store::sessions::insert(conn, &session).await?;
    audit::write(cx, conn, "session.created", None, Some(&session)).await?;
    sign(cx, conn, signer, user, session.id).await
}

async fn sign(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    signer: &Signer,
    user: User,
    session: SessionId,
) -> Result<Signed> {
    let refresh_token = random_key(&cx.source, REFRESH_PREFIX);
    let token = NewRefreshToken {
        org_id: user.org_id,
        id: cx.id(),
        session_id: session,
        hash: &sha256(refresh_token.expose().as_bytes()),
        created_at: cx.now,
        expires_at: cx.now + REFRESH_TTL,
    };
    store::sessions::insert_token(conn, &token).await?;
    let organization = store::organizations::get(conn, user.org_id).await?;
    let principal = principal(&user, Some(session));
    let now = store::now(conn).await?;
    let claims = Claims::new_at(&principal, user.org_id, ACCESS_TTL, now, &cx.source);
    let access_token = Secret::new(signer.sign(&claims)?);
    Ok(Signed { user, organization, access_token, refresh_token })
}

/// Exchanges a refresh token of `session` in `cx.org`. The inner result is the answer: a refusal
/// commits as well, because the reuse of a token ends its session.
///
/// # Errors
/// Inner: Unauthenticated `refresh_token_reused`, `expired_refresh_token`, `session_ended` or
/// `invalid_refresh_token`.
pub async fn refresh(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    signer: &Signer,
    session: SessionId,
    hash: &[u8],
) -> Result<Result<Signed>> {
    // The user before the session, as everywhere, so that nobody waits in a circle.
    let Some(known) = store::sessions::find(conn, cx.org, session).await? else {
        return Ok(Err(invalid_refresh_token()));
    };
    let user = store::users::get_to_sign(conn, cx.org, known.user_id).await?;
    let session = store::sessions::find_to_change(conn, cx.org, session).await?;
    let token = store::sessions::find_token(conn, cx.org, hash).await?;
    let (Some(session), Some(token)) = (session, token) else {
        return Ok(Err(invalid_refresh_token()));
    };
    let presented = Presented {
        spent: token.spent,
        expired: token.expired,
        session_ended: session.revoked_at.is_some(),
        user_active: user.is_active(),
    };
    match decide(presented) {
        Decision::Rotate => rotate(cx, conn, signer, user, &session, token).await.map(Ok),
        Decision::Reused => {
            metrics::counter!("pulseops_auth_refresh_tokens_reused_total").increment(1);
            tracing::warn!(session.id = %session.id, user.id = %user.id, "a refresh token was used twice");
            end(cx, conn, session.id, SessionEnd::Reuse).await?;
            Ok(Err(reused()))
        }
        Decision::ReusedAfterEnd => Ok(Err(reused())),
        Decision::Expired => {
            let detail = "the refresh token has expired";
            Ok(Err(Error::unauthenticated("expired_refresh_token", detail)))
        }
        Decision::Ended => Ok(Err(Error::unauthenticated("session_ended", "the session has ended"))),
    }
}

async fn rotate(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    signer: &Signer,
    user: User,
    session: &Session,
    token: RefreshToken,
) -> Result<Signed> {
    store::sessions::spend_token(conn, cx.org, token.id, cx.now).await?;
    store::sessions::touch(conn, cx.org, session.id, cx.now, cx.now + REFRESH_TTL).await?;
    sign(cx, conn, signer, user, session.id).await
}

/// What a token is told that nobody issued, or that was removed long after its end.
pub fn invalid_refresh_token() -> Error {
    Error::unauthenticated("invalid_refresh_token", "the refresh token is not valid")
}

fn reused() -> Error {
    Error::unauthenticated("refresh_token_reused", "the refresh token was used before; the session has ended")
}

/// Ends the session of the caller's token.
///
/// # Errors
/// Conflict `no_session` for a key.
pub async fn logout(cx: &Ctx, conn: &mut AsyncPgConnection) -> Result<()> {
    let Some(session) = cx.principal.session else {
        return Err(Error::conflict("no_session", "a key has no session; revoke it instead"));
    };
    end(cx, conn, SessionId(session), SessionEnd::Logout).await
}

/// Ends a session and refuses its tokens everywhere; nothing happens when it has ended before.
async fn end(cx: &Ctx, conn: &mut AsyncPgConnection, session: SessionId, why: SessionEnd) -> Result<()> {
    let before = store::sessions::find_to_change(conn, cx.org, session).await?;
    // After the lock: no token of this session is signed later than this.
    let at = store::now(conn).await?;
    if let Some(ended) = store::sessions::revoke(conn, cx.org, session, at, why).await? {
        audit::write(cx, conn, "session.revoked", before.as_ref(), Some(&ended)).await?;
        events::revoked(cx, conn, [Whose::Session(session)], at).await?;
    }
    Ok(())
}

/// The context of a call that knows its organization but not yet its user. A token that happened to
/// come along speaks for somebody else.
pub fn in_org(cx: &Ctx, org: OrgId) -> Ctx {
    let principal = Arc::new(Principal::anonymous());
    Ctx { principal, org, token: None, ..cx.clone() }
}
