//! The way to the database: a small pool per service whose connections have become that service's
//! role, and transactions that carry their organization from the first byte on.
//!
//! Code opens transactions with [`tx!`](crate::tx), [`system_tx!`](crate::system_tx) and
//! [`mutation!`](crate::mutation); they commit on `Ok`, roll back on `Err` and run again after a
//! deadlock. [`Db::begin`] stands below them.
//!
//! TLS to Postgres is not built in: a URL with `sslmode=require` is refused at the first connection,
//! in plain words. Use a Unix socket, a private network or a local proxy.

mod macros;
mod tx;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures::FutureExt;
use serde::{Deserialize, Serialize};

pub use tx::Tx;
#[doc(hidden)]
pub use tx::{settle, typed};

use crate::ctx::Ctx;
use crate::error::{Error, Result, chain};
use crate::wake::{OnCommit, Wakes};

/// How to reach the database: section `database` of the configuration. Its URLs may hold passwords
/// and are not shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DbConfig {
    /// URL or key=value text as libpq knows them; empty means: start the embedded Postgres.
    pub url: String,
    /// A login of its own for a service, by the service's name; the others use `url`.
    pub urls: BTreeMap<String, String>,
    /// Connections of one service in one process; one of them only renews leases.
    pub max_connections: usize,
    /// How long a call waits for a free connection.
    pub acquire_timeout_ms: u64,
    /// How long one statement may run.
    pub statement_timeout_ms: u64,
}

impl fmt::Debug for DbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbConfig").field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}

impl Default for DbConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            urls: BTreeMap::new(),
            max_connections: 4,
            acquire_timeout_ms: 3_000,
            statement_timeout_ms: 30_000,
        }
    }
}

impl DbConfig {
    /// The defaults with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// The parsed address of `service`: its own URL or the common one.
    ///
    /// # Errors
    /// Invalid, code `invalid_database_url`.
    pub fn address(&self, service: &str) -> Result<tokio_postgres::Config> {
        let url = self.urls.get(service).unwrap_or(&self.url);
        parse(url)
    }
}

/// Parses a URL or key=value text and sets what every connection of ours needs.
pub(crate) fn parse(url: &str) -> Result<tokio_postgres::Config> {
    let mut config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let detail = format!("the database URL cannot be read: {}", chain(&error));
        Error::invalid("invalid_database_url", detail)
    })?;
    if config.get_user().is_none() {
        config.user("postgres");
    }
    // The user timeout ends what is not acknowledged; probes end waiting for an answer that nobody
    // will send.
    config.connect_timeout(LEASE).tcp_user_timeout(LEASE);
    config.keepalives_idle(PROBE_EVERY).keepalives_interval(PROBE_EVERY).keepalives_retries(2);
    Ok(config)
}

/// No connection may hold a transaction, or a dead peer, for longer than a lease lasts.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// One service's pool. Cloning shares it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    service: String,
    pool: Pool<AsyncPgConnection>,
    acquire_timeout: Duration,
    begin_system: String,
    address: tokio_postgres::Config,
    wakes: Wakes,
    config: DbConfig,
    leases: OnceLock<Db>,
}

impl Db {
    /// A pool for `service` (`incident`). Connections are made when they are first needed, as role
    /// `pulseops_<service>` with its schema first in the search path.
    ///
    /// # Errors
    /// Invalid, code `invalid_database_url`. An unreachable server shows at the first transaction.
    pub fn connect(config: &DbConfig, service: &str) -> Result<Self> {
        let connections = config.max_connections.saturating_sub(1).max(1);
        Self::pooled(config, service, service_address(config, service)?, connections, Wakes::default())
    }

