//! Row <-> proto and nothing else.

use std::collections::BTreeMap;

use platform::ctx::Principal;
use platform::error::{Error, Result};
use platform::token::PublicKey;
use proto::auth::v1 as pb;
use proto::time::to_timestamp;
use serde_json::Value as Json;

use crate::sessions::{ACCESS_TTL, Signed};
use crate::store::api_keys::ApiKey;
use crate::store::organizations::Organization;
use crate::store::teams::{Team, TeamMember};
use crate::store::users::User;

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
        role: row.role.wire(),
        password: None,
        time_zone: Some(row.time_zone.clone()),
        locale: row.locale.clone(),
        status: row.status.wire(),
        labels: labels_to_proto(&row.labels),
        created_at: Some(to_timestamp(row.created_at)),
        updated_at: Some(to_timestamp(row.updated_at)),
        archived_at: row.archived_at.map(to_timestamp),
        version: row.version,
    }
}

/// A user is called what the account says, a key what its token says.
pub fn me(principal: &Principal, organization: &Organization, row: Option<&User>) -> pb::Me {
    pb::Me {
        kind: principal.kind.as_str().to_owned(),
        id: principal.id.to_string(),
        name: row.map_or(&principal.name, |row| &row.name).clone(),
        user: row.map(user),
        organization: Some(self::organization(organization)),
        permissions: principal.permissions.iter().map(str::to_owned).collect(),
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
    pb::TeamMember {
        team_id: row.team_id.to_string(),
        user_id: row.user_id.to_string(),
        name: user.name.clone(),
        email: user.email.clone(),
        role: row.role.wire(),
        added_at: Some(to_timestamp(row.added_at)),
        status: user.status.wire(),
    }
}

pub fn api_key(row: &ApiKey) -> pb::ApiKey {
    pb::ApiKey {
        id: row.id.to_string(),
        name: row.name.clone(),
        kind: row.kind.wire(),
        scopes: row.scopes.clone(),
        service_id: row.service_id.map(|id| id.to_string()),
        prefix: row.prefix.clone(),
        last_used_at: row.last_used_at.map(to_timestamp),
        expires_at: row.expires_at.map(to_timestamp),
        revoked_at: row.revoked_at.map(to_timestamp),
        created_at: Some(to_timestamp(row.created_at)),
        created_by: row.created_by.clone(),
        user_id: row.user_id.map(|id| id.to_string()),
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
