//! The doors: unpack, run the core in one transaction, pack.

mod incidents;
mod response;
mod rules;
mod services;

use platform::db::Db;
use platform::deps::ServiceBuilder;
use proto::incident::v1::alert_service_server::AlertServiceServer;
use proto::incident::v1::incident_service_server::IncidentServiceServer;
use proto::incident::v1::response_service_server::ResponseServiceServer;
use proto::incident::v1::rule_service_server::RuleServiceServer;
use proto::incident::v1::service_service_server::ServiceServiceServer;

use crate::peers::Peers;

/// What every door needs.
#[derive(Clone)]
pub struct Doors {
    db: Db,
    peers: Peers,
}

impl Doors {
    pub fn new(db: Db, peers: Peers) -> Self {
        Self { db, peers }
    }

    /// Adds the gRPC services of this role.
    pub fn add_to(self, builder: ServiceBuilder) -> ServiceBuilder {
        builder
            .add(ServiceServiceServer::new(self.clone()))
            .add(RuleServiceServer::new(self.clone()))
            .add(IncidentServiceServer::new(self.clone()))
            .add(AlertServiceServer::new(self.clone()))
            .add(ResponseServiceServer::new(self))
    }
}
