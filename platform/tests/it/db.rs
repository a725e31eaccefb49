//! Transactions, tenants and roles on real Postgres.

use std::time::Duration;

use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use platform::ctx::Ctx;
use platform::db::{Db, DbConfig};
use platform::error::{Error, Kind, Result};
use platform::testing::{BARE, SOON, TestDb, eventually};
use platform::{system_tx, tx};

async fn setup() -> (TestDb, Db) {
    let test = TestDb::with(&[BARE]).await;
    let sql = "CREATE TABLE pulseops_bare.things (org_id uuid NOT NULL, name text NOT NULL, \
            CONSTRAINT things_pkey PRIMARY KEY (org_id, name)); \
        SELECT pulseops.tenant_table('pulseops_bare.things')";
    test.admin().await.batch_execute(sql).await.expect("the table");
    let db = test.db("bare");
    (test, db)
}

async fn insert(cx: &Ctx, conn: &mut AsyncPgConnection, name: &str) -> Result<()> {
    diesel::sql_query("INSERT INTO things (org_id, name) VALUES ($1, $2)")
        .bind::<diesel::sql_types::Uuid, _>(cx.org)
        .bind::<Text, _>(name)
        .execute(conn)
        .await?;
    Ok(())
}

async fn count(conn: &mut AsyncPgConnection) -> Result<i64> {
    let all = diesel::dsl::sql::<BigInt>("SELECT count(*) FROM things").get_result(conn).await?;
    Ok(all)
}

async fn text(conn: &mut AsyncPgConnection, sql: &str) -> Result<String> {
    Ok(diesel::dsl::sql::<Text>(sql).get_result(conn).await?)
}

#[tokio::test]
async fn a_transaction_sees_its_organization_only() {
    let (test, db) = setup().await;
    let (mine, theirs) = (test.cx(&[]), test.cx(&[]));
    tx!(db, &mine, |conn| insert(&mine, conn, "a").await).expect("inserted");
    assert_eq!(tx!(db, &mine, |conn| count(conn).await).expect("counted"), 1);
    assert_eq!(tx!(db, &theirs, |conn| count(conn).await).expect("counted"), 0);
    let nobody = Ctx::anonymous(test.source().clone());
    assert_eq!(tx!(db, &nobody, |conn| count(conn).await).expect("counted"), 0);
    assert_eq!(system_tx!(db, "test", |conn| count(conn).await).expect("counted"), 1);
    let foreign = tx!(db, &mine, |conn| insert(&theirs, conn, "b").await).expect_err("not theirs");
    assert!(foreign.chain().contains("row-level security"), "{}", foreign.chain());
}

#[tokio::test]
async fn the_login_role_without_an_organization_sees_nothing() {
    let (test, db) = setup().await;
    let cx = test.cx(&[]);
    tx!(db, &cx, |conn| insert(&cx, conn, "a").await).expect("inserted");
    let (client, connection) = db.raw().connect(tokio_postgres::NoTls).await.expect("a raw connection");
    tokio::spawn(async move { drop(connection.await) });
    client.batch_execute(&db.become_role()).await.expect("the role");
    for setup in ["", "SET pulseops.org = ''"] {
        client.batch_execute(setup).await.expect("set");
        let rows = client.query("SELECT * FROM things", &[]).await.expect("allowed to look");
        assert!(rows.is_empty(), "after {setup:?}");
    }
    let error = client.batch_execute("TRUNCATE things").await.expect_err("not granted");
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE));
}

#[tokio::test]
async fn the_organization_and_the_system_role_end_with_the_transaction() {
    let (test, _) = setup().await;
    let one = DbConfig { max_connections: 1, ..test.config() };
    let db = Db::connect(&one, "bare").expect("a pool of one");
    let cx = test.cx(&[]);
    tx!(db, &cx, |conn| insert(&cx, conn, "a").await).expect("inserted");
    let system = system_tx!(db, "test", |conn| text(conn, "SELECT current_user::text").await);
    assert_eq!(system.expect("asked"), "pulseops_bare_sys");
    let nobody = Ctx::anonymous(test.source().clone());
    let (role, path) = tx!(db, &nobody, |conn| {
        let role = text(conn, "SELECT current_user::text").await?;
        Ok((role, text(conn, "SELECT current_schema()::text").await?))
    })
    .expect("asked");
    assert_eq!((role.as_str(), path.as_str()), ("pulseops_bare", "pulseops_bare"));
    assert_eq!(tx!(db, &nobody, |conn| count(conn).await).expect("counted"), 0);
}

