//! How Postgres goes about the statements that run most, when their tables are large: by index, whatever
//! lies there already.

use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use super::reader::FETCH;
use super::statements::RELAY;
use crate::ctx::OrgId;
use crate::dead_letters::{self, Filter};
use crate::testing::{BARE, TestDb};

/// What one node of a plan does: `Index Scan`, the table, the index.
type Node = (String, String, String);

/// The nodes of the plan of `sql`, whose `$1`, `$2`, … are these.
async fn plan(client: &Client, sql: &str, values: &[&str]) -> Vec<Node> {
    let numbered = values.iter().enumerate().rev();
    let text = numbered.fold(sql.to_owned(), |sql, (n, value)| sql.replace(&format!("${}", n + 1), value));
    let explain = format!("EXPLAIN (FORMAT JSON) {text}");
    let row = client.simple_query(&explain).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let lines = row.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let json: Value = serde_json::from_str(&lines.collect::<String>()).expect("a plan");
    let mut nodes = Vec::new();
    walk(&json, &mut nodes);
    nodes
}

fn walk(value: &Value, nodes: &mut Vec<Node>) {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if value.get("Node Type").is_some() {
        nodes.push((text("Node Type"), text("Relation Name"), text("Index Name")));
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| walk(value, nodes)),
        Value::Object(values) => values.values().for_each(|value| walk(value, nodes)),
        _ => {}
    }
}

/// `table` is never read whole, and these of its indexes are used.
fn assert_by_index(nodes: &[Node], table: &str, indexes: &[&str]) {
    let whole = |(kind, relation, _): &&Node| relation == table && kind == "Seq Scan";
    assert_eq!(nodes.iter().find(whole), None, "{nodes:?}");
    for index in indexes {
        assert!(nodes.iter().any(|node| node.2 == *index), "{index}: {nodes:?}");
    }
}

async fn filled(setup: &str) -> (TestDb, Client) {
    let db = TestDb::with(&[BARE]).await;
    let client = db.admin().await;
    client.batch_execute(setup).await.expect("filled");
    (db, client)
}

/// Of 20,200 rows those above `held_above` are held.
fn outbox(held_above: i32, analyze: &str) -> String {
    format!(
        "ALTER TABLE pulseops_bare.outbox SET (autovacuum_enabled = off);
         INSERT INTO pulseops_bare.outbox
             (aggregate_id, version, topic, partition, key, type, org_id, depth, frame, created_at, sent_at, held_at)
         SELECT 'a' || n % 500, n, 't', 0, '', 'x', gen_random_uuid(), 0, 'frame', now(),
             CASE WHEN n <= 20000 THEN now() END, CASE WHEN n > {held_above} THEN now() END
         FROM generate_series(1, 20203) n;
         {analyze};
         SET search_path = pulseops_bare, pulseops;
         SET ROLE pulseops_bare"
    )
}

#[tokio::test]
async fn the_relay_looks_at_what_is_unsent() {
    let (_db, client) = filled(&outbox(20_200, "ANALYZE pulseops_bare.outbox")).await;
    let indexes = ["outbox_unsent_idx", "outbox_held_id_idx", "outbox_pkey"];
    let waiting = ["20001", "9223372036854775807", "false", "1000", "4194304", "1048576", "1000"];
    assert_by_index(&plan(&client, RELAY, &waiting).await, "outbox", &indexes);
    let from_the_beginning = ["0", "9223372036854775807", "false", "1000", "4194304", "1048576", "1000"];
    assert_by_index(&plan(&client, RELAY, &from_the_beginning).await, "outbox", &indexes);
    let one = ["20202", "20202", "true", "1", "4194304", "1048576", "1"];
    assert_by_index(&plan(&client, RELAY, &one).await, "outbox", &["outbox_held_id_idx"]);
}

/// Among those that are sent it would be found last.
#[tokio::test]
async fn the_relay_finds_the_oldest_held_row_whatever_is_known_of_the_table() {
    for (held_above, analyze) in [(20_200, ""), (18_000, "ANALYZE pulseops_bare.outbox")] {
        let (_db, client) = filled(&outbox(held_above, analyze)).await;
        let waiting = ["20001", "9223372036854775807", "false", "1000", "4194304", "1048576", "1000"];
        let nodes = plan(&client, RELAY, &waiting).await;
        assert!(nodes.iter().any(|node| node.2 == "outbox_held_id_idx"), "{analyze}: {nodes:?}");
    }
}

#[tokio::test]
async fn the_reader_looks_at_what_is_next() {
    let (_db, client) = filled(
        "INSERT INTO pulseops_bus.log (topic_id, partition, base_offset, count, written_at, payload)
         SELECT t, p, n * 10, 10, now(), 'payload'
         FROM generate_series(1, 4) t, generate_series(0, 3) p, generate_series(0, 2000) n;
         ANALYZE pulseops_bus.log;
         SET search_path = pulseops_bus, pulseops;
         SET ROLE pulseops_bus",
    )
    .await;
    let values = ["1", "500", "4194304", "'{0,1,2,3}'::int4[]", "'{19000,19000,19000,19000}'::int8[]"];
    assert_by_index(&plan(&client, FETCH, &values).await, "log", &["log_pkey"]);
}

#[tokio::test]
async fn dead_letters_are_listed_in_the_order_of_their_index() {
    let org = Uuid::from_u128(7);
    let (_db, client) = filled(&format!(
        "INSERT INTO pulseops_bus.dead_letters
         SELECT lpad(to_hex(org), 32, '0')::uuid, gen_random_uuid(), 'c', 't', 0, n, '', gen_random_uuid(), 'x', 's',
             'a', now(), 0, '', NULL, 0, '', 'code', 'detail', 1, 'dead', now(), NULL, 1
         FROM generate_series(1, 20) org, generate_series(1, 1000) n;
         ANALYZE pulseops_bus.dead_letters;
         SET ROLE pulseops_bus;
         SET pulseops.org = '{org}'"
    ))
    .await;
    let sql = diesel::debug_query::<diesel::pg::Pg, _>(&dead_letters::page(
        OrgId(org),
        &Filter::default(),
        Some(Uuid::max()),
        100,
    ))
    .to_string();
    let (sql, _) = sql.split_once(" -- binds").expect("what is bound comes behind it");
    let (org, after) = (format!("'{org}'::uuid"), format!("'{}'::uuid", Uuid::max()));
    // In the order in which the text has them.
    let plan = plan(&client, sql, &[&org, &after, "100"]).await;
    assert_by_index(&plan, "dead_letters", &["dead_letters_pkey"]);
    assert!(plan.iter().all(|(kind, ..)| kind != "Sort"), "{plan:?}");
}
