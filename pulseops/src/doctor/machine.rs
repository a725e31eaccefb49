//! What can be said without the database: folders, programs, ports, mail.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use platform::postgres::Binaries;
use platform::secret::DeploymentSecret;
use platform::source::Source;
use tokio::net::{TcpListener, TcpStream};

use super::Finding;
use crate::config::{Config, reachable};

/// A private database with some days of events fits.
const LITTLE_SPACE: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(3);

pub async fn look(config: &Config) -> Vec<Finding> {
    let runs = runs_here(&config.data_dir);
    let mut findings = vec![data_dir(config), secret(config), binaries(config)];
    findings.push(port("rest.listen", config.rest.listen, runs, &config.url()).await);
    let grpc = format!("http://{}", reachable(config.grpc.listen));
    findings.push(port("grpc.listen", config.grpc.listen, runs, &grpc).await);
    findings.push(smtp(config).await);
    findings.push(egress(config));
    findings
}

/// Whether a process holds the data directory.
fn runs_here(data_dir: &Path) -> bool {
    let Ok(file) = std::fs::File::open(data_dir.join("lock")) else { return false };
    Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
}

fn data_dir(config: &Config) -> Finding {
    const ABOUT: &str = "data_dir";
    let wanted = &config.data_dir;
    let shown = wanted.display();
    // A folder that does not exist yet is made in the nearest one that does.
    let absolute = std::path::absolute(wanted).unwrap_or_else(|_| wanted.clone());
    let Some(there) = absolute.ancestors().find(|path| path.exists()) else {
        return Finding::bad(ABOUT, format!("{shown} cannot be found"), "set data_dir");
    };
    if !there.is_dir() {
        let is = format!("{} is not a folder", there.display());
        return Finding::bad(ABOUT, is, "set data_dir to a folder that this account may write");
    }
    if access(there, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let is = format!("{} cannot be written", there.display());
        return Finding::bad(ABOUT, is, "set data_dir to a folder that this account may write");
    }
    let free = statvfs(there).map(|volume| volume.blocks_available() * volume.fragment_size());
    match free {
        Ok(free) if free < LITTLE_SPACE => {
            let is = format!("{shown}: {} MB free", free >> 20);
            Finding::note(ABOUT, is, "make room, or set data_dir to a larger volume")
        }
        Ok(free) => Finding::good(ABOUT, format!("{shown}, {} GB free", free >> 30)),
        Err(error) => Finding::note(ABOUT, format!("{shown}: free space is not known: {error}"), ""),
    }
}

fn secret(config: &Config) -> Finding {
    const ABOUT: &str = "secret";
    if !config.secret.expose().is_empty() {
        return Finding::good(ABOUT, "given by the configuration");
    }
    let file = config.secret_file();
    if !file.exists() {
        let is = format!("{} does not exist yet", file.display());
        return Finding::note(
            ABOUT,
            is,
            "`pulseops up` makes it; `serve` needs the same one in every process",
        );
    }
    match DeploymentSecret::load_or_create(&file, &Source::system(), false) {
        Ok(_) => Finding::good(ABOUT, file.display().to_string()),
        Err(error) => {
            Finding::bad(ABOUT, error.to_string(), "restore it: what it sealed cannot be read without")
        }
    }
}

fn binaries(config: &Config) -> Finding {
    const ABOUT: &str = "postgres programs";
    if !config.database.url.is_empty() {
        return Finding::good(ABOUT, "not needed: database.url is set");
    }
    let set = &config.postgres.bin_dir;
    let dir = (!set.is_empty()).then(|| Path::new(set));
    let data = config.data_dir.join("postgres/PG_VERSION");
    let major = std::fs::read_to_string(data).ok().and_then(|text| text.trim().parse().ok());
    match Binaries::find(dir, major) {
        Ok(found) => Finding::good(ABOUT, format!("version {} in {}", found.major, found.dir.display())),
        Err(error) => {
            let (is, advice) = error.detail.split_once(": ").unwrap_or((&error.detail, "install PostgreSQL"));
            Finding::bad(ABOUT, is, advice)
        }
    }
}

async fn port(about: &'static str, listen: SocketAddr, runs: bool, url: &str) -> Finding {
    match TcpListener::bind(listen).await {
        Ok(_) if runs => {
            let is = format!("{listen} is free although a process holds data_dir");
            Finding::note(about, is, "it is starting or stopping, or listens elsewhere")
        }
        Ok(_) => Finding::good(about, format!("{listen} is free (nothing runs here)")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => answers(about, listen, url).await,
        Err(error) => Finding::bad(
            about,
            format!("{listen}: {error}"),
            format!("set {about} to an address of this machine"),
        ),
    }
}

/// Whether it is PulseOps that listens.
async fn answers(about: &'static str, listen: SocketAddr, url: &str) -> Finding {
    let asked = async {
        let client = platform::egress::operator_client(PATIENCE).ok()?;
        let status = client.get(format!("{url}/readyz")).send().await.ok()?.status();
        Some(status)
    };
    match asked.await {
        Some(status) if status.is_success() => Finding::good(about, format!("{listen} answers and is ready")),
        Some(status) if status.as_u16() == 503 => Finding::bad(
            about,
            format!("{listen} answers and is not ready"),
            "see the database below and the log",
        ),
        _ => Finding::bad(
            about,
            format!("{listen} belongs to another program"),
            format!("stop it, or set {about}"),
        ),
    }
}

async fn smtp(config: &Config) -> Finding {
    const ABOUT: &str = "smtp";
    let smtp = &config.smtp;
    if smtp.host.is_empty() {
        let advice = "set smtp.host, or give everybody a webhook";
        return Finding::note(ABOUT, "not set: nobody can be paged by email", advice);
    }
    let place = format!("{}:{}", smtp.host, smtp.port);
    match tokio::time::timeout(PATIENCE, TcpStream::connect(&place)).await {
        Ok(Ok(_)) => Finding::good(ABOUT, format!("{place} answers")),
        Ok(Err(error)) => {
            Finding::bad(ABOUT, format!("{place}: {error}"), "start the mail server, or correct smtp.host")
        }
        Err(_) => Finding::bad(
            ABOUT,
            format!("{place} does not answer"),
            "start the mail server, or correct smtp.host",
        ),
    }
}

fn egress(config: &Config) -> Finding {
    const ABOUT: &str = "egress.allow";
    let allow = config.egress().allow;
    if allow.is_empty() {
        return Finding::good(ABOUT, "public addresses only");
    }
    let opened = allow.join(", ");
    if config.rest.listen.ip().is_loopback() {
        return Finding::good(ABOUT, format!("public addresses and {opened}"));
    }
    let advice = "whoever may write a webhook or a workflow reaches these";
    Finding::note(ABOUT, format!("public addresses and {opened}"), advice)
}