    fn pooled(
        config: &DbConfig,
        service: &str,
        address: tokio_postgres::Config,
        connections: usize,
        wakes: Wakes,
    ) -> Result<Self> {
        let manager = manager(address.clone(), role_of(service), wakes.clone());
        let pool = Pool::builder(manager).max_size(connections).build().map_err(Error::internal)?;
        Ok(Self(Arc::new(Inner {
            service: service.to_owned(),
            pool,
            acquire_timeout: Duration::from_millis(config.acquire_timeout_ms),
            begin_system: format!("BEGIN; SET LOCAL ROLE pulseops_{service}_sys"),
            address,
            wakes,
            config: config.clone(),
            leases: OnceLock::new(),
        })))
    }

    /// The same service over one connection kept for renewing leases: however busy the others are,
    /// what this process has leased stays its own. A renewal that a crash of the server takes back
    /// harms nobody, so its commits do not wait for the disk.
    pub(crate) fn leases(&self) -> Result<Self> {
        if let Some(kept) = self.0.leases.get() {
            return Ok(kept.clone());
        }
        let (config, service) = (&self.0.config, &self.0.service);
        let mut address = self.0.address.clone();
        let options = format!("{} -c synchronous_commit=off", address.get_options().unwrap_or_default());
        address.options(options);
        let kept = Self::pooled(config, service, address, 1, self.0.wakes.clone())?;
        Ok(self.0.leases.get_or_init(|| kept).clone())
    }

    /// The service whose pool this is.
    pub fn service(&self) -> &str {
        &self.0.service
    }

    /// Wake-ups between those who commit in this pool and their followers, in this process. See
    /// [`on_commit`](crate::wake::on_commit).
    pub fn wakes(&self) -> &Wakes {
        &self.0.wakes
    }

    /// A connection outside of any transaction, for machinery whose work is one statement.
    pub(crate) async fn connection(&self) -> Result<Object<AsyncPgConnection>> {
        self.acquire().await
    }

    /// Begins a transaction that sees the rows of `cx.org` and no others, in one round trip.
    ///
    /// # Errors
    /// Unavailable, code `database_unavailable`.
    pub async fn begin(&self, cx: &Ctx) -> Result<Tx> {
        self.begin_with(&format!("BEGIN; SET LOCAL pulseops.org = '{}'", cx.org)).await
    }

    /// Begins a transaction that sees every organization's rows: for relay, claims, batch
    /// consumers, retention and look-ups before login. `reason` names it in logs and metrics.
    ///
    /// # Errors
    /// Unavailable, code `database_unavailable`.
    pub async fn begin_system(&self, reason: &'static str) -> Result<Tx> {
        let service = self.0.service.clone();
        metrics::counter!("pulseops_db_system_transactions_total", "service" => service, "reason" => reason)
            .increment(1);
        self.begin_with(&self.0.begin_system).await
    }

    async fn begin_with(&self, sql: &str) -> Result<Tx> {
        match Tx::begin(self.acquire().await?, sql).await {
            // A pooled connection whose server went away shows only now; nothing was done on it yet.
            Err(error) if error.code == "database_unavailable" => Tx::begin(self.acquire().await?, sql).await,
            result => result,
        }
    }

    async fn acquire(&self) -> Result<Object<AsyncPgConnection>> {
        let started = Instant::now();
        let waited = tokio::time::timeout(self.0.acquire_timeout, self.0.pool.get()).await;
        metrics::histogram!("pulseops_db_acquire_seconds", "service" => self.0.service.clone())
            .record(started.elapsed().as_secs_f64());
        match waited {
            Ok(connection) => Ok(connection?),
            Err(_) => Err(Error::unavailable(
                "database_busy",
                format!("no database connection became free for {}", self.0.service),
            )
            .with_retry_after(Duration::from_secs(1))),
        }
    }

    /// A connection outside of the pool, as the service's role, for LISTEN and COPY. The returned
    /// connection must be driven (spawned); the role is taken by [`become_role`](Self::become_role).
    pub fn raw(&self) -> &tokio_postgres::Config {
        &self.0.address
    }

    /// The statement that makes a raw connection the service's role.
    pub fn become_role(&self) -> String {
        format!("SET ROLE {}", role_of(&self.0.service))
    }

