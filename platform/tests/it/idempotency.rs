//! The same key twice acts once.

use std::time::Duration;

use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use platform::ctx::Ctx;
use platform::db::Db;
use platform::error::{Error, Kind, Result};
use platform::idempotency::{self, KEPT};
use platform::rpc::IDEMPOTENCY_REPLAYED;
use platform::testing::{BARE, TestDb};
use tonic::Response;

/// Opens a "thing": one row in a table of the test, and its number as answer.
async fn open(db: &Db, cx: &Ctx, request: &String) -> Result<Response<i64>> {
    platform::mutation!(db, cx, request, |conn| {
        diesel::sql_query("INSERT INTO things (org_id, name) VALUES ($1, $2)")
            .bind::<diesel::sql_types::Uuid, _>(cx.org)
            .bind::<diesel::sql_types::Text, _>(request)
            .execute(conn)
            .await?;
        if request == "bad" {
            return Err(Error::conflict("bad", "refused after the insert"));
        }
        let all: i64 = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM things")
            .get_result(conn)
            .await?;
        Ok(all)
    })
}

async fn setup() -> (TestDb, Db) {
    let test = TestDb::with(&[BARE]).await;
    let sql = "CREATE TABLE pulseops_bare.things (org_id uuid NOT NULL, name text NOT NULL); \
        SELECT pulseops.tenant_table('pulseops_bare.things')";
    test.admin().await.batch_execute(sql).await.expect("the table");
    let db = test.db("bare");
    (test, db)
}

fn keyed(cx: &Ctx, key: &str) -> Ctx {
    Ctx { rpc: "/test.v1.Things/CreateThing".into(), ..cx.clone().with_idempotency_key(key) }
}

fn replayed<T>(answer: &Response<T>) -> bool {
    answer.metadata().get(IDEMPOTENCY_REPLAYED).is_some_and(|value| value == "true")
}

#[tokio::test]
async fn the_same_key_answers_the_same_and_acts_once() {
    let (test, db) = setup().await;
    let cx = keyed(&test.cx(&[]), "k1");
    let first = open(&db, &cx, &"a".to_owned()).await.expect("opened");
    let second = open(&db, &cx, &"a".to_owned()).await.expect("replayed");
    assert_eq!((*first.get_ref(), replayed(&first)), (1, false));
    assert_eq!((*second.get_ref(), replayed(&second)), (1, true));
    let other_key = open(&db, &keyed(&cx, "k2"), &"a".to_owned()).await.expect("opened");
    assert_eq!((*other_key.get_ref(), replayed(&other_key)), (2, false));
    let no_key = Ctx { idempotency_key: None, ..cx };
    assert_eq!(*open(&db, &no_key, &"a".to_owned()).await.expect("opened").get_ref(), 3);
}

#[tokio::test]
async fn another_request_under_the_key_is_refused() {
    let (test, db) = setup().await;
    let cx = keyed(&test.cx(&[]), "k");
    open(&db, &cx, &"a".to_owned()).await.expect("opened");
    let error = open(&db, &cx, &"b".to_owned()).await.expect_err("another request");
    assert_eq!((error.kind, error.code), (Kind::Invalid, "idempotency_key_reused"));
}

#[tokio::test]
async fn keys_belong_to_principal_organization_and_rpc() {
    let (test, db) = setup().await;
    let mine = keyed(&test.cx(&[]), "k");
    open(&db, &mine, &"a".to_owned()).await.expect("opened");
    let colleague = keyed(&test.cx_in(mine.org, &[]), "k");
    let elsewhere = Ctx { org: platform::ctx::OrgId(test.source().id()), ..mine.clone() };
    let other_rpc = Ctx { rpc: "/test.v1.Things/Other".into(), ..mine.clone() };
    for cx in [colleague, elsewhere, other_rpc] {
        assert!(!replayed(&open(&db, &cx, &"b".to_owned()).await.expect("opened")));
    }
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let (test, db) = setup().await;
    let cx = keyed(&test.cx(&[]), "k");
    let error = open(&db, &cx, &"bad".to_owned()).await.expect_err("refused");
    assert_eq!(error.code, "bad");
    let answer = open(&db, &cx, &"good".to_owned()).await.expect("opened");
    assert_eq!((*answer.get_ref(), replayed(&answer)), (1, false));
}

#[tokio::test]
async fn while_one_runs_the_other_is_told_to_wait() {
    let (test, db) = setup().await;
    let cx = keyed(&test.cx(&[]), "k");
    let request = "a".to_owned();
    let call = idempotency::Call::new(&cx, &request).expect("a good key");
    let mut running = db.begin(&cx).await.expect("begun");
    running.batch_execute("SET idle_in_transaction_session_timeout = 0").await.expect("set");
    assert!(call.enter::<i64>(&mut running).await.expect("entered").is_none());
    let error = open(&test.another_db("bare"), &cx, &request).await.expect_err("still running");
    assert_eq!((error.kind, error.code), (Kind::Conflict, "idempotency_in_progress"));
    assert_eq!(error.retry_after, Some(Duration::from_secs(1)));
    running.rollback().await.expect("rolled back");
    open(&db, &cx, &request).await.expect("free again");
}

#[tokio::test]
async fn two_at_once_act_once() {
    let (test, db) = setup().await;
    let cx = keyed(&test.cx(&[]), "k");
    let request = "a".to_owned();
    let calls = (0..8).map(|_| open(&db, &cx, &request));
    let answers = futures::future::join_all(calls).await;
    let fresh = answers.iter().flatten().filter(|answer| !replayed(answer)).count();
    assert_eq!(fresh, 1);
    for error in answers.into_iter().filter_map(Result::err) {
        assert_eq!(error.code, "idempotency_in_progress");
    }
    let rows = test.admin().await.query_one("SELECT count(*) FROM pulseops_bare.things", &[]).await;
    assert_eq!(rows.expect("counted").get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let (test, db) = setup().await;
    let cx = keyed(&test.cx(&[]), "k");
    open(&db, &cx, &"a".to_owned()).await.expect("opened");
    assert_eq!(idempotency::sweep(&db).await.expect("swept"), 0);
    test.advance(KEPT + Duration::from_secs(1)).await;
    let later = Ctx { now: test.source().now(), ..cx };
    let answer = open(&db, &later, &"b".to_owned()).await.expect("the row's time is over");
    assert_eq!((*answer.get_ref(), replayed(&answer)), (2, false));
    test.advance(KEPT + Duration::from_secs(1)).await;
    assert_eq!(idempotency::sweep(&db).await.expect("swept"), 1);
}

#[tokio::test]
async fn keys_have_1_to_255_characters() {
    let (test, db) = setup().await;
    let cx = test.cx(&[]);
    for key in [String::new(), "k".repeat(256)] {
        let error = open(&db, &keyed(&cx, &key), &"a".to_owned()).await.expect_err("refused");
        assert_eq!(error.code, "invalid_idempotency_key");
    }
    open(&db, &keyed(&cx, &"é".repeat(255)), &"a".to_owned()).await.expect("just fits");
}
