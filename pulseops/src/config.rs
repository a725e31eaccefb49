//! The whole configuration: `config.default.toml` names every key, an overlay file and the environment
//! change some. The sections of the services are their own types.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use platform::config::Environment;
use platform::db::DbConfig;
use platform::egress::{EgressConfig, Policy};
use platform::secret::{DeploymentSecret, Secret};
use platform::telemetry::TelemetryConfig;
use serde::{Deserialize, Deserializer, Serialize};
use tracing_subscriber::EnvFilter;

use crate::roles::Role;

/// Every key with its default and what it means.
pub const DEFAULT: &str = include_str!("config.default.toml");
/// Read when it exists and no other file is named.
const OVERLAY: &str = "pulseops.toml";

/// The configuration of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the private Postgres, its lock and the secret lie.
    pub data_dir: PathBuf,
    /// The deployment's secret; empty means the file in `data_dir`.
    #[serde(deserialize_with = "secret")]
    pub secret: Secret<String>,
    /// The REST face.
    pub rest: Rest,
    /// The one gRPC port of `up`.
    pub grpc: Grpc,
    /// Where each role of `serve` is.
    pub services: Services,
    /// The database.
    pub database: DbConfig,
    /// When migrations run.
    pub migrate: Migrate,
    /// The private Postgres.
    pub postgres: platform::config::PostgresConfig,
    /// The bus.
    pub bus: Bus,
    /// Logs.
    pub telemetry: TelemetryConfig,
    /// The way out. Use [`Config::egress`].
    pub egress: EgressConfig,
    /// The mail server.
    pub smtp: notification_service::Smtp,
    /// The gateway's limits.
    pub gateway: api_gateway::Config,
    /// auth-service.
    pub auth: auth_service::Config,
    /// incident-service.
    pub incident: incident_service::Config,
    /// workflow-service.
    pub workflow: workflow_service::Config,
    /// notification-service.
    pub notification: notification_service::Delivery,
    /// The demo.
    pub demo: Demo,
}

/// Section `rest`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// Address and port.
    pub listen: SocketAddr,
}

/// Section `grpc`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Address and port.
    pub listen: SocketAddr,
    /// The longest that a call may take.
    pub deadline_ms: u64,
    /// The largest message that whoever is no service may send.
    pub body_limit_bytes: usize,
}

/// Section `services`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Services {
    gateway: Place,
    auth: Place,
    incident: Place,
    workflow: Place,
    notification: Place,
    analytics: Place,
}

impl Services {
    /// Where `role` is.
    pub fn of(&self, role: Role) -> &Place {
        match role {
            Role::Gateway => &self.gateway,
            Role::Auth => &self.auth,
            Role::Incident => &self.incident,
            Role::Workflow => &self.workflow,
            Role::Notification => &self.notification,
            Role::Analytics => &self.analytics,
        }
    }

    /// [`of`](Self::of), to be changed.
    pub fn of_mut(&mut self, role: Role) -> &mut Place {
        match role {
            Role::Gateway => &mut self.gateway,
            Role::Auth => &mut self.auth,
            Role::Incident => &mut self.incident,
            Role::Workflow => &mut self.workflow,
            Role::Notification => &mut self.notification,
            Role::Analytics => &mut self.analytics,
        }
    }
}

/// Where a role is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Where it listens for gRPC in a process of `serve`.
    pub listen: SocketAddr,
    /// Where other processes find it: `http://host:port`.
    #[serde(deserialize_with = "address")]
    pub address: String,
}

/// Section `migrate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migrate {
    /// Whether pending migrations are applied on start.
    pub on_start: bool,
}

/// Section `bus`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// Which engine carries the log.
    pub engine: Engine,
}

/// The engines of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// A log in tables of the database.
    Postgres,
}

/// Section `demo`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// Where it listens for pages and retries.
    pub receiver: SocketAddr,
}

/// Every mistake of a configuration, one line each.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has mistakes:{}", .0.iter().map(|mistake| format!("\n  {mistake}")).collect::<String>())]
pub struct Mistakes(pub Vec<String>);

