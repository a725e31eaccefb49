//! One Postgres for all tests: the one in `PULSEOPS_TEST_DATABASE_URL`, or a private one below
//! `target/test-postgres` that the first test starts (without fsync) and every later one, of any
//! crate, finds running. It outlives the test binaries; `make test` ends it, and a watchdog does
//! when nobody has used it for five minutes.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use crate::migrate::{self, Migrations};
use crate::postgres::{Cluster, Options};

/// Serialises making templates (and with them roles, which belong to the cluster).
const TEMPLATE_LOCK: i64 = 0x7075_6c73_7465_7374;
const START_PATIENCE: Duration = Duration::from_secs(60);

const SETTINGS: [(&str, &str); 8] = [
    ("max_connections", "300"),
    ("shared_buffers", "128MB"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_wal_size", "4GB"),
    ("autovacuum", "off"),
    ("log_min_messages", "fatal"),
];

/// Ends an unused server: arguments are its process id and the file that users hold locked.
const WATCHDOG: &str = r#"
idle=0
while kill -0 "$1" 2>/dev/null; do
    sleep 5
    if flock -n -x "$2" true; then idle=$((idle + 1)); else idle=0; fi
    if [ "$idle" -ge 60 ]; then flock -n -x "$2" kill -INT "$1"; fi
done
"#;

/// The test server.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    /// Connection text whose last `dbname=` counts.
    base: String,
    /// Held while this process lives: keeps the watchdog away.
    _in_use: Option<Flock<File>>,
}

impl Server {
    /// The server of this run, started if need be.
    pub async fn shared() -> Self {
        static SERVER: OnceCell<Server> = OnceCell::const_new();
        SERVER.get_or_init(Self::find_or_start).await.clone()
    }

    async fn find_or_start() -> Self {
        if let Some(url) = crate::config::test_database_url() {
            return Self(Arc::new(Shared { base: url, _in_use: None }));
        }
        let dir = target_dir().join("test-postgres");
        let started = tokio::task::spawn_blocking(move || start(&dir)).await;
        let (cluster, in_use) = started.expect("the test server's starter does not panic");
        let base = cluster.url("postgres");
        Self(Arc::new(Shared { base, _in_use: Some(in_use) }))
    }

    /// Connection text for `database`, as superuser.
    pub fn url(&self, database: &str) -> String {
        let base = &self.0.base;
        let Ok(mut url) = url::Url::parse(base) else {
            return format!("{base} dbname={database}");
        };
        url.set_path(database);
        url.into()
    }

    /// Makes database `name` as a copy of the template with these migrations, which the first
    /// caller makes.
    pub(super) async fn clone_template(&self, services: &[Migrations], name: &str) {
        let fingerprint = migrate::fingerprint(services).expect("readable migrations");
        let template = format!("pulseops_template_{fingerprint}");
        let admin = connect(&self.0.base).await;
        if !exists(&admin, &template).await {
            self.make_template(&admin, &template, services).await;
        }
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY WAL_LOG");
        let copied = admin.batch_execute(&sql).await;
        copied.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    async fn make_template(&self, admin: &Client, template: &str, services: &[Migrations]) {
        let locked = admin.execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK]).await;
        locked.expect("the template lock");
        if !exists(admin, template).await {
            let draft = format!("{template}_draft");
            let execute = async |sql: String| {
                admin.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            };
            execute(format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")).await;
            execute(format!("CREATE DATABASE {draft}")).await;
            let migrated = migrate::run(&self.url(&draft), services).await;
            migrated.unwrap_or_else(|error| panic!("{}", error.chain()));
            install_clock(&self.url(&draft)).await;
            execute(format!("ALTER DATABASE {draft} WITH ALLOW_CONNECTIONS false")).await;
            // The migration's connection may still be on its way out.
            execute(format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{draft}'"
            ))
            .await;
            super::eventually(super::SOON, async || {
                admin.batch_execute(&format!("ALTER DATABASE {draft} RENAME TO {template}")).await.ok()
            })
            .await;
        }
        let unlocked = admin.execute("SELECT pg_advisory_unlock($1)", &[&TEMPLATE_LOCK]).await;
        unlocked.expect("the template lock");
    }

    /// Drops database `name` with whoever is still connected. Blocks, because it runs in `drop`.
    pub(super) fn drop_database(&self, name: &str) {
        let base = self.0.base.clone();
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&base, tokio_postgres::NoTls).await?;
                let connection = tokio::spawn(connection);
                client.batch_execute(&sql).await?;
                connection.abort();
                Ok::<_, anyhow::Error>(())
            })
        });
        match dropped.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("{name} could not be dropped: {error:#}"),
            Err(_) => eprintln!("{name} could not be dropped: the thread panicked"),
        }
    }
}

