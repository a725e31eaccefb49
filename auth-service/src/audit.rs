//! One row for every change of who may do what, in the transaction that makes it. Rotating a refresh
//! token changes nothing of that and leaves no row.

use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::{Error, Result};
use proto::json::to_json;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::convert;
use crate::store;
use crate::store::api_keys::ApiKey;
use crate::store::audit::NewEntry;
use crate::store::organizations::Organization;
use crate::store::sessions::Session;
use crate::store::teams::{Team, TeamMember};
use crate::store::users::User;

/// A resource as audit rows keep it: the way the API shows it, which is without secrets.
pub trait Audited {
    const KIND: &'static str;
    fn subject(&self) -> Uuid;
    fn shown(&self) -> Result<Json>;
}

/// Writes `action` on the resource: `after` alone for a new one, both for a changed one, `before`
/// alone for a removed one.
pub async fn write<R: Audited>(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    action: &'static str,
    before: Option<&R>,
    after: Option<&R>,
) -> Result<()> {
    let subject = after.or(before).map(R::subject);
    let subject = subject.ok_or_else(|| Error::internal("an audit row without a subject"))?;
    let (before, after) = (before.map(R::shown).transpose()?, after.map(R::shown).transpose()?);
    let actor = cx.actor();
    let entry = NewEntry {
        org_id: cx.org,
        id: cx.id(),
        at: cx.now,
        actor_kind: actor.kind.as_str().to_owned(),
        actor_id: actor.id,
        actor_name: actor.name,
        action: action.to_owned(),
        subject_kind: R::KIND.to_owned(),
        subject_id: subject,
        before,
        after,
        request_id: cx.request_id.into(),
    };
    store::audit::insert(conn, &entry).await
}

impl Audited for Organization {
    const KIND: &'static str = "organization";

    fn subject(&self) -> Uuid {
        self.org_id.into()
    }

    fn shown(&self) -> Result<Json> {
        to_json(&convert::organization(self)).map_err(Error::internal)
    }
}

impl Audited for User {
    const KIND: &'static str = "user";

    fn subject(&self) -> Uuid {
        self.id.into()
    }

    fn shown(&self) -> Result<Json> {
        to_json(&convert::user(self)).map_err(Error::internal)
    }
}

impl Audited for Team {
    const KIND: &'static str = "team";

    fn subject(&self) -> Uuid {
        self.id.into()
    }

    fn shown(&self) -> Result<Json> {
        to_json(&convert::team(self)).map_err(Error::internal)
    }
}

impl Audited for TeamMember {
    const KIND: &'static str = "team_member";

    fn subject(&self) -> Uuid {
        self.team_id.into()
    }

    fn shown(&self) -> Result<Json> {
        Ok(serde_json::json!({
            "team_id": self.team_id,
            "user_id": self.user_id,
            "role": self.role.as_str(),
        }))
    }
}

impl Audited for Session {
    const KIND: &'static str = "session";

    fn subject(&self) -> Uuid {
        self.id.into()
    }

    fn shown(&self) -> Result<Json> {
        Ok(serde_json::json!({
            "user_id": self.user_id,
            "created_at": self.created_at,
            "revoked_at": self.revoked_at,
            "revoked_reason": self.revoked_reason.map(crate::words::SessionEnd::as_str),
        }))
    }
}

impl Audited for ApiKey {
    const KIND: &'static str = "api_key";

    fn subject(&self) -> Uuid {
        self.id.into()
    }

    fn shown(&self) -> Result<Json> {
        to_json(&convert::api_key(self)).map_err(Error::internal)
    }
}
