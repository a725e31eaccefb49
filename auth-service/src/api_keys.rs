//! Keys of programs. An API key acts with scopes, an integration key sends the events of one
//! service. A key is shown once; what is kept is its hash.

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

use crate::store::api_keys::{ApiKey, NewApiKey, Which};
use crate::words::{KeyId, KeyKind};
use crate::{audit, events, store};

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
    insert(cx, conn, KeyKind::Api, &new.name, &scopes, None, expires_at).await
}

/// Makes an integration key of `service`, which was found to exist.
pub async fn create_integration(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    service: Uuid,
    name: &str,
) -> Result<Made> {
    let scopes = [INTEGRATION_SCOPE.to_owned()];
    insert(cx, conn, KeyKind::Integration, name, &scopes, Some(service), None).await
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
        let detail = format!("the creator does not hold {more}");
        return Err(Error::forbidden("scope_exceeds_creator", detail));
    }
    let mut scopes = asked.to_vec();
    scopes.sort_unstable();
    Ok(scopes)
}

async fn insert(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    kind: KeyKind,
    name: &str,
    scopes: &[String],
    service: Option<Uuid>,
    expires_at: Option<DateTime<Utc>>,
) -> Result<Made> {
    let mut shown = [0; SHOWN_BYTES];
    cx.source.fill(&mut shown);
    let family = match kind {
        KeyKind::Api => API_KEY_PREFIX,
        KeyKind::Integration => INTEGRATION_KEY_PREFIX,
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
        service_id: service,
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
    let at = cx.source.now();
    let by = cx.principal.subject().to_string();
    let after = store::api_keys::revoke(conn, &before, at, &by).await?;
    audit::write(cx, conn, "api_key.revoked", Some(&before), Some(&after)).await?;
    events::key_revoked(cx, conn, id, after.version, at).await
}

/// Exchanges a key for a token of 60 s, or less when the key ends before. In a system transaction,
/// because a key does not say its organization.
///
/// # Errors
/// Unauthenticated `invalid_key`: unknown, revoked and expired look the same.
pub async fn exchange(cx: &Ctx, conn: &mut AsyncPgConnection, signer: &Signer, key: &str) -> Result<Token> {
    let used_before = cx.now - TOUCH_AFTER;
    let hash = sha256(key.as_bytes());
    let found = store::api_keys::find_good(conn, &hash, used_before).await?;
    let Some((key, stale)) = found else {
        return Err(Error::unauthenticated("invalid_key", "the key is not valid"));
    };
    if stale {
        store::api_keys::touch(conn, &key, cx.now, used_before).await?;
    }
    let now = cx.source.now();
    let left = key.expires_at.map_or(TOKEN_TTL, |at| (at - now).min(TOKEN_TTL));
    let ttl = left.to_std().unwrap_or_default();
    let claims = Claims::new(&principal(&key), key.org_id, ttl, &cx.source);
    let token = Secret::new(signer.sign(&claims)?);
    Ok(Token { token, expires_at: claims.expires_at() })
}

fn principal(key: &ApiKey) -> Principal {
    let scopes = key.scopes.iter().map(String::as_str);
    let (kind, permissions) = match key.kind {
        KeyKind::Api => (PrincipalKind::ApiKey, scopes.chain([PROFILE]).collect()),
        KeyKind::Integration => (PrincipalKind::IntegrationKey, scopes.collect()),
    };
    let mut principal = Principal::bare(kind, key.id.into(), key.name.clone());
    principal.permissions = permissions;
    principal.bound_service = key.service_id;
    principal
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
