//! What ended long ago leaves.

use std::time::Duration;

use notification_service::NAME;
use notification_service::sweep::Sweeper;
use platform::error::Kind;
use platform::rpc;
use platform::testing::Receiver;
use proto::notification::v1 as wire;
use wire::NotificationStatus::Delivered;

use crate::neighbours::settled;
use crate::world::{World, channel, error};

#[tokio::test(flavor = "multi_thread")]
async fn messages_leave_with_all_that_became_of_them() {
    let world = World::with_peers().await;
    let receiver = Receiver::start().await;
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let old = world.send(world.page("old", vec![channel(&ops.id)])).await;
    world.until(&old.notification_ids[0], Delivered).await;
    settled(&world).await;
    receiver.then_with(503, &[("retry-after", "3600")]);
    let dev = world.create_channel("dev", &receiver.url("dev")).await;
    let waits = world.send(world.page("waits", vec![channel(&dev.id)])).await;
    world.failed(&waits.notification_ids[0], 1).await;

    let sweeper = Sweeper::new(&world.db.db(NAME), world.db.source(), 400);
    assert_eq!(sweeper.step().await.expect("swept"), 0);
    world.db.advance(Duration::from_secs(401 * 86_400)).await;
    world.until(&waits.notification_ids[0], Delivered).await;
    assert_eq!(sweeper.step().await.expect("swept"), 1);

    let get = wire::GetNotificationRequest { id: old.notification_ids[0].clone() };
    let gone = world.notifications().get_notification(rpc::request(&world.owner(), get)).await;
    assert_eq!(error(gone).kind, Kind::NotFound);
    let left = "SELECT (SELECT count(*) FROM pulseops_notification.messages), \
        (SELECT count(*) FROM pulseops_notification.notifications), (SELECT count(*) FROM pulseops_notification.attempts)";
    let left = world.db.admin().await.query_one(left, &[]).await.expect("counted");
    assert_eq!((left.get::<_, i64>(0), left.get::<_, i64>(1), left.get::<_, i64>(2)), (1, 1, 2));
}