impl Config {
    /// The defaults, then the file, then `environment`.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Mistakes> {
        let usual = Path::new(OVERLAY);
        let file = file.or_else(|| usual.exists().then_some(usual));
        let config: Self = platform::config::load(DEFAULT, file, environment)
            .map_err(|errors| Mistakes(errors.0.iter().map(ToString::to_string).collect()))?;
        let mistakes = config.mistakes();
        if mistakes.is_empty() { Ok(config) } else { Err(Mistakes(mistakes)) }
    }

    /// What the types do not say.
    fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Err(error) = Policy::parse(&self.egress.allow) {
            found.push(error.detail);
        }
        if let Err(error) = EnvFilter::try_new(&self.telemetry.filter) {
            found.push(format!("telemetry.filter: {error}"));
        }
        let urls = self.database.urls.iter().map(|(service, url)| (format!("database.urls.{service}"), url));
        for (key, url) in urls.chain([("database.url".to_owned(), &self.database.url)]) {
            if !url.is_empty() && url.parse::<tokio_postgres::Config>().is_err() {
                // The text itself may hold a password.
                found.push(format!("{key}: is neither a PostgreSQL URL nor key=value pairs"));
            }
        }
        for service in self.database.urls.keys() {
            if service != "bus" && Role::parse(service).is_none() {
                found.push(format!("database.urls.{service}: is no service"));
            }
        }
        found
    }

    /// `egress`, with the demo's receiver as long as only this machine reaches the REST face.
    pub fn egress(&self) -> EgressConfig {
        let mut egress = self.egress.clone();
        if self.rest.listen.ip().is_loopback() {
            egress.allow.push(self.demo.receiver.to_string());
        }
        egress
    }

    /// What notification-service reads. Who calls from another machine does not read this one's log.
    pub fn notification(&self) -> notification_service::Config {
        let mut delivery = self.notification.clone();
        delivery.log_channel &= self.rest.listen.ip().is_loopback();
        notification_service::Config { smtp: self.smtp.clone(), delivery }
    }

    /// Where clients on this machine reach the REST face.
    pub fn url(&self) -> String {
        format!("http://{}", reachable(self.rest.listen))
    }

    /// The file of the deployment's secret.
    pub fn secret_file(&self) -> PathBuf {
        self.data_dir.join("secret")
    }
}

/// An address that can be called, of one that may mean all interfaces.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        address.set_ip(if listen.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if !text.is_empty() {
        DeploymentSecret::from_hex(&text).map_err(serde::de::Error::custom)?;
    }
    Ok(Secret::new(text))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let authority = text.strip_prefix("http://").unwrap_or_default();
    let port =
        authority.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
    match port {
        Some(Ok(_)) => Ok(text),
        _ => Err(serde::de::Error::custom("must be http://host:port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Config {
        platform::config::load(DEFAULT, None, &Environment::default()).expect("the embedded text")
    }

    fn with(variables: &[(&str, &str)]) -> Result<Config, Mistakes> {
        let environment = variables.iter().copied().collect();
        Config::load(Some(Path::new("/dev/null")), &environment)
    }

    /// The text documents what the code does: each section is its type's `Default`.
    #[test]
    fn the_text_says_the_defaults_of_the_sections() {
        let config = defaults();
        assert_eq!(format!("{:?}", config.database), format!("{:?}", DbConfig::default()));
        assert_eq!(config.telemetry, TelemetryConfig::default());
        assert_eq!(config.egress, EgressConfig::default());
        assert_eq!(config.postgres, platform::config::PostgresConfig::default());
        assert_eq!(config.notification(), notification_service::Config::default());
        assert_eq!(config.gateway, api_gateway::Config::default());
        assert_eq!(config.auth, auth_service::Config::default());
        assert_eq!(config.incident, incident_service::Config::default());
        assert_eq!(config.workflow, workflow_service::Config::default());
    }

    #[test]
    fn the_text_names_every_key_and_no_other() {
        let said: toml::Table = toml::from_str(DEFAULT).expect("TOML");
        let read = toml::Value::try_from(defaults()).expect("TOML");
        assert_eq!(keys(&toml::Value::Table(said)), keys(&read));
    }

    fn keys(value: &toml::Value) -> Vec<String> {
        let toml::Value::Table(table) = value else { return vec![String::new()] };
        table
            .iter()
            .flat_map(|(name, value)| keys(value).into_iter().map(move |key| format!("{name}.{key}")))
            .collect()
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mistakes = with(&[
            ("PULSEOPS__REST__LISTEN", "everywhere"),
            ("PULSEOPS__SERVICES__AUTH__ADDRESS", "auth:9091"),
            ("PULSEOPS__SECRET", "abc"),
            ("PULSEOPS__BUS__ENGINE", "pigeon"),
            ("PULSEOPS__SMPT__HOST", "mail"),
        ])
        .expect_err("five mistakes");
        let text = mistakes.to_string();
        for key in ["rest.listen", "services.auth.address", "secret", "bus.engine", "smpt.host"] {
            assert!(text.contains(key), "{key}: {text}");
        }
        assert!(!text.contains("abc"), "{text}");
    }

    #[test]
    fn what_types_do_not_say_is_checked_too() {
        let mistakes = with(&[
            ("PULSEOPS__EGRESS__ALLOW", "localhost"),
            ("RUST_LOG", "=,=nonsense"),
            ("DATABASE_URL", "postgres://me:hidden@host:port/db"),
            ("PULSEOPS__DATABASE__URLS__BILLING", "postgres://host/db"),
        ])
        .expect_err("four mistakes");
        assert_eq!(mistakes.0.len(), 4, "{mistakes}");
        assert!(!mistakes.to_string().contains("hidden"));
    }

    #[test]
    fn the_demo_may_be_called_while_only_this_machine_is_served() {
        let mut config = defaults();
        assert_eq!(config.egress().allow, ["127.0.0.1:8099"]);
        config.rest.listen = "0.0.0.0:8080".parse().expect("an address");
        assert!(config.egress().allow.is_empty());
        assert_eq!(config.url(), "http://127.0.0.1:8080");
    }
}
