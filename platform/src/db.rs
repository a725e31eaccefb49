//! The way to the database: a small pool per service whose connections have become that service's
//! role, and transactions that carry their organization from the first byte on.
//!
//! Code opens transactions with [`tx!`](crate::tx), [`system_tx!`](crate::system_tx) and
//! [`mutation!`](crate::mutation); they commit on `Ok`, roll back on `Err` and run again after a
//! deadlock. [`Db::begin`] stands below them.
//!
//! TLS to Postgres is not built in: a URL with `sslmode=require` is refused at the first connection,
//! in plain words. Use a Unix socket, a private network or a local proxy.

mod address;
mod macros;
mod tx;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use serde::{Deserialize, Serialize};

pub(crate) use address::{LEASE, parse};
use address::{manager, role_of, service_address};
pub use tx::Tx;
#[doc(hidden)]
pub use tx::{settle, typed};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::wake::Wakes;

/// How to reach the database: section `database` of the configuration. Its URLs may hold passwords
/// and are not shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DbConfig {
    /// URL or key=value text as libpq knows them; empty means: start the embedded Postgres.
    pub url: String,
    /// A login of its own for a service, by the service's name; the others use `url`.
    pub urls: BTreeMap<String, String>,
    /// Connections of one service in one process; beside them one that only renews leases.
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
        let connections = config.max_connections.max(1);
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

    /// The same service over one more connection, kept for renewing leases: however busy the others are,
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
    fn names_that_could_be_sql_are_refused() {
        let error = Db::connect(&DbConfig::new("host=x"), "auth; DROP").expect_err("refused");
        assert_eq!(error.code, "invalid_service");
    }
}
