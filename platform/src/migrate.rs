//! Migrations: plain SQL, up and down, in folders `NNNN_name/{up,down}.sql`, one tree per owner.
//!
//! Owners: `database` (schema `pulseops`: roles, clock, helpers) runs first, then `bus`, then each
//! service; a service gets the mechanisms' tables inside its own schema before its own migrations
//! (kept under the owner name `<service>.mechanisms`). Everything that is pending runs in one
//! transaction under an advisory lock, as role `pulseops_owner`, with the owner's schema first in
//! the search path, so the SQL is unqualified.
//!
//! Row-level security is forced: a migration that moves rows of tenants does it under
//! `SET LOCAL ROLE pulseops_<service>_sys` and ends with `SET LOCAL ROLE pulseops_owner`.

use std::collections::HashMap;

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use crate::db;
use crate::error::{Error, Result};

/// Held while migrations run; one number for all processes on this database.
const LOCK: i64 = 0x7075_6c73_656f_7073;

static DATABASE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../migrations/database");
static BUS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../migrations/bus");
static MECHANISMS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../migrations/mechanisms");

/// One owner's migrations, embedded with `include_dir!`. A build script with
/// `cargo::rerun-if-changed` on the folder makes cargo notice a new file.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// Name of the service: `incident` for schema `pulseops_incident`.
    pub owner: &'static str,
    /// The folder with one folder per migration.
    pub dir: &'static Dir<'static>,
}

/// One step up or down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who owns it, as table `pulseops.migrations` names it.
    pub owner: String,
    /// Number of the migration, from 1.
    pub version: i32,
    /// The rest of the folder's name.
    pub name: String,
    schema: String,
    service: Option<String>,
    up: &'static str,
    down: &'static str,
}

/// Applies everything that is pending and returns it in order. `services` come after `database` and
/// `bus`, which are always there.
///
/// # Errors
/// Unavailable when the database does not answer; Internal with the failing migration's name, after
/// which nothing of this run is applied.
pub async fn run(url: &str, services: &[Migrations]) -> Result<Vec<Step>> {
    let mut client = connect(url).await?;
    let steps = steps(services)?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let applied = applied(transaction.client()).await?;
    let mut done = Vec::new();
    for step in steps {
        match applied.get(&(step.owner.clone(), step.version)) {
            Some(name) if *name == step.name => {}
            Some(name) => return Err(renamed(&step, name)),
            None => {
                step.apply(transaction.client()).await?;
                tracing::info!(owner = step.owner, version = step.version, name = step.name, "migrated");
                done.push(step);
            }
        }
    }
    transaction.commit().await?;
    Ok(done)
}

/// Takes back everything that is applied of `services` (and, with `all`, of `bus` and `database`),
/// newest first, and returns it in that order. Data goes with it.
///
/// # Errors
/// As [`run`].
pub async fn revert(url: &str, services: &[Migrations], all: bool) -> Result<Vec<Step>> {
    let mut client = connect(url).await?;
    let mut steps = steps(services)?;
    if !all {
        steps.retain(|step| step.service.as_deref().is_some_and(|service| service != "bus"));
    }
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let applied = applied(transaction.client()).await?;
    steps.retain(|step| applied.contains_key(&(step.owner.clone(), step.version)));
    steps.reverse();
    for step in &steps {
        step.revert(transaction.client()).await?;
    }
    transaction.commit().await?;
    Ok(steps)
}

/// The steps of this program that the database does not have yet; what `doctor` asks.
///
/// # Errors
/// Unavailable when the database does not answer.
pub async fn pending(url: &str, services: &[Migrations]) -> Result<Vec<Step>> {
    let client = connect(url).await?;
    let applied = applied(&client).await?;
    let mut steps = steps(services)?;
    steps.retain(|step| !applied.contains_key(&(step.owner.clone(), step.version)));
    Ok(steps)
}

