//! The roles that a process can play, and what each is built from.

use std::fmt;

use platform::deps::{Deps, Service};
use platform::error::Result;
use platform::migrate::Migrations;

use crate::config::Config;

/// One service of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Role {
    /// REST, intake.
    Gateway,
    /// Who acts.
    Auth,
    /// Services, rules, alerts, incidents.
    Incident,
    /// Workflows and escalation.
    Workflow,
    /// Messages to people.
    Notification,
    /// How well it went.
    Analytics,
}

/// The tables of every service, in the order in which they are made.
pub fn migrations() -> [Migrations; 5] {
    [
        Migrations { owner: Role::Auth.name(), dir: &auth_service::MIGRATIONS },
        Migrations { owner: Role::Incident.name(), dir: &incident_service::MIGRATIONS },
        Migrations { owner: Role::Workflow.name(), dir: &workflow_service::MIGRATIONS },
        Migrations { owner: Role::Notification.name(), dir: &notification_service::MIGRATIONS },
        Migrations { owner: Role::Analytics.name(), dir: &analytics_service::MIGRATIONS },
    ]
}

impl Role {
    /// All roles, in the order in which they start: who is asked before who asks.
    pub const ALL: [Self; 6] =
        [Self::Auth, Self::Incident, Self::Notification, Self::Workflow, Self::Analytics, Self::Gateway];

    /// Its name in the configuration, on the command line and in tokens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Auth => "auth",
            Self::Incident => "incident",
            Self::Workflow => "workflow",
            Self::Notification => "notification",
            Self::Analytics => "analytics",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The proto package whose services it serves.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Gateway => "pulseops.api.v1",
            Self::Auth => "pulseops.auth.v1",
            Self::Incident => "pulseops.incident.v1",
            Self::Workflow => "pulseops.workflow.v1",
            Self::Notification => "pulseops.notification.v1",
            Self::Analytics => "pulseops.analytics.v1",
        }
    }

    /// The pool of its tables; the gateway has none and works with the log.
    pub const fn database(self) -> &'static str {
        match self {
            Self::Gateway => "bus",
            role => role.name(),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Builds a role other than the gateway, which has a REST face too.
///
/// # Errors
/// Those of the role's `build`.
pub(crate) async fn build(role: Role, deps: &Deps, config: &Config) -> Result<Option<Service>> {
    Ok(Some(match role {
        Role::Gateway => return Ok(None),
        Role::Auth => auth_service::build(deps, &config.auth).await?,
        Role::Incident => incident_service::build(deps, &config.incident).await?,
        Role::Workflow => workflow_service::build(deps, &config.workflow).await?,
        Role::Notification => notification_service::build(deps, &config.notification()).await?,
        Role::Analytics => analytics_service::build(deps).await?,
    }))
}
