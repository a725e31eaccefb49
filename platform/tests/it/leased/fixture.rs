//! Jobs that a test lets hang, fail or go on, and drivers of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use diesel::sql_types::{BigInt, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::{Ctx, OrgId};
use platform::db::Db;
use platform::error::{Error, Result};
use platform::leased::{self, Birth, Claim, Driver, Handle, Outcome, Slots, Work};
use platform::source::Source;
use platform::sql::sql;
use platform::testing::{BARE, SOON, TestDb, eventually};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const TABLE: &str = "
CREATE TABLE pulseops_bare.jobs (
    org_id uuid NOT NULL, id uuid NOT NULL, kind text NOT NULL, steps int4 NOT NULL DEFAULT 0,
    due_at timestamptz, lease_until timestamptz, epoch int8 NOT NULL DEFAULT 0, attempts int4 NOT NULL DEFAULT 0,
    CONSTRAINT jobs_pkey PRIMARY KEY (org_id, id)) WITH (autovacuum_enabled = off);
CREATE INDEX jobs_due_idx ON pulseops_bare.jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_org_due_idx ON pulseops_bare.jobs (org_id, due_at) WHERE due_at IS NOT NULL;
SELECT pulseops.tenant_table('pulseops_bare.jobs');";

/// How long a slow step waits at most, so that a failure ends.
const PATIENCE: Duration = Duration::from_secs(4 * SOON.as_secs());

/// Rows whose kind says what becomes of their steps.
pub struct Jobs {
    pub db: Db,
    source: Source,
    called: AtomicUsize,
    /// A permit ends one slow step.
    pub go: Semaphore,
}

impl Jobs {
    pub fn calls(&self) -> usize {
        AtomicUsize::load(&self.called, Ordering::SeqCst)
    }

    /// Waits until `calls` steps have begun.
    pub async fn called(&self, calls: usize) {
        eventually(SOON, async || (self.calls() == calls).then_some(())).await;
    }
}

#[async_trait]
impl Work for Jobs {
    const TABLE: &'static str = "jobs";

    async fn step(&self, claim: Claim) -> Result<()> {
        self.called.fetch_add(1, Ordering::SeqCst);
        let trace = platform::ctx::Trace::new(&self.source);
        let cx = Ctx::service("bare", claim.org, self.source.clone(), trace, None);
        let kind = platform::tx!(self.db, &cx, |conn| kind_of(conn, &claim).await)?;
        match kind.as_str() {
            "fails" if claim.attempts < 3 => return Err(Error::unavailable("away", "not yet")),
            "panics" if claim.attempts < 2 => panic!("not yet"),
            "slow" => {
                let go = tokio::time::timeout(PATIENCE, self.go.acquire()).await;
                go.expect("the test lets it go").expect("nobody closes it").forget();
            }
            _ => {}
        }
        let outcome = match kind.as_str() {
            "twice" if claim.attempts < 2 => Outcome::Again(cx.now + TimeDelta::hours(1)),
            "steps" if claim.epoch < 4 => Outcome::Next(cx.now),
            "behind" if claim.epoch < 2 => Outcome::Next(cx.now - TimeDelta::seconds(300)),
            "dead" => Outcome::Dead("it is over".to_owned()),
            _ => Outcome::Done,
        };
        platform::tx!(self.db, &cx, |conn| {
            sql("UPDATE jobs SET steps = steps + 1 WHERE org_id = $1 AND id = $2")
                .bind::<SqlUuid, _>(claim.org)
                .bind::<SqlUuid, _>(claim.id)
                .execute(conn)
                .await?;
            leased::finish(conn, Self::TABLE, &claim, outcome.clone()).await
        })
    }
}

async fn kind_of(conn: &mut AsyncPgConnection, claim: &Claim) -> Result<String> {
    #[derive(diesel::QueryableByName)]
    struct Kind {
        #[diesel(sql_type = diesel::sql_types::Text)]
        kind: String,
    }
    let row: Kind = sql("SELECT kind FROM jobs WHERE org_id = $1 AND id = $2")
        .bind::<SqlUuid, _>(claim.org)
        .bind::<SqlUuid, _>(claim.id)
        .get_result(conn)
        .await?;
    Ok(row.kind)
}

/// A table of jobs and one organization.
pub struct World {
    pub db: TestDb,
    pub org: OrgId,
}

impl World {
    pub async fn new() -> Self {
        let db = TestDb::with(&[BARE]).await;
        db.admin().await.batch_execute(TABLE).await.expect("the table");
        let org = OrgId(db.source().id());
        Self { db, org }
    }

