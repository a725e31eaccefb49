//! `consumers`: where each of them stands in its log, and the way on for one that stands still.

use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use platform::bus::postgres::PostgresBus;
use platform::bus::{Bus, TopicSpec};
use platform::consumer::{self, Position, SeekTo};
use platform::db::DbConfig;
use platform::deps::Databases;
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
    /// Makes a consumer go on elsewhere in its log.
    Seek {
        /// Its name, as the list shows it.
        consumer: String,
        /// Where.
        #[arg(long)]
        to: To,
        /// Says that records may be skipped.
        #[arg(long)]
        yes: bool,
    },
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// With the oldest record that is kept.
    Oldest,
    /// With what comes from now on; what was not applied is skipped.
    Newest,
}

/// Runs it on the configured database, or on the private one, which runs meanwhile.
///
/// # Errors
/// Those of the database; a consumer that is not there; skipping that nobody said yes to.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    if let Command::Seek { to: To::Newest, yes: false, .. } = command {
        bail!("this skips what was not applied: say --yes");
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
            Command::Seek { consumer: name, to, .. } => {
                let Some(position) = positions.iter().find(|position| position.consumer == *name) else {
                    continue;
                };
                let to = match to {
                    To::Oldest => SeekTo::Oldest,
                    To::Newest => SeekTo::Newest,
                };
                let moved = consumer::seek(&db, &bus, name, &spec(&position.topic)?, to).await?;
                println!("{name} goes on in {moved} partitions of {}", position.topic);
                return Ok(());
            }
        }
    }
    match command {
        Command::List => Ok(()),
        Command::Seek { consumer, .. } => bail!("there is no consumer {consumer}: see pulseops consumers"),
    }
}

async fn list(role: Role, positions: &[Position], bus: &dyn Bus) -> anyhow::Result<()> {
    for at in positions {
        let topic = bus.ensure_topic(&spec(&at.topic)?).await?;
        let bounds = bus.bounds(&at.topic).await?;
        let bound = bounds.iter().find(|bound| bound.partition == at.partition);
        let bound = bound.with_context(|| format!("{} has no partition {}", at.topic, at.partition))?;
        let state = match () {
            () if at.log_id != topic.log_id => "stands still: belongs to another log".to_owned(),
            () if bound.check(at.next).is_err() => {
                format!("stands still: the log holds {} to {}", bound.start, bound.end)
            }
            () => format!("{} behind", bound.end - at.next),
        };
        println!("{role}.{:<12} {} {:>2}  at {:<10} {state}", at.consumer, at.topic, at.partition, at.next);
    }
    Ok(())
}

fn spec(name: &str) -> anyhow::Result<TopicSpec> {
    let known = proto::topics::ALL.iter().find(|topic| topic.name == name);
    let topic = known.with_context(|| format!("{name} is no topic of this version"))?;
    Ok(TopicSpec::new(topic.name, topic.partitions, topic.retention_ms))
}
