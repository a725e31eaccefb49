//! Keys of programs. An API key acts with scopes for a user, and never with more than the user may do
//! at that time; an integration key sends the events of one service and belongs to nobody. A key is
//! shown once; what is kept is its hash.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::access::AccessTable;
use platform::ctx::{Ctx, Permissions, Principal, PrincipalKind};
use platform::error::{Error, Result};
use platform::page::Page;
use platform::secret::{Secret, random_key, sha256};
use platform::token::{API_KEY_PREFIX, Claims, INTEGRATION_KEY_PREFIX, Signer};
use proto::auth::v1 as pb;
use proto::time::from_timestamp;
use uuid::Uuid;

use crate::events::Whose;
use crate::store::api_keys::{ApiKey, NewApiKey, Which};
use crate::words::{KeyId, KeyKind, UserId};
use crate::{audit, events, store};

/// The one code that says of a key that it is not good.
pub const INVALID_KEY: &str = "invalid_key";

/// All that an integration key may do.
const INTEGRATION_SCOPE: &str = "events_write";
/// Every API key may ask who it is.
const PROFILE: &str = "profile";
/// How long the token of a key lasts.
const TOKEN_TTL: TimeDelta = TimeDelta::seconds(60);
/// `last_used_at` moves no more often.
const TOUCH_AFTER: TimeDelta = TimeDelta::minutes(1);
/// Random bytes, in hex, of the part of a key that is shown forever.
const SHOWN_BYTES: usize = 4;

/// A key that was just made.
pub struct Made {
    pub key: Secret<String>,
    pub row: ApiKey,
}

/// The exchange of a key.
pub struct Token {
    pub token: Secret<String>,
    pub expires_at: DateTime<Utc>,
}

/// Makes an API key.
///
/// # Errors
/// Invalid `unknown_scope`, `required` or `out_of_range` at the field; Forbidden
/// `scope_exceeds_creator`.
pub async fn create(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    access: &AccessTable,
    new: &pb::ApiKey,
) -> Result<Made> {
    let expires_at = expiry(cx, new)?;
    let scopes = check_scopes(&new.scopes, access.permissions(), &cx.principal.permissions)?;
    let user = user_behind(cx, conn).await?;
    insert(cx, conn, Holder::User(user), &new.name, &scopes, expires_at).await
}

/// The user for whom the caller acts: itself, or the user of the key that it is.
async fn user_behind(cx: &Ctx, conn: &mut AsyncPgConnection) -> Result<UserId> {
    let id = cx.principal.id;
    let user = match cx.principal.kind {
        PrincipalKind::User => Some(UserId(id)),
        PrincipalKind::ApiKey => {
            let key = store::api_keys::find(conn, cx.org, KeyId(id)).await?;
            key.and_then(|key| key.user_id)
        }
        _ => None,
    };
    user.ok_or_else(|| Error::forbidden("user_required", "an API key is of a user"))
}

/// An integration key may do what its maker may.
///
/// # Errors
/// Forbidden `scope_exceeds_creator`.
pub fn check_may_send(cx: &Ctx) -> Result<()> {
    cx.require(INTEGRATION_SCOPE).map_err(|_| exceeds(INTEGRATION_SCOPE))
}

fn exceeds(scope: &str) -> Error {
    Error::forbidden("scope_exceeds_creator", format!("the creator does not hold {scope}"))
}

/// Makes an integration key of `service`, which was found to exist, for a caller who may send events.
pub async fn create_integration(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    service: Uuid,
    name: &str,
) -> Result<Made> {
    let scopes = [INTEGRATION_SCOPE.to_owned()];
    insert(cx, conn, Holder::Service(service), name, &scopes, None).await
}

fn expiry(cx: &Ctx, new: &pb::ApiKey) -> Result<Option<DateTime<Utc>>> {
    let field = "api_key.expires_at";
    let Some(timestamp) = &new.expires_at else { return Ok(None) };
    match from_timestamp(timestamp) {
        Some(at) if at > cx.now => Ok(Some(at)),
        Some(_) => Err(Error::field(field, "out_of_range", "must be in the future")),
        None => Err(Error::field(field, "out_of_range", "is not a time")),
    }
}

/// The scopes, sorted: each is known, and none is more than the creator holds.
fn check_scopes(asked: &[String], known: &Permissions, held: &Permissions) -> Result<Vec<String>> {
    if asked.is_empty() {
        return Err(Error::field("api_key.scopes", "required", "a key needs at least one scope"));
    }
    if let Some(at) = asked.iter().position(|scope| !known.contains(scope)) {
        let field = format!("api_key.scopes[{at}]");
        return Err(Error::field(field, "unknown_scope", "is not the name of a permission"));
    }
    if let Some(more) = asked.iter().find(|scope| !held.contains(scope)) {
        return Err(exceeds(more));
    }
    let mut scopes = asked.to_vec();
    scopes.sort_unstable();
    Ok(scopes)
}

/// Whose key it is, which makes it the one kind or the other.
#[derive(Clone, Copy)]
enum Holder {
    User(UserId),
    Service(Uuid),
}

