use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::error::Result;

const CHECK_TIME: Duration = Duration::from_secs(2);
const BETWEEN_CHECKS: Duration = Duration::from_secs(1);

/// What a failing check means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The process cannot do its work: not ready.
    Critical,
    /// It is told under its own name, and work goes on (the bus).
    Informative,
}

type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

#[derive(Clone)]
struct Check {
    name: &'static str,
    weight: Weight,
    probe: Probe,
}

#[derive(Default)]
struct State {
    checks: Vec<Check>,
    /// Outcome of each check; one that has not run yet is not in it.
    outcomes: BTreeMap<&'static str, bool>,
    /// gRPC services that are told to serve while the process is ready.
    services: Vec<&'static str>,
    draining: bool,
}

/// Whether the process is ready, by checks that are run once a second: told by `/readyz`, and by
/// gRPC health under "" and each service's name, each check under its own. Clones share it.
#[derive(Clone)]
pub struct Health {
    state: Arc<Mutex<State>>,
    reporter: HealthReporter,
}

/// What `/readyz` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the process is ready.
    pub ready: bool,
    /// Outcome of each check.
    pub checks: BTreeMap<&'static str, bool>,
}

impl Health {
    /// Not ready until the first round of checks.
    pub fn new() -> Self {
        Self { state: Arc::default(), reporter: HealthReporter::new() }
    }

    /// Adds a check. `name` is its health name, for example `postgres` or `bus`.
    pub fn check<F>(&self, name: &'static str, weight: Weight, probe: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let probe: Probe = Arc::new(move || probe().boxed());
        self.lock().checks.push(Check { name, weight, probe });
    }

    /// Whether the process is ready now.
    pub fn is_ready(&self) -> bool {
        self.lock().is_ready()
    }

    /// What `/readyz` answers now.
    pub fn report(&self) -> Report {
        let state = self.lock();
        Report { ready: state.is_ready(), checks: state.outcomes.clone() }
    }

    /// Runs every check once and tells the outcome.
    pub async fn step(&self) {
        let checks = self.lock().checks.clone();
        let outcomes = join_all(checks.iter().map(|check| async {
            let outcome = tokio::time::timeout(CHECK_TIME, (check.probe)()).await;
            let why = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.chain()),
                Err(_) => Some("no answer".to_owned()),
            };
            (check.name, why)
        }))
        .await;
        for (name, why) in outcomes {
            metrics::gauge!("pulseops_health_check", "check" => name).set(f64::from(why.is_none()));
            let before = self.lock().outcomes.insert(name, why.is_none());
            match why {
                Some(why) if before != Some(false) => {
                    tracing::warn!(check = name, error = why, "check fails");
                }
                None if before == Some(false) => {
                    tracing::info!(check = name, "check is good again")
                }
                _ => {}
            }
        }
        self.tell().await;
    }

    /// Runs the checks until `stop`, then the process is not ready any more: load balancers look
    /// elsewhere while running calls end.
    ///
    /// # Errors
    /// None: a check that fails is told, not returned.
    pub async fn run(&self, stop: CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            self.step().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(BETWEEN_CHECKS) => {}
            }
        }
        self.drain().await;
        Ok(())
    }

    /// Not ready from now on.
    pub async fn drain(&self) {
        self.lock().draining = true;
        self.tell().await;
    }

    /// Tells readiness under these names of gRPC services too.
    pub(super) async fn tell_for(&self, services: impl Iterator<Item = &'static str>) {
        self.lock().services.extend(services);
        self.tell().await;
    }

    /// The gRPC service that tells it.
    pub(super) fn grpc(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    async fn tell(&self) {
        let (ready, services, outcomes) = {
            let state = self.lock();
            (state.is_ready(), state.services.clone(), state.outcomes.clone())
        };
        let names = std::iter::once("").chain(services).map(|name| (name, ready));
        for (name, good) in names.chain(outcomes) {
            let status = if good { ServingStatus::Serving } else { ServingStatus::NotServing };
            self.reporter.set_service_status(name, status).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_ready(&self) -> bool {
        let good = |check: &Check| self.outcomes.get(check.name).copied().unwrap_or(false);
        let mut critical = self.checks.iter().filter(|check| check.weight == Weight::Critical);
        !self.draining && critical.all(good)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&self.report()).finish()
    }
}
