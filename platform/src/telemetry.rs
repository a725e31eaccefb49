//! Logs and metrics of the process: tracing as JSON or for people, Prometheus by pull.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::{Error, Result};

/// Bounds of the histograms named `*_seconds`.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How often recorded values move into their histograms when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `pretty` on a terminal, else `json`.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
}

/// Section `telemetry` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub format: Format,
    /// What is logged, in the language of `RUST_LOG` (which is an alias of this key).
    pub filter: String,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { format: Format::Auto, filter: "info".to_owned() }
    }
}

/// Installs logs, metrics and the logging of panics for the whole process. A second call changes
/// nothing.
///
/// # Errors
/// Invalid, code `invalid_filter`.
pub fn init(config: &TelemetryConfig) -> Result<()> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| Error::invalid("invalid_filter", format!("telemetry.filter: {error}")))?;
    if METRICS.get().is_some() {
        return Ok(());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map_err(Error::internal)?
        .install_recorder()
        .map_err(Error::internal)?;
    if METRICS.set(recorder).is_ok() {
        init_logs(config.format, filter)?;
        log_panics();
    }
    Ok(())
}

fn init_logs(format: Format, filter: EnvFilter) -> Result<()> {
    let pretty = match format {
        Format::Pretty => true,
        Format::Json => false,
        Format::Auto => std::io::stderr().is_terminal(),
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if pretty {
        logs.with_target(false).with_ansi(std::io::stderr().is_terminal()).finish().try_init()
    } else {
        logs.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()
    };
    installed.map_err(Error::internal)
}

/// A panic becomes one log line in the log's format.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(panic.message = message, panic.at = at, thread, %backtrace, "panic");
        // A failing test tells its runner, whose log may be off.
        if cfg!(feature = "testing") {
            before(panic);
        }
    }));
}

/// All metrics in Prometheus' text format; empty before [`init`].
pub fn render() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Keeps histograms small while nobody scrapes; ends with `shutdown`.
///
/// # Errors
/// None; the signature is that of a long task.
pub async fn upkeep(shutdown: CancellationToken) -> Result<()> {
    while shutdown.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        if let Some(metrics) = METRICS.get() {
            metrics.run_upkeep();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_with_bounds_in_seconds() {
        let bad = TelemetryConfig { filter: "=,=nonsense".to_owned(), ..TelemetryConfig::default() };
        assert_eq!(init(&bad).expect_err("refused").code, "invalid_filter");
        let quiet = TelemetryConfig { filter: "off".to_owned(), ..TelemetryConfig::default() };
        init(&quiet).expect("installed");
        init(&quiet).expect("nothing new");
        metrics::counter!("pulseops_test_things_total").increment(2);
        metrics::histogram!("pulseops_test_duration_seconds").record(0.004);
        let text = render();
        assert!(text.contains("pulseops_test_things_total 2"), "{text}");
        assert!(text.contains("pulseops_test_duration_seconds_bucket{le=\"0.005\"} 1"), "{text}");
    }
}