#[tokio::test]
async fn an_error_rolls_back_and_is_what_the_caller_hears() {
    let (test, db) = setup().await;
    let cx = test.cx(&[]);
    let result: Result<()> = tx!(db, &cx, |conn| {
        insert(&cx, conn, "a").await?;
        Err(Error::conflict("no", "changed my mind"))
    });
    assert_eq!(result.expect_err("refused").code, "no");
    assert_eq!(tx!(db, &cx, |conn| count(conn).await).expect("counted"), 0);
}

#[tokio::test]
async fn a_swallowed_database_error_is_not_committed_in_silence() {
    let (test, db) = setup().await;
    let cx = test.cx(&[]);
    let result = tx!(db, &cx, |conn| {
        insert(&cx, conn, "a").await?;
        let twice = insert(&cx, conn, "a").await.expect_err("the key is taken");
        assert_eq!(twice.kind, Kind::Conflict);
        Ok(())
    });
    assert_eq!(result.expect_err("aborted").kind, Kind::Internal);
    assert_eq!(tx!(db, &cx, |conn| count(conn).await).expect("counted"), 0);
}

#[tokio::test]
async fn savepoints_inside_work() {
    let (test, db) = setup().await;
    let cx = test.cx(&[]);
    tx!(db, &cx, |conn| {
        insert(&cx, conn, "a").await?;
        let inner: Result<()> = conn
            .transaction(async |conn| {
                conn.batch_execute("SELECT 1/0").await?;
                Ok(())
            })
            .await;
        assert!(inner.is_err());
        insert(&cx, conn, "b").await
    })
    .expect("committed");
    assert_eq!(tx!(db, &cx, |conn| count(conn).await).expect("counted"), 2);
}

