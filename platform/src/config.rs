//! Configuration: an embedded TOML that names every key with its default, an overlay file, then the
//! environment (`PULSEOPS__SECTION__KEY`). The embedded text is also the list of known keys: what
//! it does not name is a mistake, and all mistakes are reported at once, each with where it stands.
//!
//! The embedded text follows two conventions: an optional text is `""` when unset, and an empty
//! table (`[database.urls]`) takes keys of any name.
//!
//! This is the only module that reads the environment.
#![expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]

mod sources;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use sources::Change;

/// Section `postgres`: the private server that runs when `database.url` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// Folder of `initdb` and `postgres`; empty finds the newest installed.
    pub bin_dir: String,
    /// Account that the server runs under when we are root; empty: pulseops, postgres or nobody.
    pub account: String,
}

impl PostgresConfig {
    /// Options of the server below `data_dir`.
    pub fn options(&self, data_dir: impl Into<PathBuf>) -> crate::postgres::Options {
        let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        crate::postgres::Options {
            bin_dir: set(&self.bin_dir).map(PathBuf::from),
            account: set(&self.account),
            ..crate::postgres::Options::new(data_dir)
        }
    }
}

/// The environment as far as configuration reads it.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// That of this process.
    pub fn process() -> Self {
        // Values that are not Unicode cannot be meant for us.
        std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(vars: I) -> Self {
        Self(vars.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The text embedded in the program.
    Default,
    /// The overlay file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the built-in defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, dotted; empty when it is not about one.
    pub key: String,
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.key.is_empty() { "" } else { ": " };
        write!(f, "{}{separator}{} (in {})", self.key, self.message, self.origin)
    }
}

/// All mistakes of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has mistakes:{}", .0.iter().map(|error| format!("\n  {error}")).collect::<String>())]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// Reads `default`, puts the file `overlay` over it and `environment` over that.
///
/// # Errors
/// Every unknown key, wrong type and refused value, wherever it stands.
pub fn load<T: DeserializeOwned>(
    default: &str,
    overlay: Option<&Path>,
    environment: &Environment,
) -> Result<T, ConfigErrors> {
    let base: Table = toml::from_str(default).map_err(|error| {
        let message = error.to_string();
        ConfigErrors(vec![ConfigError { key: String::new(), origin: Origin::Default, message }])
    })?;
    let mut errors = Vec::new();
    let mut changes = Vec::new();
    if let Some(path) = overlay {
        sources::read_file(&base, path, &mut changes, &mut errors);
    }
    sources::read_environment(&base, &environment.0, &mut changes, &mut errors);
    // One at a time over the defaults: so every refused value is found, and with its key.
    changes.retain(|change| match build::<T>(&base, std::slice::from_ref(change)) {
        Ok(_) => true,
        Err(message) => {
            errors.push(change.error(message));
            false
        }
    });
    match build(&base, &changes) {
        Ok(config) if errors.is_empty() => Ok(config),
        Ok(_) => Err(ConfigErrors(errors)),
        Err(message) => {
            errors.push(ConfigError { key: String::new(), origin: Origin::Default, message });
            Err(ConfigErrors(errors))
        }
    }
}

fn build<T: DeserializeOwned>(base: &Table, changes: &[Change]) -> Result<T, String> {
    let mut merged = base.clone();
    for change in changes {
        change.apply(&mut merged);
    }
    Value::Table(merged).try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// Folders that programs are looked for in.
pub(crate) fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// The server that tests use instead of starting one.
#[cfg(feature = "testing")]
pub(crate) fn test_database_url() -> Option<String> {
    std::env::var("PULSEOPS_TEST_DATABASE_URL").ok().filter(|url| !url.is_empty())
}

/// Whether tests write `schema.rs` instead of comparing it.
#[cfg(feature = "testing")]
pub(crate) fn update_schema() -> bool {
    std::env::var_os("UPDATE_SCHEMA").is_some()
}

/// Failpoints for a process under test.
#[cfg(feature = "testing")]
pub(crate) fn failpoints() -> String {
    std::env::var("PULSEOPS_FAILPOINTS").unwrap_or_default()
}