    /// A driver as another process has it; one organization may have all of its slots.
    pub fn driver(&self, concurrency: usize) -> (Driver<Jobs>, Arc<Jobs>, Handle) {
        self.driver_of(Slots { all: concurrency, per_org: concurrency })
    }

    pub fn driver_of(&self, slots: Slots) -> (Driver<Jobs>, Arc<Jobs>, Handle) {
        let db = self.db.another_db("bare");
        let source = self.db.source().clone();
        let (called, go) = (AtomicUsize::new(0), Semaphore::new(0));
        let work = Arc::new(Jobs { db: db.clone(), source: source.clone(), called, go });
        let handle = Handle::default();
        let driver = Driver::new(&db, Arc::clone(&work), &source, handle.clone(), slots);
        (driver, work, handle)
    }

    pub async fn insert(&self, kind: &str, birth: Option<Birth>) -> Uuid {
        self.insert_for(self.org, kind, birth).await
    }

    pub async fn insert_for(&self, org: OrgId, kind: &str, birth: Option<Birth>) -> Uuid {
        self.insert_by(&self.db.db("bare"), org, kind, birth).await
    }

    /// As the process with this pool does: its drivers are woken.
    pub async fn insert_by(&self, db: &Db, org: OrgId, kind: &str, birth: Option<Birth>) -> Uuid {
        let (id, now) = (self.db.source().id(), self.db.source().now());
        let cx = self.db.cx_in(org, &[]);
        let inserted = platform::tx!(db, &cx, |conn| {
            sql("INSERT INTO jobs (org_id, id, kind, due_at, lease_until, epoch, attempts)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind::<SqlUuid, _>(org)
            .bind::<SqlUuid, _>(id)
            .bind::<diesel::sql_types::Text, _>(kind)
            .bind::<Timestamptz, _>(now)
            .bind::<diesel::sql_types::Nullable<Timestamptz>, _>(birth.map(|b| b.lease_until))
            .bind::<BigInt, _>(birth.map_or(0, |b| b.epoch))
            .bind::<Integer, _>(birth.map_or(0, |b| b.attempts))
            .execute(conn)
            .await?;
            leased::wake_on_commit(conn, "jobs");
            Ok(())
        });
        inserted.expect("inserted");
        id
    }

    /// A birth whose lease no test outlives.
    pub fn long_birth(&self) -> Birth {
        let now = self.db.source().now();
        Birth { lease_until: now + TimeDelta::hours(1), ..leased::birth(now) }
    }

    /// So many plain rows of `org`, due for some seconds.
    pub async fn backlog(&self, org: OrgId, rows: u32) {
        let insert = format!(
            "INSERT INTO pulseops_bare.jobs (org_id, id, kind, due_at)
             SELECT '{org}', gen_random_uuid(), 'plain', pulseops.now() - interval '20 seconds' + n * interval '1 microsecond'
             FROM generate_series(1, {rows}) n"
        );
        self.db.admin().await.batch_execute(&insert).await.expect("inserted");
    }

    /// How many steps of `org` were done.
    pub async fn steps_of(&self, org: OrgId) -> i64 {
        let query =
            format!("SELECT coalesce(sum(steps), 0)::int8 FROM pulseops_bare.jobs WHERE org_id = '{org}'");
        self.db.admin().await.query_one(&query, &[]).await.expect("a sum").get(0)
    }

    /// (steps, due, leased, epoch, attempts)
    pub async fn row(&self, id: Uuid) -> (i32, bool, bool, i64, i32) {
        let query = format!(
            "SELECT steps, due_at IS NOT NULL, lease_until IS NOT NULL, epoch, attempts
             FROM pulseops_bare.jobs WHERE id = '{id}'"
        );
        let row = self.db.admin().await.query_one(&query, &[]).await.expect("the row");
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
    }

    pub async fn step_until(&self, driver: &mut Driver<Jobs>, id: Uuid, steps: i32) {
        let started = std::time::Instant::now();
        while self.row(id).await.0 < steps {
            driver.step().await.expect("a step");
            assert!(started.elapsed() < SOON, "{:?}", self.row(id).await);
        }
    }
}

/// A driver that runs beside the test.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Running {
    pub fn start<W: Work>(driver: Driver<W>) -> Self {
        let stop = CancellationToken::new();
        Self { stop: stop.clone(), task: tokio::spawn(driver.run(stop)) }
    }

    /// Tells it to end.
    pub fn shut_down(&self) {
        self.stop.cancel();
    }

    /// Waits until it has ended.
    pub async fn end(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(SOON, self.task).await.expect("it ends");
        ended.expect("no panic").expect("no error");
    }
}
