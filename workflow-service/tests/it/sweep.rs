//! Runs leave a while after they have ended, when their incident is resolved.

use chrono::TimeDelta;
use platform::rpc;
use platform::testing::eventually;
use proto::incident::v1 as inc;
use proto::workflow::v1 as pb;
use workflow_service::NAME;
use workflow_service::sweep::Sweeper;

use crate::world::{SOON, World};

/// More than one transaction removes.
const MANY: u64 = 450;

/// Somebody resolves the incident, and the service has heard of it.
async fn resolve(world: &World, incident: &inc::Incident) {
    let message = inc::ResolveIncidentRequest { id: incident.id.clone(), ..Default::default() };
    world.incidents().resolve_incident(rpc::request(&world.owner(), message)).await.expect("resolved");
    let (admin, id) = (world.db.admin().await, &incident.id);
    let heard =
        "SELECT FROM pulseops_workflow.incident_states WHERE incident_id::text = $1 AND status = 'resolved'";
    eventually(SOON, async || admin.query_opt(heard, &[id]).await.expect("asked").map(drop)).await;
}

/// Moves the end of an incident's runs so many days back.
async fn ended(world: &World, incident: &str, days: i64, runs: u64) {
    let back = format!(
        "UPDATE runs SET ended_at = ended_at - interval '{days} days' WHERE incident_id = '{incident}'"
    );
    assert_eq!(world.sql(&back).await, runs);
}

#[tokio::test]
async fn runs_that_ended_long_ago_leave_with_their_steps() {
    let world = World::new().await;
    let service = world.service("payment", None).await;
    let mut incidents = Vec::new();
    for _ in 0..4 {
        incidents.push(world.open(&service).await);
    }
    for incident in &incidents {
        world.until(incident, "built-in policy", pb::RunStatus::Succeeded).await;
        world.until_settled(incident).await;
    }
    let [old, recent, owing, open] = &incidents[..] else { panic!("four incidents") };
    for incident in [old, recent, owing] {
        resolve(&world, incident).await;
    }
    let (running, slow) = (world.channel("page", "http://127.0.0.1:9/page".to_owned()).await, "slow");
    let policy = world.slow_policy(slow, vec![vec![running]]).await;
    let running = world.open(&world.service("orders", Some(&policy)).await).await;
    world.at_rest(&running, "Policy slow").await;

    let copies = format!(
        "INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object(\
          'id', gen_random_uuid(), 'origin', 'event:' || 1000 + n))).* \
         FROM runs r, generate_series(1, {MANY}) n WHERE incident_id = '{}'",
        old.id
    );
    assert_eq!(world.sql(&copies).await, MANY);
    ended(&world, &old.id, 401, MANY + 1).await;
    ended(&world, &recent.id, 399, 1).await;
    ended(&world, &open.id, 402, 1).await;
    let owes =
        format!("UPDATE runs SET due_at = now() + interval '1 day' WHERE incident_id = '{}'", owing.id);
    assert_eq!(world.sql(&owes).await, 1);
    ended(&world, &owing.id, 401, 1).await;

    let sweeper = Sweeper::new(&world.db.db(NAME), world.db.source(), TimeDelta::days(400));
    sweeper.step().await.expect("swept");
    let mut left = Vec::new();
    for incident in [old, recent, owing, open, &running] {
        left.push(world.runs(incident).await.len());
    }
    assert_eq!(left, [0, 1, 1, 1, 1]);
    resolve(&world, open).await;
    sweeper.step().await.expect("swept");
    assert_eq!(world.runs(open).await.len(), 0, "when its incident is resolved");
    let orphans = "SELECT count(*) FROM pulseops_workflow.run_steps s \
        WHERE NOT EXISTS (SELECT FROM pulseops_workflow.runs r WHERE r.org_id = s.org_id AND r.id = s.run_id)";
    let orphans: i64 = world.db.admin().await.query_one(orphans, &[]).await.expect("counted").get(0);
    assert_eq!(orphans, 0);
    assert!(!world.timeline(old).await.is_empty(), "what happened stays with the incident");
}