    /// Asks the database for an answer.
    ///
    /// # Errors
    /// Unavailable, code `database_unavailable` or `database_busy`.
    pub async fn ping(&self) -> Result<()> {
        self.begin_with("BEGIN READ ONLY").await?.rollback().await
    }

    /// Closes the pool: waiting and later calls fail, idle connections end now, busy ones when
    /// their transaction does.
    pub fn close(&self) {
        self.0.pool.close();
        if let Some(leases) = self.0.leases.get() {
            leases.close();
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("service", &self.0.service).finish_non_exhaustive()
    }
}

fn manager(
    address: tokio_postgres::Config,
    role: String,
    wakes: Wakes,
) -> AsyncDieselConnectionManager<AsyncPgConnection> {
    let mut manager = ManagerConfig::default();
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |_| {
        let (address, role, wakes) = (address.clone(), role.clone(), wakes.clone());
        async move {
            let mut connection = establish(&address, &role).await?;
            connection.set_instrumentation(OnCommit::new(wakes));
            Ok(connection)
        }
        .boxed()
    });
    AsyncDieselConnectionManager::new_with_config("", manager)
}

fn role_of(service: &str) -> String {
    format!("pulseops_{service}")
}

fn service_address(config: &DbConfig, service: &str) -> Result<tokio_postgres::Config> {
    let plain = !service.is_empty() && service.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !plain {
        return Err(Error::invalid("invalid_service", format!("{service:?} is no service name")));
    }
    let mut address = config.address(service)?;
    let role = role_of(service);
    let options = format!(
        "{} -c search_path={role},pulseops -c idle_in_transaction_session_timeout={} \
         -c statement_timeout={} -c jit=off",
        address.get_options().unwrap_or_default(),
        LEASE.as_millis(),
        config.statement_timeout_ms,
    );
    address.options(options.trim()).application_name(&role);
    Ok(address)
}

async fn establish(
    address: &tokio_postgres::Config,
    role: &str,
) -> diesel::ConnectionResult<AsyncPgConnection> {
    let failed = |error: tokio_postgres::Error| diesel::ConnectionError::BadConnection(chain(&error));
    let (client, connection) = address.connect(tokio_postgres::NoTls).await.map_err(failed)?;
    let mut connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
    if address.get_user() != Some(role) {
        use diesel_async::SimpleAsyncConnection;
        let set_role = format!("SET ROLE {role}");
        connection
            .batch_execute(&set_role)
            .await
            .map_err(|error| diesel::ConnectionError::BadConnection(format!("{set_role}: {error}")))?;
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_with_a_url_of_its_own_uses_it() {
        let mut config = DbConfig::new("postgres://admin@db/pulseops");
        config.urls.insert("auth".to_owned(), "postgres://pulseops_auth@db/pulseops".to_owned());
        assert_eq!(config.address("auth").expect("valid").get_user(), Some("pulseops_auth"));
        assert_eq!(config.address("incident").expect("valid").get_user(), Some("admin"));
    }

    #[test]
    fn the_search_path_and_timeouts_are_connection_options() {
        let config = DbConfig::new("host=/run/pg user=admin options='-c geqo=off'");
        let address = service_address(&config, "incident").expect("valid");
        let options = address.get_options().expect("set");
        assert!(options.starts_with("-c geqo=off -c search_path=pulseops_incident,pulseops"));
        assert!(options.contains("idle_in_transaction_session_timeout=3000"));
        assert_eq!(address.get_application_name(), Some("pulseops_incident"));
    }

    #[test]
    fn names_that_could_be_sql_are_refused() {
        let error = Db::connect(&DbConfig::new("host=x"), "auth; DROP").expect_err("refused");
        assert_eq!(error.code, "invalid_service");
    }

    #[test]
    fn a_bad_url_is_told_without_its_password() {
        let error = parse("postgres://me:secret@host:notaport/db").expect_err("bad port");
        assert_eq!(error.code, "invalid_database_url");
        assert!(!error.to_string().contains("secret"));
    }
}
