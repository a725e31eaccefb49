//! Where values come from, and that every mistake is told at once.

use std::path::PathBuf;

use platform::config::{self, ConfigErrors, Environment, Origin, PostgresConfig};
use platform::db::DbConfig;
use platform::egress::EgressConfig;
use platform::telemetry::{Format, TelemetryConfig};
use serde::Deserialize;

const DEFAULT: &str = r#"
data_dir = "./data"

[database]
url = ""
max_connections = 4
acquire_timeout_ms = 3000
statement_timeout_ms = 30000
[database.urls]

[telemetry]
format = "auto"
filter = "info"

[egress]
allow = []
connect_timeout_ms = 3000
timeout_ms = 10000
max_response_bytes = 65536

[grpc]
listen = "127.0.0.1:9090"
deadline_ms = 10000

[bus]
engine = "postgres"
poll_ms = 250

[postgres]
bin_dir = ""
account = ""

[tuning]
share = 0.5
on = true
"#;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrpcConfig {
    listen: String,
    deadline_ms: u64,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct BusConfig {
    engine: String,
    poll_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    data_dir: PathBuf,
    database: DbConfig,
    telemetry: TelemetryConfig,
    egress: EgressConfig,
    grpc: GrpcConfig,
    bus: BusConfig,
    postgres: PostgresConfig,
    tuning: Tuning,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tuning {
    share: f64,
    on: bool,
}

fn load(overlay: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("pulseops.toml");
    if let Some(text) = overlay {
        std::fs::write(&path, text).expect("written");
    }
    let environment: Environment = variables.iter().copied().collect();
    config::load(DEFAULT, overlay.map(|_| path.as_path()), &environment)
}

fn mistakes(overlay: Option<&str>, variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let errors = load(overlay, variables).expect_err("mistakes").0;
    errors.into_iter().map(|error| (error.key, error.message)).collect()
}

#[test]
fn the_embedded_text_is_the_default_of_every_section() {
    let config = load(None, &[]).expect("no mistakes");
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(toml::to_string(&config.database), toml::to_string(&DbConfig::default()));
    assert_eq!(config.telemetry, TelemetryConfig::default());
    assert_eq!(config.egress, EgressConfig::default());
    assert_eq!((config.grpc.listen.as_str(), config.grpc.deadline_ms), ("127.0.0.1:9090", 10_000));
    assert_eq!((config.bus.engine.as_str(), config.bus.poll_ms), ("postgres", 250));
    assert_eq!(config.postgres, PostgresConfig::default());
}

#[test]
fn the_file_goes_over_the_defaults_and_the_environment_over_both() {
    let file =
        "[grpc]\nlisten = '0.0.0.0:1'\ndeadline_ms = 5\n[tuning]\nshare = 1\n[database.urls]\nauth = 'a'";
    let variables = [
        ("PULSEOPS__GRPC__LISTEN", "0.0.0.0:2"),
        ("PULSEOPS__TUNING__ON", "false"),
        ("PULSEOPS__EGRESS__ALLOW", "10.0.0.0/8, host:80"),
        ("PULSEOPS__DATABASE__URLS__INCIDENT", "i"),
        ("PULSEOPS__TELEMETRY__FORMAT", "json"),
        ("UNRELATED", "x"),
    ];
    let config = load(Some(file), &variables).expect("no mistakes");
    assert_eq!((config.grpc.listen.as_str(), config.grpc.deadline_ms), ("0.0.0.0:2", 5));
    assert_eq!(config.tuning, Tuning { share: 1.0, on: false });
    assert_eq!(config.egress.allow, ["10.0.0.0/8", "host:80"]);
    assert_eq!(config.database.urls["auth"], "a");
    assert_eq!(config.database.urls["incident"], "i");
    assert_eq!(config.telemetry.format, Format::Json);
}

#[test]
fn aliases_give_way_to_the_full_name() {
    let config = load(None, &[("DATABASE_URL", "one"), ("RUST_LOG", "debug")]).expect("fine");
    assert_eq!((config.database.url.as_str(), config.telemetry.filter.as_str()), ("one", "debug"));
    let both = [("DATABASE_URL", "one"), ("PULSEOPS__DATABASE__URL", "two")];
    assert_eq!(load(None, &both).expect("fine").database.url, "two");
    assert_eq!(load(None, &[("DATABASE_URL", "")]).expect("fine").database.url, "");
}

#[test]
fn all_mistakes_are_told_at_once_with_their_keys() {
    let file =
        "color = 1\n[grpc]\nlisten = 5\nlsten = 'x'\n[telemetry]\nformat = 'shouting'\n[bus]\npoll_ms = -1";
    let variables =
        [("PULSEOPS__TUNING__ON", "maybe"), ("PULSEOPS__NO__SUCH", "1"), ("PULSEOPS__GRPC", "all")];
    let mut found = mistakes(Some(file), &variables);
    found.sort();
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    let expected = [
        "bus.poll_ms",
        "color",
        "grpc",
        "grpc.listen",
        "grpc.lsten",
        "no.such",
        "telemetry.format",
        "tuning.on",
    ];
    assert_eq!(keys, expected);
    assert_eq!(found[3].1, "must be a text, is a whole number");
    assert_eq!(found[4].1, "is no known key");
    assert!(found[6].1.contains("shouting"), "{}", found[6].1);
    assert_eq!(found[7].1, "must be true or false, is \"maybe\"");
}

#[test]
fn mistakes_say_where_they_stand() {
    let errors = load(None, &[("PULSEOPS__GRPC__DEADLINE_MS", "soon")]).expect_err("no number");
    assert_eq!(errors.0[0].origin, Origin::Variable("PULSEOPS__GRPC__DEADLINE_MS".to_owned()));
    let text = errors.to_string();
    assert!(text.contains("grpc.deadline_ms: must be a whole number"), "{text}");
    assert!(text.contains("(in PULSEOPS__GRPC__DEADLINE_MS)"), "{text}");
    assert!(mistakes(Some("not toml"), &[])[0].1.starts_with("is not TOML"));
    let missing = config::load::<Config>(DEFAULT, Some("/nowhere".as_ref()), &Environment::default());
    assert!(missing.expect_err("no file").to_string().contains("/nowhere"));
}
