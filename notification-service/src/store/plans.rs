//! The statements that look through what piles up use their indexes.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use platform::ctx::Ctx;
use platform::migrate::Migrations;
use platform::page::{Page, Sort};
use platform::testing::TestDb;
use proto::notification::v1 as wire;

use super::messages;
use super::notifications::{Filter, list_query};
use crate::ids::NotificationId;
use crate::kinds::Status;

/// Messages of one organization; of their notifications the oldest are dead, all others are delivered.
const CROWD: &str = "
INSERT INTO messages (org_id, id, send_key, subject, text_body, json_body, nobody_reachable, actor_kind, actor_id, actor_name, trace, created_at)
SELECT '{org}', md5(n::text)::uuid, n::text, 's', 't', '{}', false, 0, '', '', '', now() - n * interval '1 minute'
FROM generate_series(1, 20000) n;
INSERT INTO notifications (org_id, id, key, message_id, status, kind, recipient, address_shown, order_key, sequence, decided_at, spent, failing_told, created_at, ended_at)
SELECT org_id, id, send_key, id, CASE WHEN send_key::int > 19980 THEN 'dead' ELSE 'delivered' END, 'log', 'r', 'a', send_key, 1, now(), 0, false, created_at, created_at
FROM messages;
ANALYZE";

struct Explain<Q>(Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explain<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("EXPLAIN ");
        self.0.walk_ast(out.reborrow())
    }
}

impl<Q> Query for Explain<Q> {
    type SqlType = Text;
}

impl<Q> QueryId for Explain<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

async fn crowded() -> (TestDb, Ctx) {
    let db = TestDb::with(&[Migrations { owner: crate::NAME, dir: &crate::MIGRATIONS }]).await;
    let cx = db.cx(&[]);
    let admin = db.admin().await;
    admin.batch_execute("SET search_path TO pulseops_notification").await.expect("our schema");
    admin.batch_execute(&CROWD.replace("{org}", &cx.org.to_string())).await.expect("inserted");
    (db, cx)
}

#[tokio::test]
async fn the_few_that_are_not_delivered_are_found() {
    let (db, cx) = crowded().await;
    for (statuses, said) in [
        (vec![Status::Pending], "status = 'pending'"),
        (vec![Status::Dead], "status = 'dead'"),
        (vec![Status::Pending, Status::Dead], "status IN ('pending', 'dead')"),
    ] {
        let filter = Filter { statuses, ..Filter::default() };
        let request = wire::ListNotificationsRequest::default();
        let page: Page<NotificationId> = Page::read(50, "", Sort::of("-id"), &request).expect("a page");
        let text = diesel::debug_query::<Pg, _>(&list_query(cx.org, &filter, &page)).to_string();
        assert!(text.contains(said), "whatever plan is kept, it can see the status: {text}");
        let plan: Vec<String> = platform::tx!(db.db(crate::NAME), &cx, |conn| {
            Ok(Explain(list_query(cx.org, &filter, &page)).load(conn).await?)
        })
        .expect("a plan");
        let plan = plan.join("\n");
        assert!(plan.contains("notifications_status_idx"), "{plan}");
    }
}

#[tokio::test]
async fn what_is_swept_is_found_by_its_age() {
    let (db, _) = crowded().await;
    let admin = db.admin().await;
    admin.batch_execute("SET search_path TO pulseops_notification").await.expect("our schema");
    let sweep = messages::SWEEP.replace("$1", "(now() - interval '10 days')").replace("$2", "100");
    let sweep = sweep.replace("$3", "0").replace("$4", "1000");
    let rows = admin.query(&format!("EXPLAIN {sweep}"), &[]).await.expect("a plan");
    let plan: String = rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
    assert!(plan.contains("messages_created_at_idx") && !plan.contains("Seq Scan on messages"), "{plan}");
}

#[tokio::test]
async fn a_batch_is_bounded_by_its_notifications() {
    let (db, cx) = crowded().await;
    let admin = db.admin().await;
    // The two oldest have 601 each.
    let more = "INSERT INTO pulseops_notification.notifications (org_id, id, key, message_id, status, kind, recipient, address_shown, order_key, sequence, decided_at, spent, failing_told, created_at, ended_at)
        SELECT org_id, md5(send_key || '/' || n)::uuid, send_key || '/' || n, id, 'dead', 'log', 'r', 'a', '', 1, now(), 0, false, created_at, created_at
        FROM pulseops_notification.messages CROSS JOIN generate_series(1, 600) n WHERE send_key IN ('20000', '19999')";
    admin.batch_execute(more).await.expect("inserted");
    let batch = messages::Batch { messages: 100, skip: 0, notifications: 1_000 };
    let before = db.source().now() - chrono::TimeDelta::days(1);
    let sweep = async || {
        let swept =
            platform::tx!(db.db(crate::NAME), &cx, |conn| { messages::sweep(conn, before, batch).await });
        swept.expect("swept")
    };
    let swept = sweep().await;
    assert_eq!((swept.found, swept.gone), (100, 2));
    assert_eq!(sweep().await.gone, 100);
}
