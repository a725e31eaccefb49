use platform::testing::{self, TestDb};

#[tokio::test(flavor = "multi_thread")]
async fn schema_is_current() {
    let db = TestDb::with(&[crate::OURS]).await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs");
    testing::assert_schema_current(&db, "analytics", path).await;
}
