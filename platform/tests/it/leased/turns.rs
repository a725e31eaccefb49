//! Whose rows a look takes, and what it costs to find them.

use platform::ctx::OrgId;
use platform::leased::Slots;
use platform::testing::{SOON, eventually};
use tokio_postgres::Client;

use super::fixture::World;

/// With few rows the looks see all of them; with many they go from organization to organization.
#[tokio::test]
async fn organizations_take_turns_however_many_rows_one_has() {
    for rows in [5, 300] {
        let world = World::new().await;
        let orgs = [0, 1, 2].map(|_| OrgId(world.db.source().id()));
        for org in orgs {
            world.backlog(org, rows).await;
        }
        let (mut driver, work, _) = world.driver_of(Slots { all: 2, per_org: 1 });
        for look in 1..=6 {
            driver.step().await.expect("a step");
            assert_eq!(work.calls(), 2 * look);
        }
        for org in orgs {
            assert_eq!(world.steps_of(org).await, 4, "{rows} rows");
        }
    }
}

/// Index entries and rows of the jobs that statements have read so far.
async fn read(admin: &Client) -> i64 {
    let read = "SELECT (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'jobs')::int8
                     + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'jobs')::int8";
    admin.query_one(read, &[]).await.expect("the statistics").get(0)
}

/// Whether everybody else has left: a connection that ends has counted what it read.
async fn alone(admin: &Client) -> Option<()> {
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()
                    AND backend_type = 'client backend'";
    (admin.query_one(others, &[]).await.expect("the activity").get::<_, i64>(0) == 0).then_some(())
}

#[tokio::test]
async fn one_organizations_backlog_is_not_walked_to_find_anothers_row() {
    let world = World::new().await;
    let admin = world.db.admin().await;
    world.backlog(world.org, 20_000).await;
    for prepare in ["", "ANALYZE pulseops_bare.jobs"] {
        admin.batch_execute(prepare).await.expect("prepared");
        eventually(SOON, async || alone(&admin).await).await;
        let before = read(&admin).await;

        let other = OrgId(world.db.source().id());
        world.backlog(other, 1).await;
        let (mut driver, work, _) = world.driver_of(Slots { all: 4, per_org: 2 });
        driver.step().await.expect("a step");
        work.db.close();
        eventually(SOON, async || alone(&admin).await).await;
        let read = read(&admin).await - before;
        assert!(read < 2_000, "{read} entries read, {prepare}");
        assert_eq!((world.steps_of(other).await, work.calls()), (1, 3));
    }
}
