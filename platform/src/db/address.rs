//! Connections: their address, their role, and what is set on each.

use std::time::Duration;

use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures::FutureExt;

use super::DbConfig;
use crate::error::{Error, Result, chain};
use crate::wake::{OnCommit, Wakes};

/// No connection may hold a transaction, or a dead peer, for longer than a lease lasts.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Parses a URL or key=value text and sets what every connection of ours needs.
pub(crate) fn parse(url: &str) -> Result<tokio_postgres::Config> {
    let mut config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let detail = format!("the database URL cannot be read: {}", chain(&error));
        Error::invalid("invalid_database_url", detail)
    })?;
    if config.get_user().is_none() {
        config.user("postgres");
    }
    // The user timeout ends what is not acknowledged; probes end waiting for an answer that nobody
    // will send.
    config.connect_timeout(LEASE).tcp_user_timeout(LEASE);
    config.keepalives_idle(PROBE_EVERY).keepalives_interval(PROBE_EVERY).keepalives_retries(2);
    Ok(config)
}

pub(super) fn manager(
    address: tokio_postgres::Config,
    role: String,
    wakes: Wakes,
) -> AsyncDieselConnectionManager<AsyncPgConnection> {
    let mut manager = ManagerConfig::default();
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |_| {
        let (address, role, wakes) = (address.clone(), role.clone(), wakes.clone());
        async move {
            let mut connection = establish(&address, &role).await?;
            connection.set_instrumentation(OnCommit::new(wakes));
            Ok(connection)
        }
        .boxed()
    });
    AsyncDieselConnectionManager::new_with_config("", manager)
}

pub(super) fn role_of(service: &str) -> String {
    format!("pulseops_{service}")
}

pub(super) fn service_address(config: &DbConfig, service: &str) -> Result<tokio_postgres::Config> {
    let plain = !service.is_empty() && service.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !plain {
        return Err(Error::invalid("invalid_service", format!("{service:?} is no service name")));
    }
    let mut address = config.address(service)?;
    let role = role_of(service);
    let options = format!(
        "{} -c search_path={role},pulseops -c idle_in_transaction_session_timeout={} \
         -c statement_timeout={} -c jit=off",
        address.get_options().unwrap_or_default(),
        LEASE.as_millis(),
        config.statement_timeout_ms,
    );
    address.options(options.trim()).application_name(&role);
    Ok(address)
}

async fn establish(
    address: &tokio_postgres::Config,
    role: &str,
) -> diesel::ConnectionResult<AsyncPgConnection> {
    let failed = |error: tokio_postgres::Error| diesel::ConnectionError::BadConnection(chain(&error));
    let (client, connection) = address.connect(tokio_postgres::NoTls).await.map_err(failed)?;
    let mut connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
    if address.get_user() != Some(role) {
        use diesel_async::SimpleAsyncConnection;
        let set_role = format!("SET ROLE {role}");
        connection
            .batch_execute(&set_role)
            .await
            .map_err(|error| diesel::ConnectionError::BadConnection(format!("{set_role}: {error}")))?;
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_path_and_timeouts_are_connection_options() {
        let config = DbConfig::new("host=/run/pg user=admin options='-c geqo=off'");
        let address = service_address(&config, "incident").expect("valid");
        let options = address.get_options().expect("set");
        assert!(options.starts_with("-c geqo=off -c search_path=pulseops_incident,pulseops"));
        assert!(options.contains("idle_in_transaction_session_timeout=3000"));
        assert_eq!(address.get_application_name(), Some("pulseops_incident"));
    }

    #[test]
    fn a_bad_url_is_told_without_its_password() {
        let error = parse("postgres://me:secret@host:notaport/db").expect_err("bad port");
        assert_eq!(error.code, "invalid_database_url");
        assert!(!error.to_string().contains("secret"));
    }
}
