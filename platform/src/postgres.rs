//! A private Postgres inside the data directory, run from the locally installed server binaries:
//! what `pulseops up` uses when no database URL is given.
//!
//! The server listens on a Unix socket in its own directory (mode 0700) and nowhere else. It dies
//! with this process, is started again when it dies alone, and recovers whatever either of them
//! left behind. As root it runs under another account, because Postgres refuses root.

mod account;
mod binaries;
mod cluster;
mod supervisor;

use std::path::{Path, PathBuf};

pub use account::Account;
pub use binaries::Binaries;
pub use cluster::Cluster;

use supervisor::Supervisor;

use crate::error::{Error, Result};

/// The database that the platform's schemas live in.
const DATABASE: &str = "pulseops";

/// How the private server is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The platform's data directory; the cluster is its folder `postgres`.
    pub data_dir: PathBuf,
    /// Folder of `initdb` and `postgres`; found by itself when `None`.
    pub bin_dir: Option<PathBuf>,
    /// Account that the server runs under when this process is root; `pulseops`, `postgres` or
    /// `nobody`, whichever exists, when `None`.
    pub account: Option<String>,
    /// Settings on top of the built-in ones.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// The defaults for `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), bin_dir: None, account: None, settings: Vec::new() }
    }
}

/// A running private server. Dropping it stops it in the background; [`stop`](Self::stop) waits.
pub struct Embedded {
    supervisor: Supervisor,
    url: String,
    dir: PathBuf,
}

impl Embedded {
    /// Makes the cluster if there is none, starts the server and waits until it answers.
    ///
    /// # Errors
    /// Unavailable: code `postgres_missing` when no server is installed, `data_dir_in_use` when
    /// another process holds the directory, `postgres_failed` with the end of the server's log.
    pub async fn start(options: Options) -> Result<Self> {
        let (cluster, lock) = tokio::task::spawn_blocking(move || {
            let lock = cluster::lock(&options.data_dir)?;
            let cluster = Cluster::prepare(&options)?;
            cluster.initialize()?;
            Ok::<_, Error>((cluster, lock))
        })
        .await
        .map_err(Error::internal)??;
        let (url, dir) = (cluster.url(DATABASE), cluster.dir().to_owned());
        let maintenance = cluster.url("postgres");
        let supervisor = Supervisor::start(cluster, lock)?;
        supervisor.ready().await?;
        create_database(&maintenance).await?;
        Ok(Self { supervisor, url, dir })
    }

    /// Connection text (key=value) of the platform's database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the cluster lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Process id of the server; `None` while it is being started again.
    pub fn pid(&self) -> Option<u32> {
        self.supervisor.pid()
    }

    /// Stops the server: open transactions are rolled back, everything committed is on disk.
    pub async fn stop(self) {
        self.supervisor.stop().await;
    }
}

async fn create_database(url: &str) -> Result<()> {
    let (client, connection) = crate::db::parse(url)?.connect(tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let known = client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE]).await?;
    if known.is_none() {
        client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
    }
    drop(client);
    // The connection ends because its client is gone; how it ends does not matter.
    let _ = connection.await;
    Ok(())
}

fn failed(detail: impl Into<String>) -> Error {
    Error::unavailable("postgres_failed", detail)
}
