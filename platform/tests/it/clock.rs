use platform::clock;
use platform::testing::TestDb;

/// How far this test's clock is ahead of the database's, in seconds.
async fn ahead(test: &TestDb) -> i64 {
    let sql = "SELECT (extract(epoch FROM pulseops.now()) * 1000)::int8";
    let there: i64 = test.admin().await.query_one(sql, &[]).await.expect("the time").get(0);
    // Half a second is for the way there and back.
    (test.source().now().timestamp_millis() - there + 500) / 1000
}

#[tokio::test]
async fn a_clock_that_is_off_follows_the_databases() {
    let test = TestDb::new().await;
    let shift = "UPDATE pulseops.test_clock SET shift = '-1 hour'";
    test.admin().await.execute(shift, &[]).await.expect("the database's clock moves");
    assert_eq!(ahead(&test).await, 3600);
    clock::adjust(test.source(), &test.db("bus")).await.expect("an answer");
    assert_eq!(ahead(&test).await, 0);
}
