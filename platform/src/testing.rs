//! The testing kit: a real Postgres shared by all tests of a run, a database of its own for every
//! test, a clock that moves on both sides, and waiting without sleeping. Nothing here returns
//! errors: a test that cannot be set up panics and says why.

mod checks;
mod company;
mod deps;
mod receiver;
mod schema;
mod server;
mod settle;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use include_dir::Dir;
use tokio_postgres::Client;

pub use checks::{assert_reversible, unguarded_tables};
pub use company::Company;
pub use deps::Issuer;
pub use receiver::{Hit, Receiver};
pub use schema::{MECHANISMS, assert_schema_current, schema_rs};
pub use server::Server;
pub use settle::{left_behind, unsettled, watched_tables};

use crate::access::AccessTable;
use crate::ctx::{Ctx, OrgId, Permissions, Principal, PrincipalKind};
use crate::db::{Db, DbConfig};
use crate::migrate::Migrations;
use crate::source::Source;

/// Connections of one pool in tests.
const POOL: usize = 2;
/// How long tests wait for what takes milliseconds, on the slowest machine. Only what fails waits so long.
pub const SOON: Duration = Duration::from_secs(30);
/// How often [`eventually`] looks.
const LOOK: Duration = Duration::from_millis(10);

/// A service with the mechanisms' tables and nothing else, for tests of the mechanisms:
/// `TestDb::with(&[testing::BARE])` and `db.db("bare")`.
pub const BARE: Migrations = Migrations { owner: "bare", dir: &NOTHING };
static NOTHING: Dir<'static> = Dir::new("", &[]);

/// A migrated database of this test's own. Dropped with the value; kept, and named on stderr, when
/// the test panics.
pub struct TestDb {
    server: Server,
    name: String,
    source: Source,
    connections: usize,
    pools: Mutex<HashMap<String, Db>>,
}

impl TestDb {
    /// A database with the owners `database` and `bus`.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A database with these services as well.
    pub async fn with(services: &[Migrations]) -> Self {
        let server = Server::shared().await;
        let name = name_of_test();
        server.clone_template(services, &name).await;
        Self { server, name, source: Source::system(), connections: POOL, pools: Mutex::default() }
    }

    /// With so many connections in each pool.
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connection text as superuser.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Configuration of pools to it.
    pub fn config(&self) -> DbConfig {
        let patient = SOON.as_millis() as u64;
        DbConfig {
            max_connections: self.connections,
            acquire_timeout_ms: patient,
            ..DbConfig::new(self.url())
        }
    }

    /// The pool of `service`; the same one every time.
    pub fn db(&self, service: &str) -> Db {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let connect = || Db::connect(&self.config(), service).expect("the test database's address");
        pools.entry(service.to_owned()).or_insert_with(connect).clone()
    }

    /// A new pool of `service`, as another process would have.
    pub fn another_db(&self, service: &str) -> Db {
        Db::connect(&self.config(), service).expect("the test database's address")
    }

    /// A connection as superuser: sees everything.
    pub async fn admin(&self) -> Client {
        server::connect(&self.url()).await
    }

    /// Time and ids of this test; its clock and the database's move together.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Moves the clock of [`source`](Self::source) and of the database forward.
    pub async fn advance(&self, by: Duration) {
        self.source.advance(by);
        let micros = i64::try_from(by.as_micros()).expect("a sensible duration");
        let sql = "UPDATE pulseops.test_clock SET shift = shift + $1 * interval '1 microsecond'";
        // Bound as float: Postgres multiplies intervals with nothing else.
        #[expect(clippy::cast_precision_loss, reason = "exact up to 285 years")]
        let moved = self.admin().await.execute(sql, &[&(micros as f64)]).await;
        assert_eq!(moved.expect("the test clock moves"), 1);
    }

    /// A user of a fresh organization holding `permissions`.
    pub fn cx(&self, permissions: &[&str]) -> Ctx {
        self.cx_in(OrgId(self.source.id()), permissions)
    }

    /// A user of a fresh organization holding everything that `access` gives to `role`.
    pub fn cx_as(&self, access: &AccessTable, role: &str) -> Ctx {
        let mut cx = self.cx(&[]);
        let permissions = access.role(role);
        cx.principal = Arc::new(Principal { permissions, ..(*cx.principal).clone() });
        cx
    }

    /// A user of `org` holding `permissions`.
    pub fn cx_in(&self, org: OrgId, permissions: &[&str]) -> Ctx {
        let mut user = Principal::anonymous();
        user.kind = PrincipalKind::User;
        user.id = self.source.id();
        user.name = "Test User".to_owned();
        user.permissions = permissions.iter().copied().collect::<Permissions>();
        Ctx::new(self.source.clone(), user, org)
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        for pool in self.pools.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            pool.close();
        }
        if std::thread::panicking() {
            eprintln!("the test's database is kept: {}", self.url());
        } else {
            self.server.drop_database(&self.name);
        }
    }
}

/// `t_<test>_<process>_<number>`, as long as Postgres allows.
fn name_of_test() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let thread = std::thread::current();
    let test: String = thread
        .name()
        .unwrap_or("test")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    let end = &test[test.len().saturating_sub(40)..];
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("t_{end}_{}_{number}", std::process::id())
}

/// Waits until `probe` answers `Some`, looking again and again; the only way in which tests wait.
///
/// # Panics
/// When `deadline` passes first.
#[track_caller]
pub fn eventually<T, P, F>(deadline: Duration, mut probe: P) -> impl Future<Output = T>
where
    P: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            assert!(started.elapsed() < deadline, "did not happen within {deadline:?}: {caller}");
            tokio::time::sleep(LOOK).await;
        }
    }
}
