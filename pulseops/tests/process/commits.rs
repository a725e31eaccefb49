//! Where the milliseconds go: how often the database commits between an event and its page.

use std::cell::Cell;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::any;
use platform::testing::eventually;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_postgres::Client as Admin;

use crate::home::Home;
use crate::support::client::{SOON, id};

/// Append; rules, alert, incident and outbox; relay; run; delivery. See docs/architecture.md.
const ON_THE_WAY: i64 = 5;
/// analytics-service writes its record beside the way: it stops before its first commit, so that what is left
/// is the way.
const STOPPED: (&str, &str) = ("PULSEOPS_FAILPOINTS", "consumer.before_commit.history=pause");
/// Leases are renewed meanwhile: the first of so many tries that nothing disturbs is the way itself.
const TRIES: usize = 100;
/// So many looks without a commit, 10 ms apart. A try that begins too early counts too much, and another follows.
const QUIET_LOOKS: u32 = 5;

/// How many writing transactions have ended so far; looking takes none.
async fn mark(admin: &Admin) -> i64 {
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8";
    admin.query_one(sql, &[]).await.expect("the private database").get(0)
}

/// Waits until what follows a page has been written, too.
async fn quiet(admin: &Admin) -> i64 {
    // (what the last look saw, how many looks saw it)
    let seen = Cell::new((0, 0));
    eventually(SOON, async || {
        let now = mark(admin).await;
        let (last, looks) = seen.get();
        seen.set((now, if now == last { looks + 1 } else { 0 }));
        (seen.get().1 >= QUIET_LOOKS).then_some(now)
    })
    .await
}

async fn arrived((admin, marks): (Arc<Admin>, UnboundedSender<i64>)) {
    // The test has ended when nobody listens.
    let _ = marks.send(mark(&admin).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_event_to_the_page_in_five_commits() {
    let home = Home::new();
    let process = home.up_with(&[STOPPED]);
    home.ready().await;
    let admin = Arc::new(home.admin().await);
    let (sender, mut marks) = unbounded_channel();
    let shared = (admin.clone(), sender);
    let page = any(|State(shared): State<(Arc<Admin>, UnboundedSender<i64>)>| arrived(shared));
    let router = Router::new().route("/page", page).with_state(shared);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });

    let ada = home.nobody().register("Ada").await;
    let method = json!({"kind": "webhook", "address": format!("http://{address}/page")});
    ada.create(&format!("/v1/users/{}/contact-methods", ada.id), method).await;
    let policy = json!({"slug": "p", "name": "P",
        "levels": [{"targets": [{"kind": "user", "id": ada.id}], "timeout_ms": 3_600_000}]});
    let policy = id(&ada.create("/v1/escalation-policies", policy).await);
    let service = json!({"slug": "payment", "name": "Payment", "escalation_policy_id": policy});
    let service = id(&ada.create("/v1/services", service).await);
    let rule = json!({"slug": "r", "name": "R", "service_id": service, "selection": "true",
        "condition": {"each": {}}, "severity": "critical", "dedup_key": "{event.dedup_key}"});
    ada.create("/v1/rules", rule).await;

    let mut least = i64::MAX;
    for number in 0..TRIES {
        let before = quiet(&admin).await;
        // An earlier page that was told again.
        while marks.try_recv().is_ok() {}
        let event = json!({"service": "payment", "name": "x", "dedup_key": format!("k{number}")});
        ada.post("/v1/events", event).await.expect(202);
        let arrived = tokio::time::timeout(SOON, marks.recv()).await.expect("a page").expect("a mark");
        least = least.min(arrived - before);
        if least <= ON_THE_WAY {
            break;
        }
    }
    assert_eq!(least, ON_THE_WAY, "commits from the event to the page");
    process.kill().await;
}
