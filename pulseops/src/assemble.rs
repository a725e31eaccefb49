//! A process, put together: what services share, the roles, their ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api_gateway::Gateway;
use platform::access::{AccessTable, OptionNames};
use platform::bus::Bus;
use platform::bus::postgres::PostgresBus;
use platform::consumer::Stopped;
use platform::deps::{Databases, Deps, Service};
use platform::door::DoorParts;
use platform::egress::Egress;
use platform::error::Error;
use platform::lifecycle::{Lifecycle, Stage};
use platform::rpc::Directory;
use platform::server::{Health, Server, Weight};
use platform::token::ServiceTokens;
use platform::wake::Wakes;
use tokio::net::TcpListener;

use auth_service::peer::{AuthPeer, follow_revocations};

use crate::config::Config;
use crate::ground::Ground;
use crate::roles::{self, Role};

/// Roles that work and do not listen yet.
pub struct Assembly {
    /// What they share.
    pub deps: Deps,
    /// Whether they can do their work.
    pub health: Health,
    services: Vec<(Role, Service)>,
    gateway: Option<Gateway>,
}

/// The ports of a process.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// gRPC, health, reflection and metrics, each with the roles it serves.
    pub grpc: Vec<(SocketAddr, Vec<Role>)>,
    /// REST.
    pub rest: Option<SocketAddr>,
}

impl Assembly {
    /// Puts `roles` together on `ground` and starts their work. Other roles are called at their
    /// configured addresses.
    ///
    /// # Errors
    /// Those of the configuration, the database and the bus.
    pub async fn build(ground: &Ground, config: &Config, roles: &[Role]) -> anyhow::Result<Self> {
        let deps = deps(ground, config, roles)?;
        let health = health(&deps, roles)?;
        background(&deps, &health);
        let mut assembly = Self { deps, health, services: Vec::new(), gateway: None };
        match assembly.add(config, roles).await {
            Ok(()) => Ok(assembly),
            Err(error) => {
                // What has started ends in order; the first error is the one to tell.
                let _ = assembly.stop().await;
                Err(error)
            }
        }
    }

    async fn add(&mut self, config: &Config, roles: &[Role]) -> anyhow::Result<()> {
        let deps = &self.deps;
        let (here, elsewhere): (Vec<Role>, _) = Role::ALL.into_iter().partition(|role| roles.contains(role));
        // First who is elsewhere: what is built here calls them as soon as it works.
        for role in elsewhere {
            deps.directory.set_remote(role.package(), &config.services.of(role).address)?;
        }
        for role in here {
            let failed = || format!("{role} could not be started");
            let service = match roles::build(role, deps, config).await.with_context(failed)? {
                Some(service) => service,
                None => {
                    let (health, lifecycle) = (self.health.clone(), deps.lifecycle.clone());
                    let ready = move || health.is_ready() && lifecycle.is_ready();
                    let gateway =
                        api_gateway::build(deps, &config.gateway, ready).await.with_context(failed)?;
                    self.gateway.insert(gateway).service.clone()
                }
            };
            deps.directory.add(&service);
            self.services.push((role, service));
        }
        Ok(())
    }

    /// Listens on `wanted` and says where: port 0 is one that the system chooses.
    ///
    /// # Errors
    /// An address that cannot be had.
    pub async fn listen(&mut self, wanted: &Ports) -> anyhow::Result<Ports> {
        let mut ports = Ports::default();
        let rest = match (wanted.rest, self.gateway.take()) {
            (Some(address), Some(gateway)) => {
                let bound = TcpListener::bind(address).await;
                let listener = bound.with_context(|| format!("cannot listen on {address} (rest.listen)"))?;
                ports.rest = Some(listener.local_addr()?);
                Some((gateway, listener))
            }
            (_, gateway) => {
                self.gateway = gateway;
                None
            }
        };
        let mut servers = Vec::new();
        for (address, roles) in &wanted.grpc {
            let server = self.server(roles).bind(*address).await?;
            ports.grpc.push((server.local_addr()?, roles.clone()));
            servers.push(server);
        }
        // Only now, when every port could be had, calls are taken.
        for (server, (address, _)) in servers.into_iter().zip(&ports.grpc) {
            let name = format!("grpc.{}", address.port());
            self.deps.lifecycle.spawn(Stage::Listeners, name, |stop| server.serve(stop));
        }
        if let Some((gateway, listener)) = rest {
            gateway.serve(&self.deps, listener);
        }
        self.deps.lifecycle.set_ready();
        Ok(ports)
    }

