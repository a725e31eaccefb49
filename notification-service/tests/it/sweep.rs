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

/// Messages that ended 500 days ago, the oldest first, each with so many notifications.
async fn insert_old(world: &World, messages: u32, each: u32) {
    let sql = format!(
        "SET search_path TO pulseops_notification;
         INSERT INTO messages (org_id, id, send_key, subject, text_body, json_body, nobody_reachable, actor_kind, actor_id, actor_name, trace, created_at)
         SELECT '{org}', md5(n::text)::uuid, n::text, 's', 't', '{{}}', false, 0, '', '', '', now() - n * interval '1 minute' - interval '500 days'
         FROM generate_series(1, {messages}) n;
         INSERT INTO notifications (org_id, id, key, message_id, status, kind, recipient, address_shown, order_key, sequence, decided_at, spent, failing_told, created_at, ended_at)
         SELECT org_id, md5(send_key || '/' || n)::uuid, send_key || '/' || n, id, 'delivered', 'log', 'r', 'a', send_key, 1, now(), 0, false, created_at, created_at
         FROM messages CROSS JOIN generate_series(1, {each}) n",
        org = world.org,
    );
    world.db.admin().await.batch_execute(&sql).await.expect("inserted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_leave_holds_up_no_others() {
    let world = World::new().await;
    insert_old(&world, 150, 1).await;
    let refuse =
        "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$";
    let refuse = refuse.replace("pg_temp", "pulseops_notification");
    let trigger = "CREATE TRIGGER refuse BEFORE DELETE ON pulseops_notification.messages FOR EACH ROW \
        WHEN (OLD.send_key = '120') EXECUTE FUNCTION pulseops_notification.refuse()";
    world.db.admin().await.batch_execute(&format!("{refuse}; {trigger}")).await.expect("set");
    let sweeper = Sweeper::new(&world.db.db(NAME), world.db.source(), 400);
    assert_eq!(sweeper.step().await.expect("swept"), 149);
}