/// A driven connection.
pub(super) async fn connect(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
    let (client, connection) = connected.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    // It ends with its client or with the database that a test dropped.
    tokio::spawn(async move { drop(connection.await) });
    client
}

async fn exists(admin: &Client, database: &str) -> bool {
    let sql = "SELECT FROM pg_database WHERE datname = $1";
    admin.query_opt(sql, &[&database]).await.expect("the list of databases").is_some()
}

/// Replaces the database's clock by one that [`super::TestDb::advance`] moves.
async fn install_clock(url: &str) {
    let sql = "CREATE TABLE pulseops.test_clock (shift interval NOT NULL); \
        INSERT INTO pulseops.test_clock VALUES ('0'); \
        GRANT SELECT ON pulseops.test_clock TO PUBLIC; \
        ALTER TABLE pulseops.test_clock OWNER TO pulseops_owner; \
        CREATE OR REPLACE FUNCTION pulseops.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE \
        AS 'SELECT pg_catalog.statement_timestamp() + (SELECT shift FROM pulseops.test_clock)'";
    connect(url).await.batch_execute(sql).await.expect("the test clock");
}

/// The workspace's target folder: all crates of a checkout share it, and the server in it.
fn target_dir() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    fs::create_dir_all(&target).expect("the target folder");
    fs::canonicalize(&target).expect("the target folder")
}

fn start(dir: &Path) -> (Cluster, Flock<File>) {
    fs::create_dir_all(dir).expect("the test server's folder");
    // First in use, then looking: between the two the watchdog cannot end it.
    let in_use = lock(&dir.join("users.lock"), FlockArg::LockShared);
    let _starting = lock(&dir.join("start.lock"), FlockArg::LockExclusive);
    let settings = SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let options = Options { settings: settings.collect(), ..Options::new(dir) };
    let cluster = Cluster::prepare(&options).unwrap_or_else(|error| panic!("{error}"));
    if !cluster.is_ready() {
        cluster.end_orphan();
        start_fresh(&cluster, &dir.join("users.lock"));
    }
    (cluster, in_use)
}

/// A new cluster each time: nothing of a former run, and nothing that was not synced, is left.
#[expect(clippy::zombie_processes, reason = "server and watchdog outlive this process on purpose")]
fn start_fresh(cluster: &Cluster, users: &Path) {
    if cluster.dir().exists() {
        fs::remove_dir_all(cluster.dir()).expect("the former cluster");
    }
    cluster.initialize().unwrap_or_else(|error| panic!("{error}"));
    let mut server = cluster.server().unwrap_or_else(|error| panic!("{error}"));
    let child = detached(&mut server).spawn().expect("postgres starts");
    let started = Instant::now();
    while !cluster.is_ready() {
        assert!(started.elapsed() < START_PATIENCE, "no test server: {}", cluster.log_tail(0));
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut watchdog = Command::new("sh");
    watchdog.args(["-c", WATCHDOG, "sh", &child.id().to_string()]).arg(users);
    watchdog.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    detached(&mut watchdog).spawn().expect("the watchdog starts");
}

/// In a session of its own: a closed terminal or Ctrl-C does not reach it.
fn detached(command: &mut Command) -> &mut Command {
    // SAFETY: setsid is async-signal-safe and the only call between fork and exec.
    unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into)) }
}

fn lock(path: &Path, how: FlockArg) -> Flock<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Flock::lock(file, how).unwrap_or_else(|(_, error)| panic!("{}: {error}", path.display()))
}
