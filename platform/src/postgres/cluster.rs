//! The cluster on disk: where it lies, how it is made, and what a killed server left behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use sha2::{Digest, Sha256};

use super::{Account, Binaries, Options, failed};
use crate::error::{Error, Result};

/// Superuser of the cluster.
const SUPERUSER: &str = "pulseops";
/// Where clusters go whose data directory the server's account cannot reach.
const ELSEWHERE: &str = "/var/lib/pulseops";
/// The longest path of a Unix socket, without what Postgres appends to the directory.
const MAX_SOCKET_DIR: usize = 107 - "/.s.PGSQL.5432".len() - 5;

/// A longer log is put aside when the server starts.
const MAX_LOG: u64 = 16 * 1024 * 1024;

/// Settings of a private server on a small machine.
const SETTINGS: [(&str, &str); 15] = [
    ("listen_addresses", ""),
    ("port", "5432"),
    ("max_connections", "100"),
    ("shared_buffers", "64MB"),
    ("effective_cache_size", "512MB"),
    ("work_mem", "8MB"),
    ("maintenance_work_mem", "64MB"),
    ("wal_buffers", "8MB"),
    ("max_wal_size", "1GB"),
    ("checkpoint_timeout", "10min"),
    ("random_page_cost", "1.1"),
    ("autovacuum_naptime", "10s"),
    ("autovacuum_vacuum_cost_delay", "0"),
    ("jit", "off"),
    ("log_min_messages", "warning"),
];

/// A cluster that this process may run.
#[derive(Clone, Debug)]
pub struct Cluster {
    dir: PathBuf,
    socket_dir: PathBuf,
    binaries: Binaries,
    account: Option<Account>,
    settings: Vec<(String, String)>,
}

/// Locks `data_dir` for this process, making it first. The lock ends with the returned value.
pub(super) fn lock(data_dir: &Path) -> Result<Flock<File>> {
    let io = |error| failed(format!("{}: {error}", data_dir.display()));
    fs::create_dir_all(data_dir).map_err(io)?;
    let path = data_dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(io)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        Error::unavailable(
            "data_dir_in_use",
            format!("another pulseops runs on {}: stop it or set data_dir", data_dir.display()),
        )
    })
}

impl Cluster {
    /// Finds binaries, account and place for the cluster of `options`; makes nothing yet but the
    /// way there.
    ///
    /// # Errors
    /// Unavailable: `postgres_missing` or `postgres_failed`.
    pub fn prepare(options: &Options) -> Result<Self> {
        let io = |error| failed(format!("{}: {error}", options.data_dir.display()));
        fs::create_dir_all(&options.data_dir).map_err(io)?;
        let data_dir = fs::canonicalize(&options.data_dir).map_err(io)?;
        let wished = data_dir.join("postgres");
        let account = Account::choose(&wished, options.account.as_deref())?;
        let dir = place(&wished, account.as_ref())?;
        let major = fs::read_to_string(dir.join("PG_VERSION")).ok();
        let major = major.and_then(|text| text.trim().parse().ok());
        let binaries = Binaries::find(options.bin_dir.as_deref(), major)?;
        let socket_dir = socket_dir(&dir, account.as_ref())?;
        Ok(Self { dir, socket_dir, binaries, account, settings: options.settings.clone() })
    }

    /// Where the cluster lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Connection text (key=value) for `database`, as superuser.
    pub fn url(&self, database: &str) -> String {
        let host = self.socket_dir.display().to_string().replace('\\', "\\\\").replace('\'', "\\'");
        format!("host='{host}' port=5432 user={SUPERUSER} dbname={database}")
    }

    /// Whether there is a cluster.
    pub fn exists(&self) -> bool {
        self.dir.join("PG_VERSION").exists()
    }

