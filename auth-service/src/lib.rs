//! auth-service: who acts. It owns organizations, users, teams and their members, sessions and their
//! refresh tokens, API keys and integration keys, the keys that sign access tokens, and the audit of
//! every change (schema `pulseops_auth`).
//!
//! - RPCs: Session, Me, User, Team, ApiKey and Access service of `pulseops.auth.v1`.
//! - Topic out: `pulseops.auth.v1` (`user.registered`, `user.created`, `user.changed`,
//!   `access.revoked`).
//! - Topic in: `pulseops.audit.v1`, what the other services' callers changed (consumer `audit`).
//! - Asks incident-service whether a service exists before it gets an integration key.
//!
//! The invariant: rights taken away are gone. A token is signed under a lock on the user, session or
//! key that it speaks for, a change takes the stronger lock, and its event names a time after every
//! token that was signed before, by the database's clock. Doors refuse those within a second. An API
//! key has its user's rights as they are at the time; an integration key belongs to the organization.
//!
//! No secret is stored readable: passwords are argon2id, tokens and keys SHA-256 of 256 random bits,
//! signing keys sealed. None is logged or audited.
//!
//! Start reading in `sessions.rs`, then `roles.rs` and `api_keys.rs`. [`peer`] is what the doors of
//! other processes use of this crate.

mod access;
mod api_keys;
mod audit;
mod config;
mod consumers;
mod convert;
pub mod events;
mod flows;
mod grpc;
mod passwords;
pub mod peer;
mod refresh;
mod registration;
mod roles;
mod schema;
mod sessions;
mod signing;
mod slug;
mod store;
pub mod sweep;
mod teams;
mod users;
mod words;

use std::sync::Arc;
use std::time::Duration;

use include_dir::{Dir, include_dir};
use platform::consumer::Options;
use platform::deps::{Deps, Service};
use platform::error::Result;
use proto::auth::v1::access_service_server::AccessServiceServer;
use proto::auth::v1::api_key_service_server::ApiKeyServiceServer;
use proto::auth::v1::me_service_server::MeServiceServer;
use proto::auth::v1::session_service_server::SessionServiceServer;
use proto::auth::v1::team_service_server::TeamServiceServer;
use proto::auth::v1::user_service_server::UserServiceServer;

pub use config::{Config, Registration};

use crate::grpc::Auth;

/// Role, owner of migrations and `source` of events.
pub const NAME: &str = "auth";

/// The tables of this service.
pub static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../migrations/auth");

/// Builds the service: its signing key exists, its topic exists, its relay and sweeper run.
///
/// # Errors
/// Unavailable when the database does not answer; Internal when the signing key was sealed under
/// another deployment's secret.
pub async fn build(deps: &Deps, config: &Config) -> Result<Service> {
    let db = deps.db(NAME)?;
    let signer = signing::signer(&db, &deps.sealer(NAME), &deps.source).await?;
    deps.bus.ensure_topic(&events::TOPIC).await?;
    deps.relay(&db);
    let interval = Duration::from_millis(config.sweep_interval_ms.max(1));
    let swept = db.clone();
    deps.every(interval, "auth.sweep", move || {
        let db = swept.clone();
        async move { sweep::step(&db).await.map(drop) }
    });
    let consumers = deps.consumers(NAME, &db);
    deps.consume(&consumers, "audit", &consumers::AUDIT, Options::default(), Arc::new(consumers::Audit))
        .await?;
    let auth = Auth::new(deps, config, db, signer);
    let service = Service::builder(NAME)
        .add(SessionServiceServer::new(auth.clone()))
        .add(MeServiceServer::new(auth.clone()))
        .add(UserServiceServer::new(auth.clone()))
        .add(TeamServiceServer::new(auth.clone()))
        .add(ApiKeyServiceServer::new(auth.clone()))
        .add(AccessServiceServer::new(auth))
        .behind(deps.door.clone());
    Ok(service)
}
