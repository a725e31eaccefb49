//! A deployment on this machine: a data directory, ports, and the real binary.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use platform::testing::{eventually, left_behind};
use pulseops::config::Config;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_postgres::{Client as Admin, NoTls};

use crate::support::client::Client;
use crate::support::ports::free;

/// From nothing to ready, on a machine that tests other things meanwhile; and the longest drain.
pub const START: Duration = Duration::from_secs(40);

pub struct Home {
    dir: TempDir,
    rest: SocketAddr,
    grpc: SocketAddr,
}

/// A running `pulseops up`. Dropping it kills it.
pub struct Process(Child);

impl Home {
    pub fn new() -> Self {
        // Open to the account that the server runs under when this is root.
        let dir = tempfile::Builder::new()
            .prefix("pulseops-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a folder");
        Self { dir, rest: free(), grpc: free() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn settings(&self) -> [(&'static str, String); 6] {
        [
            ("PULSEOPS__DATA_DIR", self.path().join("data").display().to_string()),
            ("PULSEOPS__REST__LISTEN", self.rest.to_string()),
            ("PULSEOPS__GRPC__LISTEN", self.grpc.to_string()),
            ("PULSEOPS__EGRESS__ALLOW", "127.0.0.0/8".to_owned()),
            ("PULSEOPS__NOTIFICATION__FIRST_RETRY_MS", "200".to_owned()),
            ("PULSEOPS__TELEMETRY__FILTER", "warn".to_owned()),
        ]
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulseops"));
        command.args(arguments).current_dir(self.path()).envs(self.settings());
        for other in ["DATABASE_URL", "RUST_LOG", "PULSEOPS_CONFIG"] {
            command.env_remove(other);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        let mut command = self.command(arguments);
        command.envs(more.iter().copied());
        let ended = tokio::time::timeout(START, command.output()).await;
        ended.expect("the command ends").expect("the binary runs")
    }

    /// Starts every role and waits until the process is ready.
    pub async fn up(&self) -> Process {
        let process = self.up_with(&[]);
        self.ready().await;
        process
    }

    /// Starts it with failpoints or other settings.
    pub fn up_with(&self, more: &[(&str, &str)]) -> Process {
        let log = std::fs::File::options().create(true).append(true).open(self.path().join("log"));
        let mut command = self.command(&["up"]);
        command.envs(more.iter().copied()).stdout(Stdio::null()).stderr(log.expect("a log"));
        Process(command.spawn().expect("the binary starts"))
    }

    pub async fn ready(&self) {
        let client = platform::egress::operator_client(Duration::from_secs(2)).expect("a client");
        let url = format!("http://{}/readyz", self.rest);
        let ready = async || client.get(&url).send().await.ok().filter(|answer| answer.status().is_success());
        if tokio::time::timeout(START, eventually(Duration::MAX, ready)).await.is_err() {
            panic!("not ready: {}", self.log());
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// REST, as nobody.
    pub fn nobody(&self) -> Client {
        Client::new(format!("http://{}", self.rest))
    }

    /// What Prometheus would read.
    pub async fn metrics(&self) -> String {
        Client::new(format!("http://{}", self.grpc)).get("/metrics").await.text
    }

    /// A connection to the private database of the running process.
    pub async fn admin(&self) -> Admin {
        let environment = self.settings().into_iter().collect();
        let config = Config::load(Some(Path::new("/dev/null")), &environment).expect("a configuration");
        let url = eventually(START, async || pulseops::ground::running(&config)).await;
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the private database");
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    /// Waits until nothing unsent, dead or ownerless is left.
    pub async fn nothing_left(&self) {
        let admin = self.admin().await;
        let clean = async || left_behind(&admin).await.is_empty().then_some(());
        if tokio::time::timeout(START, eventually(Duration::MAX, clean)).await.is_err() {
            panic!("left behind: {:?}", left_behind(&admin).await);
        }
    }
}

impl From<Child> for Process {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Process {
    /// kill -9.
    pub async fn kill(mut self) {
        self.0.kill().await.expect("it was running");
    }

    /// SIGTERM, and how it ended.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.0.id().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
        kill(Pid::from_raw(pid), signal).expect("it can be signalled");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(START, self.0.wait()).await.expect("it ends").expect("its status")
    }
}