async fn insert(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    holder: Holder,
    name: &str,
    scopes: &[String],
    expires_at: Option<DateTime<Utc>>,
) -> Result<Made> {
    let mut shown = [0; SHOWN_BYTES];
    cx.source.fill(&mut shown);
    let (kind, family, user_id, service_id) = match holder {
        Holder::User(user) => (KeyKind::Api, API_KEY_PREFIX, Some(user), None),
        Holder::Service(service) => (KeyKind::Integration, INTEGRATION_KEY_PREFIX, None, Some(service)),
    };
    let prefix = format!("{family}{}", hex::encode(shown));
    let key = random_key(&cx.source, &format!("{prefix}_"));
    let by = cx.principal.subject().to_string();
    let row = NewApiKey {
        org_id: cx.org,
        id: KeyId(cx.id()),
        kind,
        name,
        prefix: &prefix,
        hash: &sha256(key.expose().as_bytes()),
        scopes,
        user_id,
        service_id,
        expires_at,
        created_at: cx.now,
        created_by: &by,
        updated_at: cx.now,
        updated_by: &by,
        version: 1,
    };
    let row = store::api_keys::insert(conn, &row).await?;
    audit::write(cx, conn, "api_key.created", None, Some(&row)).await?;
    Ok(Made { key, row })
}

/// # Errors
/// NotFound.
pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: KeyId) -> Result<ApiKey> {
    let found = store::api_keys::find(conn, cx.org, id).await?;
    found.ok_or_else(|| Error::not_found("key"))
}

/// A page of keys, in the order in which they were made, and the token of the next.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    which: Which,
    page: &Page<(DateTime<Utc>, KeyId)>,
) -> Result<(Vec<ApiKey>, String)> {
    let rows = store::api_keys::list(conn, cx.org, which, page).await?;
    page.finish(rows, |key| (key.created_at, key.id))
}

/// Revokes an API key, or the integration key of `service`; nothing happens when it was revoked
/// before.
///
/// # Errors
/// NotFound, also for a key of the other kind or of another service.
pub async fn revoke(cx: &Ctx, conn: &mut AsyncPgConnection, id: KeyId, service: Option<Uuid>) -> Result<()> {
    let before = store::api_keys::get_to_change(conn, cx.org, id).await?;
    if before.service_id != service {
        return Err(Error::not_found("key"));
    }
    if before.revoked_at.is_some() {
        return Ok(());
    }
    // After the lock: no token of this key is signed later than this.
    let at = store::now(conn).await?;
    let by = cx.principal.subject().to_string();
    let after = store::api_keys::revoke(conn, &before, at, &by).await?;
    audit::write(cx, conn, "api_key.revoked", Some(&before), Some(&after)).await?;
    events::revoked(cx, conn, [Whose::Key(id)], at).await
}

/// Exchanges a key for a token of 60 s, or less when the key ends before. In a system transaction,
/// because a key does not say its organization.
///
/// # Errors
/// Unauthenticated `invalid_key`: unknown, revoked and expired look the same, and a key whose user is
/// disabled or archived.
pub async fn exchange(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    access: &AccessTable,
    signer: &Signer,
    key: &str,
) -> Result<Token> {
    let used_before = cx.now - TOUCH_AFTER;
    let hash = sha256(key.as_bytes());
    let found = store::api_keys::find_good(conn, &hash, used_before).await?;
    let (key, stale) = found.ok_or_else(invalid_key)?;
    let principal = principal(conn, access, &key).await?;
    if stale {
        store::api_keys::touch(conn, &key, cx.now, used_before).await?;
    }
    let now = store::now(conn).await?;
    let left = key.expires_at.map_or(TOKEN_TTL, |at| (at - now).min(TOKEN_TTL));
    let ttl = left.to_std().unwrap_or_default();
    let claims = Claims::new_at(&principal, key.org_id, ttl, now, &cx.source);
    let token = Secret::new(signer.sign(&claims)?);
    Ok(Token { token, expires_at: claims.expires_at() })
}

/// What is said of every key that is not good.
pub fn invalid_key() -> Error {
    Error::unauthenticated(INVALID_KEY, "the key is not valid")
}

/// Who the key is at this time. Whoever changes the rights of its user waits until the transaction
/// ends.
async fn principal(conn: &mut AsyncPgConnection, access: &AccessTable, key: &ApiKey) -> Result<Principal> {
    let scopes = key.scopes.iter().map(String::as_str);
    let (kind, permissions) = match key.user_id {
        Some(user) => {
            let user = store::users::get_to_sign(conn, key.org_id, user).await?;
            if !user.is_active() {
                return Err(invalid_key());
            }
            let scopes: Permissions = scopes.chain([PROFILE]).collect();
            (PrincipalKind::ApiKey, scopes.intersection(&access.role(user.role.as_str())))
        }
        None => (PrincipalKind::IntegrationKey, scopes.collect()),
    };
    let mut principal = Principal::bare(kind, key.id.into(), key.name.clone());
    principal.permissions = permissions;
    principal.bound_service = key.service_id;
    Ok(principal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Permissions {
        names.iter().copied().collect()
    }

    #[test]
    fn scopes_are_known_and_not_more_than_the_creators() {
        let (known, held) = (set(&["a", "b", "c"]), set(&["a", "b"]));
        let check = |names: &[&str]| {
            let asked: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            check_scopes(&asked, &known, &held)
                .map_err(|error| (error.code, error.fields.first().map(|f| f.field.clone())))
        };
        assert_eq!(check(&["b", "a"]), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(check(&["a", "c"]), Err(("scope_exceeds_creator", None)));
        let unknown = Some("api_key.scopes[1]".to_owned());
        assert_eq!(check(&["a", "public"]), Err(("unknown_scope", unknown)));
        assert_eq!(check(&[]), Err(("required", Some("api_key.scopes".to_owned()))));
    }
}
