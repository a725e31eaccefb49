use platform::testing::{self, TestDb};

#[tokio::test(flavor = "multi_thread")]
async fn schema_is_current() {
    let db = TestDb::with(&[analytics_service::MIGRATIONS]).await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs");
    testing::assert_schema_current(&db, "analytics", path).await;
}
