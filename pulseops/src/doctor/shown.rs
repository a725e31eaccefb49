//! The configuration as it may be shown.

use toml::{Table, Value};

use crate::config::{Config, DEFAULT};

const HIDDEN: &str = "[redacted]";

/// What differs from the defaults, without secrets.
pub fn configuration(config: &Config) -> anyhow::Result<String> {
    let mut shown = Table::try_from(config)?;
    if let Some(Value::Table(database)) = shown.get_mut("database") {
        hide_passwords(database);
    }
    let mut default: Table = toml::from_str(DEFAULT)?;
    // A secret is written as [redacted] whether it is set or not.
    if config.secret.expose().is_empty() {
        default.insert("secret".to_owned(), HIDDEN.into());
    }
    if let Some(Value::Table(smtp)) =
        default.get_mut("smtp").filter(|_| config.smtp.password.expose().is_empty())
    {
        smtp.insert("password".to_owned(), HIDDEN.into());
    }
    let mut lines = vec!["configuration (what differs from the defaults):".to_owned()];
    difference(&shown, &default, "", &mut lines);
    if lines.len() == 1 {
        lines.push("  nothing".to_owned());
    }
    Ok(lines.join("\n") + "\n")
}

fn difference(shown: &Table, default: &Table, path: &str, lines: &mut Vec<String>) {
    for (name, value) in shown {
        match (value, default.get(name)) {
            (Value::Table(inner), Some(Value::Table(usual))) => {
                difference(inner, usual, &format!("{path}{name}."), lines);
            }
            (value, usual) if Some(value) != usual => lines.push(format!("  {path}{name} = {value}")),
            _ => {}
        }
    }
}

fn hide_passwords(database: &mut Table) {
    if let Some(Value::String(url)) = database.get_mut("url") {
        *url = address(url);
    }
    if let Some(Value::Table(urls)) = database.get_mut("urls") {
        for (_, url) in urls.iter_mut() {
            *url = address(url.as_str().unwrap_or_default()).into();
        }
    }
}

/// Where a connection text leads, without its password.
pub fn address(url: &str) -> String {
    use tokio_postgres::config::Host;
    if url.is_empty() {
        return String::new();
    }
    let Ok(parsed) = url.parse::<tokio_postgres::Config>() else { return HIDDEN.to_owned() };
    let hosts =
        parsed.get_hosts().iter().zip(parsed.get_ports().iter().map(Some).chain(std::iter::repeat(None)));
    let places: Vec<String> = hosts
        .map(|(host, port)| {
            let host = match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            };
            port.map_or(host.clone(), |port| format!("{host}:{port}"))
        })
        .collect();
    let user = parsed.get_user().unwrap_or("postgres");
    let password = if parsed.get_password().is_some() { format!(":{HIDDEN}") } else { String::new() };
    format!("postgres://{user}{password}@{}/{}", places.join(","), parsed.get_dbname().unwrap_or(user))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_what_differs_and_no_secret() {
        let secret = "ab".repeat(32);
        let variables = [
            ("PULSEOPS__SECRET", secret.as_str()),
            ("PULSEOPS__SMTP__PASSWORD", "hunter2"),
            ("PULSEOPS__DATABASE__URLS__AUTH", "host=db user=auth password=hunter3"),
            ("DATABASE_URL", "postgres://me:hunter4@db:6543/ops"),
        ];
        let environment = variables.into_iter().collect();
        let config = Config::load(Some(Path::new("/dev/null")), &environment).expect("valid");
        let text = configuration(&config).expect("shown");
        assert!(!text.contains("hunter") && !text.contains("abab"), "{text}");
        assert!(text.contains("database.url = \"postgres://me:[redacted]@db:6543/ops\""), "{text}");
        assert!(text.contains("smtp.password = \"[redacted]\""), "{text}");
        assert!(!text.contains("rest.listen"), "{text}");
    }

    #[test]
    fn nothing_differs() {
        let environment = platform::config::Environment::default();
        let config = Config::load(Some(Path::new("/dev/null")), &environment).expect("valid");
        assert!(configuration(&config).expect("shown").contains("  nothing"));
    }
}