    /// Makes the cluster unless it exists. It appears whole or not at all.
    ///
    /// # Errors
    /// Unavailable, code `postgres_failed`, with what initdb said.
    pub fn initialize(&self) -> Result<()> {
        if self.exists() {
            return Ok(());
        }
        let io = |error| failed(format!("{}: {error}", self.dir.display()));
        let new = self.dir.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(io)?;
        }
        private_dir(&new, self.account.as_ref()).map_err(io)?;
        let mut initdb = self.run("initdb");
        initdb.arg("-D").arg(&new).args(["-U", SUPERUSER, "-E", "UTF8", "--locale=C"]);
        initdb.arg("--auth=trust");
        if self.settings.iter().any(|(key, value)| key == "fsync" && value == "off") {
            initdb.arg("--no-sync");
        }
        let output = initdb.output().map_err(|error| failed(format!("initdb: {error}")))?;
        if !output.status.success() {
            return Err(failed(format!("initdb: {}", String::from_utf8_lossy(&output.stderr).trim())));
        }
        if self.dir.exists() {
            // An empty folder that somebody made; anything else stays and is reported.
            fs::remove_dir(&self.dir).map_err(io)?;
        }
        fs::rename(&new, &self.dir).map_err(io)
    }

    /// The server's command, not started.
    pub fn server(&self) -> Result<Command> {
        if self.log_end() > MAX_LOG {
            // Losing an old log is better than not starting.
            let _ = fs::rename(self.log(), self.dir.with_extension("log.old"));
        }
        let log = OpenOptions::new().create(true).append(true).open(self.log());
        let log = log.map_err(|error| failed(format!("{}: {error}", self.log().display())))?;
        let mut command = self.run("postgres");
        command.arg("-D").arg(&self.dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.arg("-c").arg(format!("unix_socket_directories={}", self.socket_dir.display()));
        let given = self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in SETTINGS.into_iter().chain(given) {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        Ok(command)
    }

    /// Where the server writes what it has to say.
    pub fn log(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    /// How long the log is now; where a new life of the server begins in it.
    pub fn log_end(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |log| log.len())
    }

    /// The last lines of the log, none before position `from`.
    pub fn log_tail(&self, from: u64) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(log.len());
        let from = from.max(log.len().saturating_sub(4096));
        let text = String::from_utf8_lossy(&log[from..]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Whether the server that wrote `postmaster.pid` takes connections.
    pub fn is_ready(&self) -> bool {
        let text = fs::read_to_string(self.dir.join("postmaster.pid")).unwrap_or_default();
        text.lines().last().is_some_and(|line| line.trim() == "ready") && self.running().is_some()
    }

    /// The server that runs on this cluster now, whoever started it. A process that merely has the
    /// number of a dead one does not count.
    pub fn running(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.dir.join("postmaster.pid")).ok()?;
        let pid: i32 = text.lines().next()?.trim().parse().ok()?;
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (works_in == self.dir).then(|| Pid::from_raw(pid))
    }

    /// Waits until a server that lost its parent has ended, and helps it along. Blocks.
    pub fn end_orphan(&self) {
        let started = Instant::now();
        let mut sent = None;
        while let Some(pid) = self.running() {
            let due = match started.elapsed().as_secs() {
                0..2 => None,
                2..12 => Some(Signal::SIGINT),
                12..20 => Some(Signal::SIGQUIT),
                _ => Some(Signal::SIGKILL),
            };
            if due != sent {
                tracing::warn!(%pid, ?due, "a Postgres of a former process still runs here");
                // It may have ended just now; the loop looks again.
                let _ = kill(pid, due);
                sent = due;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A server program under the right account, with nothing of our environment.
    fn run(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.dir.join(program));
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.current_dir("/");
        if let Some(account) = &self.account {
            account.apply(&mut command);
        }
        command
    }
}

/// The cluster's real place: `wished`, or a folder below /var/lib/pulseops with a link at `wished`
/// when the server's account cannot get there (a checkout below /root).
fn place(wished: &Path, account: Option<&Account>) -> Result<PathBuf> {
    let io = |error| failed(format!("{}: {error}", wished.display()));
    if let Ok(target) = fs::read_link(wished) {
        return Ok(target);
    }
    let Some(account) = account.filter(|account| !account.reaches(wished)) else {
        return Ok(wished.to_owned());
    };
    let target = Path::new(ELSEWHERE).join(short_hash(wished)).join("postgres");
    let parent = target.parent().unwrap_or(Path::new(ELSEWHERE));
    fs::create_dir_all(parent).map_err(io)?;
    symlink(&target, wished).map_err(io)?;
    tracing::info!(
        account = account.name,
        from = %wished.display(),
        to = %target.display(),
        "the server's account cannot reach the data directory: the cluster lies elsewhere"
    );
    Ok(target)
}

/// The cluster itself, unless its path is too long for a socket.
fn socket_dir(dir: &Path, account: Option<&Account>) -> Result<PathBuf> {
    if dir.as_os_str().len() <= MAX_SOCKET_DIR {
        return Ok(dir.to_owned());
    }
    let short = PathBuf::from(format!("/tmp/pulseops-{}", short_hash(dir)));
    private_dir(&short, account).map_err(|error| failed(format!("{}: {error}", short.display())))?;
    check_private(&short, account)?;
    Ok(short)
}

/// Who may enter the socket's folder is superuser of the cluster, and anybody can make one below /tmp.
fn check_private(dir: &Path, account: Option<&Account>) -> Result<()> {
    let owner = account.map_or_else(|| Uid::effective().as_raw(), Account::uid);
    let meta = fs::symlink_metadata(dir).map_err(|error| failed(format!("{}: {error}", dir.display())))?;
    if meta.is_dir() && meta.uid() == owner && meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(failed(format!(
        "{} is not a folder that only the server's account can enter: remove it",
        dir.display()
    )))
}

fn private_dir(dir: &Path, account: Option<&Account>) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => account.map_or(Ok(()), |account| account.own(dir)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn short_hash(path: &Path) -> String {
    hex::encode(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..6])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_socket_folder_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |mode| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("set");
            check_private(folder.path(), None)
        };
        assert!(open(0o700).is_ok());
        for mode in [0o701, 0o750, 0o777] {
            assert_eq!(open(mode).expect_err("refused").code, "postgres_failed", "{mode:o}");
        }
        open(0o700).expect("ours again");
        let link = folder.path().join("link");
        symlink(folder.path(), &link).expect("a link");
        assert!(check_private(&link, None).is_err(), "it may lead elsewhere later");
    }
}
