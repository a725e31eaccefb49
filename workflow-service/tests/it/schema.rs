use platform::testing::{TestDb, assert_reversible, assert_schema_current, unguarded_tables};
use workflow_service::NAME;

use crate::world::OURS;

#[tokio::test]
async fn schema_is_current() {
    let db = TestDb::with(&[OURS]).await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs");
    assert_schema_current(&db, NAME, path).await;
    assert_eq!(unguarded_tables(&db.admin().await, "pulseops_workflow").await, Vec::<String>::new());
}

#[tokio::test]
async fn migrations_go_down_and_up_again() {
    assert_reversible(&[OURS]).await;
}
