//! Row <-> proto and nothing else.

use std::collections::BTreeMap;

use platform::error::{Error, Result};
use platform::token::PublicKey;
use proto::api::v1::Role as ProtoRole;
use proto::auth::v1 as pb;
use proto::time::to_timestamp;
use serde_json::Value as Json;

use crate::sessions::{ACCESS_TTL, Signed};
use crate::store::api_keys::ApiKey;
use crate::store::organizations::Organization;
use crate::store::teams::{Team, TeamMember};
use crate::store::users::User;
use crate::words::{KeyKind, Role, TeamRole, UserStatus};

pub fn role_to_proto(role: Role) -> ProtoRole {
    match role {
        Role::Owner => ProtoRole::Owner,
        Role::Admin => ProtoRole::Admin,
        Role::Responder => ProtoRole::Responder,
        Role::Viewer => ProtoRole::Viewer,
    }
}

/// `None` for an unset or unknown one.
pub fn role(number: i32) -> Option<Role> {
    match ProtoRole::try_from(number).ok()? {
        ProtoRole::Unspecified => None,
        ProtoRole::Owner => Some(Role::Owner),
        ProtoRole::Admin => Some(Role::Admin),
        ProtoRole::Responder => Some(Role::Responder),
        ProtoRole::Viewer => Some(Role::Viewer),
    }
}

fn status_to_proto(status: UserStatus) -> pb::UserStatus {
    match status {
        UserStatus::Active => pb::UserStatus::Active,
        UserStatus::Disabled => pb::UserStatus::Disabled,
    }
}

/// `None` for an unset or unknown one.
pub fn status(number: i32) -> Option<UserStatus> {
    match pb::UserStatus::try_from(number).ok()? {
        pb::UserStatus::Unspecified => None,
        pb::UserStatus::Active => Some(UserStatus::Active),
        pb::UserStatus::Disabled => Some(UserStatus::Disabled),
    }
}

/// A member when nothing is said.
pub fn team_role(number: i32) -> TeamRole {
    match pb::TeamRole::try_from(number) {
        Ok(pb::TeamRole::Manager) => TeamRole::Manager,
        _ => TeamRole::Member,
    }
}

pub fn labels(labels: &BTreeMap<String, String>) -> Result<Json> {
    serde_json::to_value(labels).map_err(Error::internal)
}

/// Only [`labels`] writes the column.
fn labels_to_proto(labels: &Json) -> BTreeMap<String, String> {
    serde_json::from_value(labels.clone()).unwrap_or_default()
}

pub fn organization(row: &Organization) -> pb::Organization {
    pb::Organization {
        id: row.org_id.to_string(),
        slug: row.slug.clone(),
        name: row.name.clone(),
        time_zone: row.time_zone.clone(),
        created_at: Some(to_timestamp(row.created_at)),
        version: row.version,
    }
}

pub fn user(row: &User) -> pb::User {
    pb::User {
        id: row.id.to_string(),
        email: row.email.clone(),
        name: row.name.clone(),
        role: role_to_proto(row.role).into(),
        password: None,
        time_zone: Some(row.time_zone.clone()),
        locale: row.locale.clone(),
        status: status_to_proto(row.status).into(),
        labels: labels_to_proto(&row.labels),
        created_at: Some(to_timestamp(row.created_at)),
        updated_at: Some(to_timestamp(row.updated_at)),
        archived_at: row.archived_at.map(to_timestamp),
        version: row.version,
    }
}

pub fn team(row: &Team) -> pb::Team {
    pb::Team {
        id: row.id.to_string(),
        slug: row.slug.clone(),
        name: row.name.clone(),
        labels: labels_to_proto(&row.labels),
        created_at: Some(to_timestamp(row.created_at)),
        updated_at: Some(to_timestamp(row.updated_at)),
        archived_at: row.archived_at.map(to_timestamp),
        version: row.version,
    }
}

pub fn team_member(row: &TeamMember, user: &User) -> pb::TeamMember {
    let role = match row.role {
        TeamRole::Manager => pb::TeamRole::Manager,
        TeamRole::Member => pb::TeamRole::Member,
    };
    pb::TeamMember {
        team_id: row.team_id.to_string(),
        user_id: row.user_id.to_string(),
        name: user.name.clone(),
        email: user.email.clone(),
        role: role.into(),
        added_at: Some(to_timestamp(row.added_at)),
        status: status_to_proto(user.status).into(),
    }
}

pub fn api_key(row: &ApiKey) -> pb::ApiKey {
    let kind = match row.kind {
        KeyKind::Api => pb::ApiKeyKind::Api,
        KeyKind::Integration => pb::ApiKeyKind::Integration,
    };
    pb::ApiKey {
        id: row.id.to_string(),
        name: row.name.clone(),
        kind: kind.into(),
        scopes: row.scopes.clone(),
        service_id: row.service_id.map(|id| id.to_string()),
        prefix: row.prefix.clone(),
        last_used_at: row.last_used_at.map(to_timestamp),
        expires_at: row.expires_at.map(to_timestamp),
        revoked_at: row.revoked_at.map(to_timestamp),
        created_at: Some(to_timestamp(row.created_at)),
        created_by: row.created_by.clone(),
    }
}

pub fn session(signed: Signed) -> pb::Session {
    pb::Session {
        user: Some(user(&signed.user)),
        organization: Some(organization(&signed.organization)),
        access_token: signed.access_token.expose().clone(),
        refresh_token: signed.refresh_token.expose().clone(),
        expires_in: ACCESS_TTL.as_secs().cast_signed(),
    }
}

pub fn jwk(key: &PublicKey) -> pb::Jwk {
    pb::Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: key.jwk_x(),
        kid: key.kid.clone(),
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
    }
}