/// A short hash over everything that [`run`] would execute: equal hashes make equal databases.
///
/// # Errors
/// Internal when a folder is not a migration.
pub fn fingerprint(services: &[Migrations]) -> Result<String> {
    let mut hash = Sha256::new();
    for step in steps(services)? {
        for part in [&step.owner, &step.name, step.up, step.down] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

/// All steps in the order in which they run.
fn steps(services: &[Migrations]) -> Result<Vec<Step>> {
    let mut steps = read(&DATABASE, "database", "pulseops", None)?;
    steps.extend(read(&BUS, "bus", "pulseops_bus", Some("bus"))?);
    for &Migrations { owner, dir } in services {
        let schema = format!("pulseops_{owner}");
        steps.extend(read(&MECHANISMS, &format!("{owner}.mechanisms"), &schema, Some(owner))?);
        steps.extend(read(dir, owner, &schema, Some(owner))?);
    }
    Ok(steps)
}

fn read(dir: &'static Dir<'static>, owner: &str, schema: &str, service: Option<&str>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for folder in dir.dirs() {
        let label = folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let broken = |why: &str| Error::internal(format!("migration {owner}/{label}: {why}"));
        let (version, name) = label.split_once('_').ok_or_else(|| broken("must be NNNN_name"))?;
        let text = |file: &str| {
            folder
                .get_file(folder.path().join(file))
                .and_then(|file| file.contents_utf8())
                .ok_or_else(|| broken(&format!("has no {file}")))
        };
        steps.push(Step {
            owner: owner.to_owned(),
            version: version.parse().map_err(|_| broken("must begin with a number"))?,
            name: name.to_owned(),
            schema: schema.to_owned(),
            service: service.map(str::to_owned),
            up: text("up.sql")?,
            down: text("down.sql")?,
        });
    }
    steps.sort_by_key(|step| step.version);
    if let Some(twice) = steps.windows(2).find(|pair| pair[0].version == pair[1].version) {
        let (version, name) = (twice[1].version, &twice[1].name);
        return Err(Error::internal(format!("{owner}: version {version} twice ({name})")));
    }
    Ok(steps)
}

impl Step {
    async fn apply(&self, client: &Client) -> Result<()> {
        if let Some(service) = &self.service {
            client.execute("SELECT pulseops.create_service($1)", &[service]).await?;
        }
        self.execute(client, self.up).await?;
        client
            .execute(
                "INSERT INTO pulseops.migrations (owner, version, name, applied_at) \
                 VALUES ($1, $2, $3, pulseops.now())",
                &[&self.owner, &self.version, &self.name],
            )
            .await?;
        Ok(())
    }

    async fn revert(&self, client: &Client) -> Result<()> {
        client
            .execute(
                "DELETE FROM pulseops.migrations WHERE owner = $1 AND version = $2",
                &[&self.owner, &self.version],
            )
            .await?;
        self.execute(client, self.down).await
    }

    /// Runs `sql` as the owner of tables, except that the ground itself is laid by whoever migrates:
    /// it makes the roles.
    async fn execute(&self, client: &Client, sql: &str) -> Result<()> {
        let result = match self.service {
            None => client.batch_execute(sql).await,
            Some(_) => {
                let sql = format!(
                    "SET LOCAL ROLE pulseops_owner; SET LOCAL search_path = {}, pulseops;\n{sql}\n\
                     ;RESET ROLE; SET LOCAL search_path TO DEFAULT",
                    self.schema
                );
                client.batch_execute(&sql).await
            }
        };
        result.map_err(|error| {
            let told = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
            Error::internal(format!("migration {}/{:04}_{}: {told}", self.owner, self.version, self.name))
        })
    }
}

async fn connect(url: &str) -> Result<Client> {
    let mut config = db::parse(url)?;
    config.application_name("pulseops_migrate");
    // What is there already is no news to whoever starts the platform.
    let options = format!("{} -c client_min_messages=warning", config.get_options().unwrap_or_default());
    config.options(options.trim_start());
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "the migration connection broke");
        }
    });
    Ok(client)
}

async fn applied(client: &Client) -> Result<HashMap<(String, i32), String>> {
    let there = client.query_one("SELECT to_regclass('pulseops.migrations') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(HashMap::new());
    }
    let rows = client.query("SELECT owner, version, name FROM pulseops.migrations", &[]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
}

fn renamed(step: &Step, name: &str) -> Error {
    Error::internal(format!(
        "migration {} {:04} is {name:?} in the database and {:?} in this program: \
         they do not belong together",
        step.owner, step.version, step.name
    ))
}