#[tokio::test]
async fn a_dropped_transaction_rolls_back_and_leaves_the_pool_usable() {
    let (test, _) = setup().await;
    let one = DbConfig { max_connections: 1, ..test.config() };
    let db = Db::connect(&one, "bare").expect("a pool of one");
    let cx = test.cx(&[]);
    let mut open = db.begin(&cx).await.expect("begun");
    insert(&cx, &mut open, "a").await.expect("inserted");
    drop(open);
    assert_eq!(tx!(db, &cx, |conn| count(conn).await).expect("counted"), 0);
    // In the middle of a statement: it is cancelled on the server as well.
    let mut open = db.begin(&cx).await.expect("begun");
    let sleeping = open.batch_execute("SELECT pg_sleep(60)");
    assert!(tokio::time::timeout(Duration::from_millis(50), sleeping).await.is_err());
    drop(open);
    eventually(SOON, async || tx!(db, &cx, |conn| count(conn).await).ok()).await;
    let admin = test.admin().await;
    eventually(SOON, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
            AND (query LIKE '%pg_sleep(60)' AND state = 'active' OR state LIKE 'idle in%')";
        let busy: i64 = admin.query_one(sql, &[]).await.expect("asked").get(0);
        (busy == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_transaction_dropped_inside_of_a_savepoint_holds_nothing() {
    let (test, db) = setup().await;
    let cx = test.cx(&[]);
    let mut open = db.begin(&cx).await.expect("begun");
    // The server would end it by itself.
    open.batch_execute("SET idle_in_transaction_session_timeout = 0").await.expect("set");
    let inner = open.transaction(async |conn| {
        insert(&cx, conn, "a").await?;
        std::future::pending::<Result<()>>().await
    });
    assert!(tokio::time::timeout(Duration::from_millis(200), inner).await.is_err());
    drop(open);
    let admin = test.admin().await;
    eventually(SOON, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity \
            WHERE datname = current_database() AND state LIKE 'idle in%'";
        let open: i64 = admin.query_one(sql, &[]).await.expect("asked").get(0);
        (open == 0).then_some(())
    })
    .await;
    assert_eq!(tx!(db, &cx, |conn| count(conn).await).expect("counted"), 0);
}

#[tokio::test]
async fn a_deadlock_is_run_again() {
    let (test, db) = setup().await;
    let cx = test.cx(&[]);
    tx!(db, &cx, |conn| {
        insert(&cx, conn, "a").await?;
        insert(&cx, conn, "b").await
    })
    .expect("inserted");
    let both = tokio::sync::Barrier::new(2);
    let cross = async |first: &str, second: &str| {
        let met = std::sync::atomic::AtomicBool::new(false);
        tx!(db, &cx, |conn| {
            let lock = "SELECT FROM things WHERE name = $1 FOR UPDATE";
            diesel::sql_query(lock).bind::<Text, _>(first).execute(conn).await?;
            if !met.swap(true, std::sync::atomic::Ordering::Relaxed) {
                both.wait().await;
            }
            diesel::sql_query(lock).bind::<Text, _>(second).execute(conn).await?;
            Ok(())
        })
    };
    let (one, two) = tokio::join!(cross("a", "b"), cross("b", "a"));
    one.expect("one way or the other");
    two.expect("one way or the other");
}

#[tokio::test]
async fn a_broken_connection_is_replaced() {
    let (test, db) = setup().await;
    let cx = test.cx(&[]);
    assert_eq!(tx!(db, &cx, |conn| count(conn).await).expect("counted"), 0);
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'pulseops_bare'";
    test.admin().await.batch_execute(kill).await.expect("killed");
    assert_eq!(tx!(db, &cx, |conn| count(conn).await).expect("on a new one"), 0);
}

#[tokio::test]
async fn a_full_pool_says_so() {
    let (test, _) = setup().await;
    let two = DbConfig { max_connections: 2, acquire_timeout_ms: 1_000, ..test.config() };
    let db = Db::connect(&two, "bare").expect("a pool of two, both for work");
    let cx = test.cx(&[]);
    // The first calls have to open the connections as well.
    let held = [(); 2].map(|()| eventually(SOON, async || db.begin(&cx).await.ok()));
    let held = futures::future::join_all(held).await;
    let error = db.ping().await.expect_err("nothing is free");
    assert_eq!((error.kind, error.code), (Kind::Unavailable, "database_busy"));
    drop(held);
    eventually(SOON, async || db.ping().await.ok()).await;
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    let config = DbConfig::new("host=/nowhere user=nobody dbname=none");
    let error = Db::connect(&config, "bare").expect("lazy").ping().await.expect_err("not there");
    assert_eq!((error.kind, error.code), (Kind::Unavailable, "database_unavailable"));
}

#[tokio::test]
async fn the_database_clock_moves_with_the_test_clock() {
    let (test, db) = setup().await;
    let now = async || {
        system_tx!(db, "test", |conn| {
            let now = diesel::dsl::sql::<diesel::sql_types::Timestamptz>("SELECT pulseops.now()");
            Ok(now.get_result::<chrono::DateTime<chrono::Utc>>(conn).await?)
        })
        .expect("asked")
    };
    let before = now().await;
    test.advance(Duration::from_secs(3600)).await;
    assert!(now().await - before >= chrono::TimeDelta::hours(1));
    assert!((now().await - test.source().now()).abs() < chrono::TimeDelta::seconds(5));
}

/// As a gRPC handler needs it: the whole transaction in a future that may change threads.
#[tokio::test]
async fn transactions_are_send() {
    let (test, db) = setup().await;
    let (cx, name) = (test.cx(&[]), "a".to_owned());
    let inserted = tokio::spawn(async move {
        let name = &name;
        tx!(db, &cx, |conn| insert(&cx, conn, name).await)?;
        system_tx!(db, "test", |conn| count(conn).await)
    });
    assert_eq!(inserted.await.expect("no panic").expect("committed"), 1);
}
