//! What a process stands on before it plays any role: clock, secret, database.

use anyhow::{Context as _, bail};
use platform::db::{Db, DbConfig};
use platform::postgres::{Cluster, Embedded};
use platform::secret::DeploymentSecret;
use platform::source::Source;

use crate::config::Config;
use crate::roles::migrations;

/// The database in the private Postgres.
const DATABASE: &str = "pulseops";

/// Clock, secret and a migrated database.
pub struct Ground {
    /// Time, ids and randomness.
    pub source: Source,
    /// The deployment's secret.
    pub secret: DeploymentSecret,
    /// How pools reach the database.
    pub database: DbConfig,
    /// The private Postgres, when it is ours.
    embedded: Option<Embedded>,
}

/// How much of a deployment a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of it: it may make the deployment's secret and run the private Postgres.
    Whole,
    /// A part: secret and database are what the other processes have, too.
    Part,
}

impl Ground {
    /// On a database that somebody else runs and has migrated.
    pub fn on(source: Source, secret: DeploymentSecret, database: DbConfig) -> Self {
        Self { source, secret, database, embedded: None }
    }

    /// As the configuration says: starts the private Postgres unless there is a URL, and migrates.
    ///
    /// # Errors
    /// No secret, no Postgres, another process on the same data directory, a failed migration.
    pub async fn lay(config: &Config, share: Share) -> anyhow::Result<Self> {
        let source = Source::system();
        let secret = secret(config, &source, share)?;
        if share == Share::Part && config.database.url.is_empty() {
            bail!("roles in several processes share a database: set database.url (DATABASE_URL)");
        }
        let (database, embedded) = database(config).await?;
        let ground = Self { source, secret, database, embedded };
        if config.migrate.on_start {
            let migrated = platform::migrate::run(&ground.database.url, &migrations()).await;
            migrated.context("the database could not be migrated")?;
        }
        // Before the first lease is made.
        platform::clock::adjust(&ground.source, &Db::connect(&ground.database, "bus")?).await?;
        Ok(ground)
    }

    /// Stops what was started.
    pub async fn leave(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// The configured database, or the private one, started.
///
/// # Errors
/// Those of [`Embedded::start`].
pub async fn database(config: &Config) -> anyhow::Result<(DbConfig, Option<Embedded>)> {
    let mut database = config.database.clone();
    if !database.url.is_empty() {
        return Ok((database, None));
    }
    let embedded = Embedded::start(config.postgres.options(&config.data_dir)).await?;
    database.url = embedded.url().to_owned();
    Ok((database, Some(embedded)))
}

/// Whether there is a private database, running or not.
pub fn exists(config: &Config) -> bool {
    config.data_dir.join("postgres/PG_VERSION").exists()
}

/// Connection text of the private Postgres, while a process runs it.
pub fn running(config: &Config) -> Option<String> {
    // Preparing makes folders; without them nothing runs there.
    if !config.data_dir.join("postgres").exists() {
        return None;
    }
    let cluster = Cluster::prepare(&config.postgres.options(&config.data_dir)).ok()?;
    cluster.is_ready().then(|| cluster.url(DATABASE))
}

fn secret(config: &Config, source: &Source, share: Share) -> anyhow::Result<DeploymentSecret> {
    let given = config.secret.expose();
    if !given.is_empty() {
        return Ok(DeploymentSecret::from_hex(given)?);
    }
    let make = share == Share::Whole;
    Ok(DeploymentSecret::load_or_create(&config.secret_file(), source, make)?)
}
