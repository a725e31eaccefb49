use platform::clock;
use platform::testing::TestDb;

/// Whether this test's clock is so many seconds ahead of the database's. A minute is for the way there
/// and back, on the slowest machine.
async fn is_ahead(test: &TestDb, seconds: i64) -> bool {
    let sql = "SELECT extract(epoch FROM pulseops.now())::int8";
    let there: i64 = test.admin().await.query_one(sql, &[]).await.expect("the time").get(0);
    (test.source().now().timestamp() - there - seconds).abs() < 60
}

#[tokio::test]
async fn a_clock_that_is_off_follows_the_databases() {
    let test = TestDb::new().await;
    let shift = "UPDATE pulseops.test_clock SET shift = '-1 hour'";
    test.admin().await.execute(shift, &[]).await.expect("the database's clock moves");
    assert!(is_ahead(&test, 3600).await);
    clock::adjust(test.source(), &test.db("bus")).await.expect("an answer");
    assert!(is_ahead(&test, 0).await);
}
