use diesel_async::RunQueryDsl;
use platform::ctx::Ctx;
use platform::db::Tx;
use platform::testing::{TestDb, assert_reversible, assert_schema_current, unguarded_tables};

use crate::world::{OURS, World};

#[tokio::test]
async fn schema_is_current() {
    let db = TestDb::with(&[OURS]).await;
    assert_schema_current(&db, OURS.owner, concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs")).await;
}

#[tokio::test]
async fn migrations_go_down_and_up_again() {
    assert_reversible(&[OURS]).await;
}

#[tokio::test]
async fn every_table_is_guarded() {
    let db = TestDb::with(&[OURS]).await;
    let unguarded = unguarded_tables(&db.admin().await, "pulseops_incident").await;
    assert_eq!(unguarded, Vec::<String>::new());
}

#[tokio::test]
async fn without_an_organization_there_is_nothing_to_see() {
    let world = World::new().await;
    world.create_incident(&world.payment().await).await;
    let all = "SELECT count(*) AS count FROM incidents";
    let count = async |mut tx: Tx| {
        let row: Count = diesel::sql_query(all).get_result(&mut *tx).await.expect("a count");
        tx.rollback().await.expect("rolled back");
        row.count
    };
    let db = world.db.db(OURS.owner);
    let begin = async |cx: &Ctx| db.begin(cx).await.expect("a transaction");
    assert_eq!(count(begin(&world.owner()).await).await, 1);
    // Not even without a filter of our own.
    assert_eq!(count(begin(&world.stranger()).await).await, 0);
    assert_eq!(count(begin(&Ctx::anonymous(world.db.source().clone())).await).await, 0);
    assert_eq!(count(db.begin_system("test").await.expect("a transaction")).await, 1);
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}
