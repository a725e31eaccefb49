//! What the database says.

use std::time::Duration;

use platform::deps::Databases;
use platform::source::Source;
use tokio_postgres::{Client, NoTls};

use super::Finding;
use super::shown::address;
use crate::config::Config;
use crate::ground;
use crate::roles::{Role, migrations};

const PATIENCE: Duration = Duration::from_secs(3);
/// Processes go by the database's clock. Further apart than this, our timelines are hard to lay beside what
/// other programs of this machine log.
const SKEW_MS: i64 = 500;

pub async fn look(config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "postgres";
    let url = match &config.database.url {
        url if !url.is_empty() => url.clone(),
        _ => match ground::running(config) {
            Some(url) => url,
            None => {
                return vec![Finding::note(
                    ABOUT,
                    "the private server does not run",
                    "`pulseops up` starts it",
                )];
            }
        },
    };
    let client = match connect(&url).await {
        Ok(client) => client,
        Err(why) => {
            let advice = "start it, or correct database.url; unset, PulseOps runs its own";
            return vec![Finding::bad(ABOUT, format!("{}: {why}", address(&url)), advice)];
        }
    };
    let mut findings = vec![version(&client, &url).await, skew(&client).await, roles(&client).await];
    let migrated = pending(&url).await;
    let ready = migrated.verdict == super::Verdict::Good;
    findings.push(migrated);
    if ready {
        findings.push(bus(config, url).await);
        findings.extend(waiting(&client).await);
    }
    findings
}

async fn connect(url: &str) -> Result<Client, String> {
    let connecting = tokio::time::timeout(PATIENCE, tokio_postgres::connect(url, NoTls)).await;
    let connected = connecting.map_err(|_| "no answer".to_owned())?;
    let (client, connection) = connected.map_err(|error| platform::error::chain(&error))?;
    // Ends with its client.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

async fn version(client: &Client, url: &str) -> Finding {
    let shown = client.query_one("SHOW server_version", &[]).await;
    let version = shown.map(|row| row.get::<_, String>(0)).unwrap_or_default();
    Finding::good("postgres", format!("{}, version {version}", address(url)))
}

async fn skew(client: &Client) -> Finding {
    const ABOUT: &str = "clock";
    let source = Source::system();
    let before = source.now();
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
    let Ok(row) = client.query_one(sql, &[]).await else {
        return Finding::bad(ABOUT, "the database does not say its time", "see its log");
    };
    let half = (source.now() - before) / 2;
    let apart = row.get::<_, i64>(0) - (before + half).timestamp_millis();
    if apart.abs() > SKEW_MS {
        let is = format!("the database's clock is {apart} ms off ours");
        let advice =
            "the database's is used; let both follow the same time servers (chrony, systemd-timesyncd)";
        return Finding::note(ABOUT, is, advice);
    }
    Finding::good(ABOUT, format!("{apart} ms between the database and here"))
}

async fn roles(client: &Client) -> Finding {
    const ABOUT: &str = "database roles";
    let services = Role::ALL.into_iter().map(Role::database);
    let mut wanted: Vec<String> = vec!["pulseops_owner".to_owned()];
    for service in services {
        wanted.extend([format!("pulseops_{service}"), format!("pulseops_{service}_sys")]);
    }
    let sql = "SELECT w FROM unnest($1::text[]) w WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = w)";
    match client.query(sql, &[&wanted]).await {
        Ok(rows) if rows.is_empty() => Finding::good(ABOUT, format!("all {} are there", wanted.len())),
        Ok(rows) => {
            let missing: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let advice = "`pulseops migrate up` makes them; its login needs CREATEROLE";
            Finding::bad(ABOUT, format!("missing: {}", missing.join(", ")), advice)
        }
        Err(error) => Finding::bad(ABOUT, error.to_string(), "let the login read pg_roles"),
    }
}

async fn pending(url: &str) -> Finding {
    const ABOUT: &str = "migrations";
    match platform::migrate::pending(url, &migrations()).await {
        Ok(steps) if steps.is_empty() => Finding::good(ABOUT, "all are applied"),
        Ok(steps) => {
            let names: Vec<_> =
                steps.iter().map(|step| format!("{} {:04}", step.owner, step.version)).collect();
            Finding::bad(
                ABOUT,
                format!("pending: {}", names.join(", ")),
                "`pulseops migrate up`, or start it",
            )
        }
        Err(error) => Finding::bad(ABOUT, error.chain(), "let the login read schema pulseops"),
    }
}

async fn bus(config: &Config, url: String) -> Finding {
    const ABOUT: &str = "bus";
    let database = platform::db::DbConfig { url, ..config.database.clone() };
    let databases = Databases::new(database);
    let asked = async { databases.open("bus")?.ping().await };
    let finding = match asked.await {
        Ok(()) => Finding::good(ABOUT, "answers (engine postgres)"),
        Err(error) => Finding::bad(ABOUT, error.chain(), "let the login become role pulseops_bus"),
    };
    databases.close();
    finding
}

/// What waits for a person.
async fn waiting(client: &Client) -> Vec<Finding> {
    let looks = [
        (
            "dead letters",
            "pulseops_bus_sys",
            "SELECT count(*) FROM pulseops_bus.dead_letters WHERE state = 'dead'",
            "records that no consumer could apply",
            "look at GET /v1/dead-letters, then replay",
        ),
        (
            "dead deliveries",
            "pulseops_notification_sys",
            "SELECT count(*) FROM pulseops_notification.notifications WHERE status = 'dead'",
            "messages that nobody took",
            "look at GET /v1/notifications?status=dead, then replay",
        ),
        (
            "nobody reachable",
            "pulseops_notification_sys",
            "SELECT count(*) FROM pulseops_notification.messages WHERE nobody_reachable \
             AND created_at > pulseops.now() - interval '7 days'",
            "pages in seven days whose targets had no usable contact method",
            "give every member of the owner teams a contact method",
        ),
    ];
    let mut findings = Vec::new();
    for (about, role, sql, what, advice) in looks {
        findings.push(match count_as(client, role, sql).await {
            Ok(0) => Finding::good(about, "none"),
            Ok(count) => Finding::note(about, format!("{count} {what}"), advice),
            Err(error) => {
                let is = format!("could not be looked at: {}", platform::error::chain(&error));
                Finding::note(about, is, format!("let the login become role {role}"))
            }
        });
    }
    findings
}

async fn count_as(client: &Client, role: &str, sql: &str) -> Result<i64, tokio_postgres::Error> {
    client.batch_execute(&format!("SET ROLE {role}")).await?;
    let counted = client.query_one(sql, &[]).await;
    client.batch_execute("RESET ROLE").await?;
    counted.map(|row| row.get(0))
}
