//! A new organization with its first user, who is its owner.

use std::sync::Arc;

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, OrgId, Principal, PrincipalKind};
use platform::error::{Error, Result};
use platform::secret::Secret;
use platform::token::Signer;
use serde_json::json;

use crate::sessions::{self, Signed};
use crate::store::organizations::Organization;
use crate::store::users::NewUser;
use crate::users::DEFAULT_TIME_ZONE;
use crate::words::{Role, UserId, UserStatus};
use crate::{audit, events, slug, store};

/// Numbers tried behind a slug that is taken, before a random one.
const NUMBERED: u32 = 5;

/// Who registers what.
pub struct Registration {
    /// Folded.
    pub email: String,
    pub name: String,
    pub organization: String,
    pub password_hash: Secret<String>,
}

/// The context of the user who is about to exist, in the organization that is.
pub fn context(cx: &Ctx, name: &str) -> Ctx {
    let mut principal = Principal::bare(PrincipalKind::User, cx.id(), name);
    principal.role = Some(Role::Owner.as_str().to_owned());
    Ctx { principal: Arc::new(principal), org: OrgId(cx.id()), token: None, ..cx.clone() }
}

/// Makes both and signs the user in; `cx` is of [`context`].
///
/// # Errors
/// Conflict `already_exists` at `email`.
pub async fn register(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    signer: &Signer,
    new: &Registration,
) -> Result<Signed> {
    let organization = insert_organization(cx, conn, &new.organization).await?;
    let by = cx.principal.subject().to_string();
    let user = NewUser {
        org_id: cx.org,
        id: UserId(cx.principal.id),
        email: &new.email,
        name: &new.name,
        role: Role::Owner,
        password_hash: Some(new.password_hash.expose()),
        time_zone: DEFAULT_TIME_ZONE,
        locale: None,
        status: UserStatus::Active,
        labels: json!({}),
        created_at: cx.now,
        created_by: &by,
        updated_at: cx.now,
        updated_by: &by,
        version: 1,
    };
    let user = store::users::insert(conn, &user).await?;
    audit::write(cx, conn, "organization.created", None, Some(&organization)).await?;
    audit::write(cx, conn, "user.registered", None, Some(&user)).await?;
    events::user_registered(cx, conn, &user).await?;
    sessions::open(cx, conn, signer, user).await
}

async fn insert_organization(cx: &Ctx, conn: &mut AsyncPgConnection, name: &str) -> Result<Organization> {
    let by = cx.principal.subject().to_string();
    let mut organization = Organization {
        org_id: cx.org,
        slug: String::new(),
        name: name.to_owned(),
        time_zone: DEFAULT_TIME_ZONE.to_owned(),
        labels: json!({}),
        created_at: cx.now,
        created_by: by.clone(),
        updated_at: cx.now,
        updated_by: by,
        archived_at: None,
        version: 1,
    };
    for slug in slugs(cx, name) {
        organization.slug = slug;
        if store::organizations::insert(conn, &organization).await? {
            return Ok(organization);
        }
    }
    Err(Error::conflict("slug_taken", "no slug is free for this name; try another name"))
}

/// `acme`, `acme-2` … `acme-5`, `acme-<8 random digits>`.
fn slugs(cx: &Ctx, name: &str) -> impl Iterator<Item = String> {
    let base = slug::of_name(name);
    let mut random = [0; 4];
    cx.source.fill(&mut random);
    let suffixes = (2..=NUMBERED).map(|n| n.to_string()).chain([hex::encode(random)]);
    let suffixed: Vec<String> = suffixes.map(|suffix| slug::with_suffix(&base, &suffix)).collect();
    [base].into_iter().chain(suffixed)
}
