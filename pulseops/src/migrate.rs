//! `migrate`: migrations by hand, for deployments that do not migrate on start.

use anyhow::bail;
use clap::Subcommand;
use platform::migrate::Step;

use crate::config::Config;
use crate::ground;
use crate::roles::{Role, migrations};

/// What to do.
#[derive(Clone, Debug, Default, Subcommand)]
pub enum Command {
    /// Applies everything that is pending.
    #[default]
    Up,
    /// Takes back the migrations of services. Their data goes with it.
    Down {
        /// Whose; every service's when none is named.
        roles: Vec<Role>,
        /// The bus and the ground beneath the services too.
        #[arg(long, conflicts_with = "roles")]
        all: bool,
        /// Says that the data may go.
        #[arg(long)]
        yes: bool,
    },
    /// Lists what is pending.
    Status,
}

impl Command {
    /// What can be said without a database.
    fn check(&self) -> anyhow::Result<()> {
        let Self::Down { roles, yes, .. } = self else { return Ok(()) };
        let owners = migrations().map(|owned| owned.owner);
        if let Some(role) = roles.iter().find(|role| !owners.contains(&role.name())) {
            bail!("{role} has no tables");
        }
        if !yes {
            bail!("this deletes data: say --yes");
        }
        Ok(())
    }
}

/// Runs it on the configured database, or on the private one, which runs meanwhile.
///
/// # Errors
/// Those of the database; a `down` that nobody said yes to, or beneath a process that runs.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    platform::telemetry::init(&config.telemetry)?;
    command.check()?;
    if config.database.url.is_empty() {
        if let Some(url) = ground::running(config) {
            if matches!(command, Command::Down { .. }) {
                bail!("a pulseops runs on {}: stop it before its tables go", config.data_dir.display());
            }
            return on(&url, command).await;
        }
        if matches!(command, Command::Status) && !ground::exists(config) {
            println!("everything pending: there is no database in {} yet", config.data_dir.display());
            return Ok(());
        }
    }
    let (database, embedded) = ground::database(config).await?;
    let done = on(&database.url, command).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    done
}

async fn on(url: &str, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up => tell("applied", &platform::migrate::run(url, &migrations()).await?),
        Command::Status => tell("pending", &platform::migrate::pending(url, &migrations()).await?),
        Command::Down { roles, all, .. } => {
            let named = |owner: &str| roles.is_empty() || roles.iter().any(|role| role.name() == owner);
            let chosen: Vec<_> = migrations().into_iter().filter(|m| named(m.owner)).collect();
            tell("taken back", &platform::migrate::revert(url, &chosen, all).await?);
        }
    }
    Ok(())
}

fn tell(what: &str, steps: &[Step]) {
    for step in steps {
        println!("{what}: {} {:04} {}", step.owner, step.version, step.name);
    }
    if steps.is_empty() {
        println!("nothing {what}");
    }
}