    fn server(&self, roles: &[Role]) -> platform::server::ServerBuilder {
        let served = self.services.iter().filter(|(role, _)| roles.contains(role));
        served
            .fold(Server::builder(self.health.clone()), |server, (_, service)| {
                server.service(service.clone())
            })
            .reflection(proto::FILE_DESCRIPTOR_SET)
            .metrics(platform::telemetry::render)
    }

    /// Works until a signal comes or a task fails, then ends everything in order.
    ///
    /// # Errors
    /// The task that ended early, or those that did not end in time.
    pub async fn run(self) -> anyhow::Result<()> {
        let lived = self.deps.lifecycle.run_until_shutdown().await;
        self.deps.databases.close();
        Ok(lived?)
    }

    /// Ends everything in order.
    ///
    /// # Errors
    /// A task that had ended early, or those that did not end in time.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let ended = self.deps.lifecycle.stop().await;
        self.deps.databases.close();
        Ok(ended?)
    }
}

fn deps(ground: &Ground, config: &Config, roles: &[Role]) -> anyhow::Result<Deps> {
    let (source, secret) = (ground.source.clone(), ground.secret.clone());
    let access = Arc::new(AccessTable::from_pool(proto::descriptor_pool(), OptionNames::default())?);
    let directory = Directory::new(ServiceTokens::new(&secret, source.clone())?);
    let speaker = roles.first().map_or("gateway", |role| role.name());
    let auth = AuthPeer::new(directory.transport(Role::Auth.package()), speaker, source.clone());
    let verifier = auth.verifier(access.clone(), secret.clone())?;
    let databases = Databases::new(ground.database.clone());
    let wakes = Wakes::default();
    let bus = PostgresBus::new(databases.open("bus")?, source.clone(), wakes.clone());
    Ok(Deps {
        bus: Arc::new(bus),
        databases,
        directory,
        door: DoorParts {
            access,
            verifier,
            source: source.clone(),
            max_time: Duration::from_millis(config.grpc.deadline_ms),
            max_message: config.grpc.body_limit_bytes,
        },
        lifecycle: Lifecycle::new(),
        secret,
        egress: Egress::new(&config.egress())?,
        wakes,
        stopped: Stopped::default(),
        source,
    })
}

/// Ready means: the own Postgres answers. The bus, and consumers that stand still, are told under
/// their own names, because people must be able to acknowledge without them.
fn health(deps: &Deps, roles: &[Role]) -> anyhow::Result<Health> {
    let health = Health::new();
    // The gateway has no tables: what it does with the log is the bus's state.
    let owners = roles.iter().filter(|role| **role != Role::Gateway);
    let pools = owners.map(|role| deps.db(role.database())).collect::<Result<Vec<_>, Error>>()?;
    health.check("postgres", Weight::Critical, move || {
        let pools = pools.clone();
        async move {
            for pool in &pools {
                pool.ping().await?;
            }
            Ok(())
        }
    });
    let bus = deps.bus.clone();
    health.check("bus", Weight::Informative, move || {
        let bus = bus.clone();
        async move { bus.ping().await }
    });
    let stopped = deps.stopped.clone();
    health.check("consumers", Weight::Informative, move || std::future::ready(stopped.check()));
    Ok(health)
}

/// What every process does, whatever its roles.
fn background(deps: &Deps, health: &Health) {
    let lifecycle = &deps.lifecycle;
    let health = health.clone();
    lifecycle.spawn(Stage::Readiness, "health", |stop| async move { health.run(stop).await });
    let (bus, verifier, source) = (deps.bus.clone(), deps.door.verifier.clone(), deps.source.clone());
    lifecycle.spawn(Stage::Consumers, "revocations", |stop| follow_revocations(bus, verifier, source, stop));
    // The bus tells other processes of what the relays flush last.
    let bus: Arc<dyn Bus> = deps.bus.clone();
    lifecycle.spawn(Stage::Pool, "bus", |stop| async move { bus.run(stop).await });
    lifecycle.spawn(Stage::Pool, "metrics", platform::telemetry::upkeep);
}
