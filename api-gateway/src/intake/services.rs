//! Which service each event is of: implied by an integration key, or found by slug or UUID.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use moka::sync::Cache;
use platform::ctx::{Ctx, OrgId};
use platform::error::Result;
use platform::rpc::{self, Directory, Transport};
use proto::events::v1::Event;
use proto::incident::v1::service_service_client::ServiceServiceClient;
use proto::incident::v1::{ResolveServicesRequest, ResolvedService};
use uuid::Uuid;

use super::items::{Item, Rejected, without_service};
use super::sink::Outgoing;

/// Slugs never change and services are never deleted, so only archiving makes an answer old.
const KEEP: Duration = Duration::from_secs(60);
const CACHED: u64 = 100_000;
/// As many as incident-service answers at once.
const NAMES_A_CALL: usize = 1000;

#[derive(Clone)]
pub struct Services {
    client: ServiceServiceClient<Transport>,
    known: Cache<(OrgId, String), Uuid>,
}

/// What a name in an event stands for.
enum Found {
    Service(Uuid),
    Archived,
    Unknown,
}

impl Services {
    pub fn new(directory: &Directory) -> Self {
        Self {
            client: ServiceServiceClient::new(directory.transport("pulseops.incident.v1")),
            known: Cache::builder().max_capacity(CACHED).time_to_live(KEEP).build(),
        }
    }

    /// Addresses each event to its service; items without a usable one are rejected.
    ///
    /// # Errors
    /// When incident-service does not answer: then nothing was taken.
    pub async fn address(&self, cx: &Ctx, items: Vec<Item>) -> Result<(Vec<Outgoing>, Vec<Rejected>)> {
        let bound = cx.principal.bound_service;
        let names: BTreeSet<&str> =
            items.iter().map(|item| item.event.service.as_str()).filter(|name| !name.is_empty()).collect();
        let found = self.find(cx, &names).await?;
        let mut outgoing = Vec::with_capacity(items.len());
        let mut rejected = Vec::new();
        for Item { index, event } in items {
            match service_of(index, &event, bound, &found) {
                Ok(service) => outgoing.push(Outgoing::new(cx, service, event)),
                Err(reason) => rejected.push(reason),
            }
        }
        Ok((outgoing, rejected))
    }

    async fn find(&self, cx: &Ctx, names: &BTreeSet<&str>) -> Result<HashMap<String, Found>> {
        let mut found = HashMap::with_capacity(names.len());
        let mut missing = Vec::new();
        for name in names {
            match self.known.get(&(cx.org, (*name).to_owned())) {
                Some(id) => drop(found.insert((*name).to_owned(), Found::Service(id))),
                None => missing.push((*name).to_owned()),
            }
        }
        for names in missing.chunks(NAMES_A_CALL) {
            let request = ResolveServicesRequest { names: names.to_vec() };
            let answer = self
                .client
                .clone()
                .resolve_services(rpc::request(&cx.as_service("gateway"), request))
                .await?;
            for service in answer.into_inner().services {
                self.keep(cx.org, service, &mut found);
            }
        }
        Ok(found)
    }

    fn keep(&self, org: OrgId, service: ResolvedService, found: &mut HashMap<String, Found>) {
        let state = match service.id.parse() {
            Ok(_) if service.archived => Found::Archived,
            Ok(id) => {
                self.known.insert((org, service.asked.clone()), id);
                Found::Service(id)
            }
            Err(_) => Found::Unknown,
        };
        found.insert(service.asked, state);
    }
}

fn service_of(
    index: usize,
    event: &Event,
    bound: Option<Uuid>,
    found: &HashMap<String, Found>,
) -> Result<Uuid, Rejected> {
    let named = match (event.service.as_str(), bound) {
        ("", Some(bound)) => return Ok(bound),
        ("", None) => return Err(without_service(index)),
        (name, _) => found.get(name).unwrap_or(&Found::Unknown),
    };
    match (named, bound) {
        (Found::Service(id), Some(bound)) if *id != bound => Err(Rejected::new(
            index,
            "service",
            "service_mismatch",
            "is not the service of this integration key",
        )),
        (Found::Service(id), _) => Ok(*id),
        (Found::Archived, _) => Err(Rejected::new(index, "service", "archived_service", "is archived")),
        (Found::Unknown, _) => Err(Rejected::new(index, "service", "unknown_service", "is not a service")),
    }
}
