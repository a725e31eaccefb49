//! notification-service: who is told, over which way, and what became of it.
//!
//! It owns channels (destinations of an organization or a team), contact methods (one person's
//! addresses) and the codes that prove them (counted by address in `code_mails`), messages (what is said, rendered once), notifications (one
//! message to one destination) and their attempts, until they are swept; and keeps what auth-service last
//! said about people and groups. Tables: `channels`, `contact_methods`, `contact_method_codes`, `people`,
//! `groups_seen`, `messages`, `notifications`, `attempts`.
//! Topic in: `pulseops.auth.v1` (consumer `contacts`). Topic out: `pulseops.audit.v1`; an incident's
//! timeline is told through incident-service.
//!
//! The invariant: a delivery has one key and one body for ever, its attempt is on record before
//! anything is sent, and only the holder of the row's lease records an outcome. So a receiver that
//! remembers keys sees every message once, whatever crashes here.
//!
//! Start reading in `sending.rs` (a request becomes deliveries), then `delivery.rs` (one delivery's
//! step), then `channels/mod.rs` (the ways out).

mod addresses;
mod audiences;
mod audit;
mod born;
mod channels;
mod config;
mod consumers;
mod contact_methods;
mod convert;
mod delivery;
mod destinations;
mod endpoints;
mod grpc;
mod ids;
mod kinds;
mod notes;
mod notifications;
mod peers;
mod proofs;
mod render;
mod retry;
mod schema;
mod sending;
mod store;
pub mod sweep;
mod targets;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use platform::consumer::Options;
use platform::deps::{Deps, Service};
use platform::error::Result;
use platform::leased::{Handle, Slots};
use proto::notification::v1::channel_service_server::ChannelServiceServer;
use proto::notification::v1::contact_method_service_server::ContactMethodServiceServer;
use proto::notification::v1::notification_service_server::NotificationServiceServer;
use proto::notification::v1::send_service_server::SendServiceServer;

use addresses::Addresses;
use born::Nursery;
use channels::Registry;
use consumers::{AUTH_TOPIC, Contacts};
use delivery::Deliverer;
use grpc::{Grpc, Parts};
use peers::Peers;
use sending::Sending;
use vault::Vault;

pub use config::{Config, Delivery, Smtp, SmtpTls};

/// Name of the service: its schema, its roles, its principal.
pub const NAME: &str = "notification";

/// The migrations of schema `pulseops_notification`.
pub static MIGRATIONS: include_dir::Dir<'static> =
    include_dir::include_dir!("$CARGO_MANIFEST_DIR/../migrations/notification");

/// Puts the service together: starts its driver and its consumer on `deps.lifecycle` and
/// returns its RPCs behind their door.
///
/// # Errors
/// Those of the configuration (`invalid_smtp`), the database and the bus.
pub async fn build(deps: &Deps, config: &Config) -> Result<Service> {
    let db = deps.db(NAME)?;
    let peers = Peers::new(&deps.directory, Duration::from_millis(config.delivery.peer_timeout_ms));
    let addresses = Addresses {
        ways: Arc::new(Registry::new(deps.egress.clone(), config)?),
        vault: Arc::new(Vault::new(deps.sealer(NAME), &deps.secret)),
    };
    let handle = Handle::default();
    let born = Nursery::default();
    let deliverer = Deliverer::new(
        db.clone(),
        peers.clone(),
        &addresses,
        born.clone(),
        deps.source.clone(),
        &config.delivery,
    );
    let Delivery { concurrency: all, concurrency_per_organization: per_org, .. } = config.delivery;
    deps.drive(&db, Arc::new(deliverer), handle.clone(), Slots { all, per_org });
    let contacts = Arc::new(Contacts { addresses: addresses.clone() });
    let consumers = deps.consumers(NAME, &db);
    deps.consume(&consumers, "contacts", &AUTH_TOPIC, Options::default(), contacts).await?;
    deps.bus.ensure_topic(&audit::TOPIC).await?;
    deps.relay(&db);
    sweep::start(deps, &db, config.delivery.keep_deliveries_days);

    let sending = Sending::new(db.clone(), peers.clone(), &addresses, born, handle, &config.delivery);
    let tests_per_hour = config.delivery.tests_per_hour;
    let grpc = Grpc::new(Parts { db, addresses, peers, sending, tests_per_hour });
    Ok(Service::builder(NAME)
        .add(ChannelServiceServer::new(grpc.clone()))
        .add(ContactMethodServiceServer::new(grpc.clone()))
        .add(NotificationServiceServer::new(grpc.clone()))
        .add(SendServiceServer::new(grpc))
        .behind(deps.door.clone()))
}
