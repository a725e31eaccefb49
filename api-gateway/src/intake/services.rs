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
use proto::validate;
use uuid::Uuid;

use super::items::{Item, Rejected};
use super::sink::Outgoing;

/// Slugs never change and services are never deleted, so only archiving makes an answer old.
const KEEP: Duration = Duration::from_secs(60);
const CACHED: u64 = 100_000;
/// As many as incident-service answers at once.
const NAMES_A_CALL: usize = 1000;
/// How long its answers are waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Characters of an unknown name that the refusal repeats.
const NAME_REPEATED: usize = 64;

#[derive(Clone)]
pub struct Services {
    client: ServiceServiceClient<Transport>,
    known: Cache<(OrgId, String), Uuid>,
}

/// What a name in an event stands for.
enum Found {
    Service(Uuid),
    Archived(Uuid),
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
    /// When incident-service does not answer: then nothing was taken. An integration key goes on
    /// working for its own service meanwhile.
    pub async fn address(&self, cx: &Ctx, items: Vec<Item>) -> Result<(Vec<Outgoing>, Vec<Rejected>)> {
        let bound = cx.principal.bound_service;
        let own = bound.map(|id| id.to_string()).unwrap_or_default();
        let names = items.iter().map(|item| named(&item.event, &own));
        let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
        let found = match (self.find(cx, &names).await, bound) {
            (Err(error), Some(bound)) if error.is_retryable() && names.iter().all(|name| *name == own) => {
                tracing::warn!(error = error.chain(), "the service of a key cannot be looked up");
                // For as long as any answer: the next request need not wait in vain.
                self.known.insert((cx.org, own.clone()), bound);
                HashMap::from([(own.clone(), Found::Service(bound))])
            }
            (found, _) => found?,
        };
        let mut outgoing = Vec::with_capacity(items.len());
        let mut rejected = Vec::new();
        for Item { index, event } in items {
            match service_of(index, found.get(named(&event, &own)), named(&event, &own), bound) {
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
        let gateway = cx.as_service("gateway").with_timeout(PATIENCE);
        for names in missing.chunks(NAMES_A_CALL) {
            let request = rpc::request(&gateway, ResolveServicesRequest { names: names.to_vec() });
            let answer = self.client.clone().resolve_services(request).await?;
            for service in answer.into_inner().services {
                self.keep(cx.org, service, &mut found);
            }
        }
        Ok(found)
    }

    fn keep(&self, org: OrgId, service: ResolvedService, found: &mut HashMap<String, Found>) {
        let state = match service.id.parse() {
            Ok(id) if service.archived => Found::Archived(id),
            Ok(id) => {
                self.known.insert((org, service.asked.clone()), id);
                Found::Service(id)
            }
            Err(_) => Found::Unknown,
        };
        found.insert(service.asked, state);
    }
}

/// What an event calls its service; without a word it is the key's own.
fn named<'e>(event: &'e Event, own: &'e str) -> &'e str {
    if event.service.is_empty() { own } else { &event.service }
}

fn service_of(
    index: usize,
    found: Option<&Found>,
    name: &str,
    bound: Option<Uuid>,
) -> Result<Uuid, Rejected> {
    let refuse = |code, reason: &str| Err(Rejected::new(index, "service", code, reason));
    match found {
        Some(Found::Service(id) | Found::Archived(id)) if bound.is_some_and(|bound| bound != *id) => {
            refuse("service_mismatch", "is not the service of this integration key")
        }
        Some(Found::Service(id)) => Ok(*id),
        Some(Found::Archived(_)) => refuse("archived_service", "is archived"),
        None if name.is_empty() => refuse(validate::code::REQUIRED, "is required"),
        Some(Found::Unknown) | None => {
            refuse("unknown_service", &format!("\"{}\" is not a service", cut(name)))
        }
    }
}

fn cut(name: &str) -> &str {
    name.char_indices().nth(NAME_REPEATED).map_or(name, |(end, _)| &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_service_an_event_is_of() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let judge = |found: Option<Found>, name, bound| {
            service_of(0, found.as_ref(), name, bound).map_err(|rejected| rejected.code)
        };
        assert_eq!(judge(Some(Found::Service(one)), "a", None), Ok(one));
        assert_eq!(judge(Some(Found::Service(one)), "a", Some(one)), Ok(one));
        assert_eq!(judge(Some(Found::Service(two)), "a", Some(one)), Err("service_mismatch"));
        assert_eq!(judge(Some(Found::Archived(one)), "a", None), Err("archived_service"));
        assert_eq!(judge(Some(Found::Archived(two)), "a", Some(one)), Err("service_mismatch"));
        assert_eq!(judge(Some(Found::Unknown), "a", None), Err("unknown_service"));
        assert_eq!(judge(None, "a", None), Err("unknown_service"));
        assert_eq!(judge(None, "", None), Err("required"));
    }

    #[test]
    fn an_unknown_name_is_repeated_and_cut() {
        let reason = |name: &str| service_of(0, None, name, None).expect_err("unknown").reason;
        assert_eq!(reason("paymnet"), "\"paymnet\" is not a service");
        assert_eq!(reason(&"é".repeat(65)), format!("\"{}\" is not a service", "é".repeat(64)));
        assert_eq!(reason(&"é".repeat(64)), format!("\"{}\" is not a service", "é".repeat(64)));
    }
}
