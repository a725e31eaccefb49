//! `consumers`: where each of them stands in its log, and the way on for one that stands still.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use platform::bus::Bus;
use platform::bus::postgres::PostgresBus;
use platform::consumer::{self, Log, Position, SeekTo};
use platform::db::{Db, DbConfig};
use platform::deps::Databases;
use platform::error::Kind;
use platform::source::Source;
use platform::wake::Wakes;

use crate::config::Config;
use crate::ground;
use crate::roles::Role;

/// What to do.
#[derive(Clone, Debug, Default, Subcommand)]
pub enum Command {
    /// Lists where every consumer stands.
    #[default]
    List,
    /// Makes a consumer go on elsewhere in its log, where it stands still.
    Seek {
        /// Its name, as the list shows it.
        consumer: String,
        /// Where.
        #[arg(long)]
        to: To,
        /// This partition, also when the consumer does not stand still there.
        #[arg(long)]
        partition: Option<i32>,
        /// Says that records may be skipped or applied again.
        #[arg(long)]
        yes: bool,
    },
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// With the oldest record that is kept; old failures may count again.
    Oldest,
    /// With what comes from now on; what was not applied is skipped.
    Newest,
}

/// Runs it on the configured database, or on the private one, which runs meanwhile.
///
/// # Errors
/// Those of the database; a consumer that is not there; skipping that nobody said yes to.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Seek { to: To::Newest, yes: false, .. } => {
            bail!("this skips what was not applied: say --yes")
        }
        Command::Seek { to: To::Oldest, yes: false, .. } => {
            bail!("this applies again what a service no longer remembers, and may page for it: say --yes")
        }
        _ => {}
    }
    let running = if config.database.url.is_empty() { ground::running(config) } else { None };
    let (database, embedded) = match running {
        Some(url) => (DbConfig { url, ..config.database.clone() }, None),
        None => ground::database(config).await?,
    };
    let done = on(database, command).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    done
}

async fn on(database: DbConfig, command: Command) -> anyhow::Result<()> {
    let databases = Databases::new(database);
    let bus = PostgresBus::new(databases.open("bus")?, Source::system(), Wakes::default());
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Gateway) {
        let db = databases.open(role.database())?;
        let positions = consumer::positions(&db).await.context("is the database migrated?")?;
        match &command {
            Command::List => list(role, &positions, &bus).await?,
            Command::Seek { consumer: wanted, to, partition, .. } => {
                let named =
                    |at: &&Position| *wanted == at.consumer || *wanted == format!("{role}.{}", at.consumer);
                let own: Vec<&Position> = positions.iter().filter(named).collect();
                if let Some(first) = own.first() {
                    let log = Log::read(&bus, &first.topic).await?;
                    return seek(&db, &log, &own, *to, *partition).await;
                }
            }
        }
    }
    match command {
        Command::List => Ok(()),
        Command::Seek { consumer, .. } => bail!("there is no consumer {consumer}: see pulseops consumers"),
    }
}

/// Where it stands still, or in the one partition that was named.
async fn seek(db: &Db, log: &Log, own: &[&Position], to: To, partition: Option<i32>) -> anyhow::Result<()> {
    let wanted = |at: &&&Position| match partition {
        Some(partition) => at.partition == partition,
        None => log.behind(at).is_err(),
    };
    let chosen: Vec<&Position> = own.iter().filter(wanted).copied().collect();
    if let Some(partition) = partition.filter(|_| chosen.is_empty()) {
        bail!("it has no partition {partition}: see pulseops consumers");
    }
    let to = match to {
        To::Oldest => SeekTo::Oldest,
        To::Newest => SeekTo::Newest,
    };
    consumer::seek(db, log, &chosen, to).await?;
    match own.first().filter(|_| !chosen.is_empty()) {
        Some(first) => {
            println!("{} goes on in {} partitions of {}", first.consumer, chosen.len(), first.topic)
        }
        None => println!("it stands still nowhere: nothing was moved"),
    }
    Ok(())
}

async fn list(role: Role, positions: &[Position], bus: &dyn Bus) -> anyhow::Result<()> {
    let mut logs: BTreeMap<&str, Option<Log>> = BTreeMap::new();
    for at in positions {
        if !logs.contains_key(&*at.topic) {
            let log = match Log::read(bus, &at.topic).await {
                // A bus that was restored empty: each of its consumers is to be seen all the same.
                Err(error) if error.kind == Kind::NotFound => None,
                log => Some(log?),
            };
            logs.insert(&at.topic, log);
        }
        let state = match logs[&*at.topic].as_ref().map(|log| log.behind(at)) {
            Some(Ok(behind)) => format!("{behind} behind"),
            Some(Err(error)) => format!("stands still: {}", error.detail),
            None => "stands still: there is no such topic".to_owned(),
        };
        let name = format!("{role}.{}", at.consumer);
        println!("{name:<24} {} {:>2}  at {:<10} {state}", at.topic, at.partition, at.next);
    }
    Ok(())
}
