use diesel_async::RunQueryDsl;
use platform::ctx::Ctx;
use platform::db::Tx;

use crate::world::{OURS, World};

platform::schema_tests!(OURS);

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
