use platform::testing::{TestDb, assert_reversible, assert_schema_current, unguarded_tables};

use crate::world::OURS;

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
    let unguarded = unguarded_tables(&db.admin().await, "pulseops_notification").await;
    assert_eq!(unguarded, Vec::<String>::new());
}
