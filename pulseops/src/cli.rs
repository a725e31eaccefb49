//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use platform::config::Environment;

use crate::config::Config;
use crate::roles::Role;
use crate::{consumers, demo, doctor, migrate, start};

/// Exit code of a configuration with mistakes.
const MISCONFIGURED: u8 = 2;

/// Incident response and automation.
#[derive(Parser)]
#[command(name = "pulseops", version)]
struct Cli {
    /// A file that names the settings that differ from the defaults; ./pulseops.toml when it exists.
    #[arg(long, short, global = true, env = "PULSEOPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Starts every role in this process (the default).
    Up,
    /// Starts these roles in this process; the others are called at services.<role>.address.
    Serve {
        #[arg(required = true)]
        roles: Vec<Role>,
    },
    /// Applies migrations, takes them back, or lists what is pending.
    Migrate {
        #[command(subcommand)]
        command: Option<migrate::Command>,
    },
    /// Lists where consumers stand in their logs, or makes one go on elsewhere.
    Consumers {
        #[command(subcommand)]
        command: Option<consumers::Command>,
    },
    /// Says what is missing or unreachable, and what to do about it.
    Doctor,
    /// Prints the OpenAPI document.
    Openapi,
    /// Plays the story on a running platform.
    Demo {
        /// Where the platform answers; rest.listen when not given.
        #[arg(long)]
        url: Option<String>,
        /// Where the demo listens for pages and retries; demo.receiver when not given.
        #[arg(long)]
        receiver: Option<SocketAddr>,
    },
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let loaded = Config::load(cli.config.as_deref(), &Environment::process());
    let command = cli.command.unwrap_or(Command::Up);
    let config = match loaded {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(MISCONFIGURED);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(run(command, config)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

async fn run(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up => start::up(&config).await?,
        Command::Serve { roles } => start::serve(&config, &roles).await?,
        Command::Migrate { command } => migrate::run(&config, command.unwrap_or_default()).await?,
        Command::Consumers { command } => consumers::run(&config, command.unwrap_or_default()).await?,
        Command::Doctor => return doctor::run(&config).await,
        Command::Openapi => print!("{}", api_gateway::openapi(&api_gateway::contract(&config.gateway)?)?),
        Command::Demo { url, receiver } => {
            let url = url.unwrap_or_else(|| config.url());
            let receiver = receiver.unwrap_or(config.demo.receiver);
            demo::run(demo::Options { url, receiver }).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("pulseops: {error:#}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
