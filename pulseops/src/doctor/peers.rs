//! Whether every role answers somewhere, for deployments that run them in several processes.

use std::time::Duration;

use futures::future::join_all;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Finding;
use crate::config::{Config, reachable};
use crate::roles::Role;

const PATIENCE: Duration = Duration::from_secs(3);

/// How a role is at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serves,
    NotReady,
    /// Something answers and does not have it.
    Elsewhere,
    Silent,
}

/// One finding for each role; one in all when none answers. With a private database all roles share its
/// process, and there is nothing to ask.
pub async fn look(config: &Config) -> Vec<Finding> {
    if config.database.url.is_empty() {
        return Vec::new();
    }
    let asked = Role::ALL.into_iter().filter_map(|role| Some((role, service_of(role)?)));
    let asking = asked.map(|(role, service)| async move { (role, state(config, role, &service).await) });
    let states = join_all(asking).await;
    if states.iter().all(|(_, (state, _))| *state == State::Silent) {
        let advice = "`pulseops up`, or `pulseops serve` with every role in some process";
        return vec![Finding::note("roles", "none answers", advice)];
    }
    states.into_iter().map(|(role, (state, place))| finding(role, state, &place)).collect()
}

/// A gRPC service that the role has; the gateway has its REST face, which `rest.listen` is about.
fn service_of(role: Role) -> Option<String> {
    let mut services = proto::descriptor_pool().services();
    let found = services.find(|service| service.parent_file().package_name() == role.package());
    found.filter(|_| role != Role::Gateway).map(|service| service.full_name().to_owned())
}

/// Asks where the role has its own process, and the process that has all of them.
async fn state(config: &Config, role: Role, service: &str) -> (State, String) {
    let own = config.services.of(role).address.clone();
    let shared = format!("http://{}", reachable(config.grpc.listen));
    let asking = [own, shared].map(|place| async move { (ask(&place, service).await, place) });
    let mut answers = join_all(asking).await;
    // Stable: where none serves it, its own address is told.
    answers.sort_by_key(|(state, _)| *state == State::Elsewhere || *state == State::Silent);
    answers.swap_remove(0)
}

async fn ask(place: &str, service: &str) -> State {
    let Ok(endpoint) = Endpoint::from_shared(place.to_owned()) else { return State::Silent };
    let asked = async {
        let mut health = HealthClient::new(endpoint.connect().await.ok()?);
        Some(health.check(HealthCheckRequest { service: service.to_owned() }).await)
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Some(Ok(answer))) if answer.get_ref().status() == ServingStatus::Serving => State::Serves,
        Ok(Some(Ok(_))) => State::NotReady,
        Ok(Some(Err(status))) if status.code() == Code::NotFound => State::Elsewhere,
        _ => State::Silent,
    }
}

fn finding(role: Role, state: State, place: &str) -> Finding {
    let about = role.name();
    match state {
        State::Serves => Finding::good(about, format!("{place} answers and is ready")),
        State::NotReady => Finding::bad(
            about,
            format!("{place} answers and is not ready"),
            "see the database above and its log",
        ),
        State::Elsewhere => Finding::note(
            about,
            format!("{place} answers and does not have it"),
            format!("correct services.{role}.address"),
        ),
        State::Silent => Finding::note(
            about,
            format!("{place} does not answer"),
            format!("start it: `pulseops serve {role}`, or correct services.{role}.address"),
        ),
    }
}
