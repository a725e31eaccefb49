//! Runs leave a while after they have ended.

use chrono::TimeDelta;
use proto::workflow::v1 as pb;
use workflow_service::NAME;
use workflow_service::sweep::Sweeper;

use crate::world::World;

/// More than one transaction removes.
const MANY: u64 = 450;

/// Moves the end of an incident's runs so many days back.
async fn ended(world: &World, incident: &str, days: i64) {
    let back = format!(
        "UPDATE runs SET ended_at = ended_at - interval '{days} days' WHERE incident_id = '{incident}'"
    );
    assert_eq!(world.sql(&back).await, 1);
}

#[tokio::test]
async fn runs_that_ended_long_ago_leave_with_their_steps() {
    let world = World::new().await;
    let service = world.service("payment", None).await;
    let mut incidents = Vec::new();
    for _ in 0..3 {
        incidents.push(world.open(&service).await);
    }
    for incident in &incidents {
        world.until(incident, "built-in policy", pb::RunStatus::Succeeded).await;
    }
    let [old, recent, owing] = &incidents[..] else { panic!("three incidents") };
    let (running, slow) = (world.channel("page", "http://127.0.0.1:9/page".to_owned()).await, "slow");
    let policy = world.slow_policy(slow, vec![vec![running]]).await;
    let running = world.open(&world.service("orders", Some(&policy)).await).await;
    world.at_rest(&running, "Policy slow").await;

    ended(&world, &old.id, 401).await;
    ended(&world, &recent.id, 399).await;
    ended(&world, &owing.id, 401).await;
    let owes =
        format!("UPDATE runs SET due_at = now() + interval '1 day' WHERE incident_id = '{}'", owing.id);
    assert_eq!(world.sql(&owes).await, 1);
    let copies = format!(
        "INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object(\
          'id', gen_random_uuid(), 'origin', 'event:' || 1000 + n))).* \
         FROM runs r, generate_series(1, {MANY}) n WHERE incident_id = '{}'",
        old.id
    );
    assert_eq!(world.sql(&copies).await, MANY);

    let sweeper = Sweeper::new(&world.db.db(NAME), world.db.source(), TimeDelta::days(400));
    assert_eq!(sweeper.step().await.expect("swept"), MANY + 1);
    assert_eq!(sweeper.step().await.expect("swept"), 0, "once is enough");
    let mut left = Vec::new();
    for incident in [old, recent, owing, &running] {
        left.push(world.runs(incident).await.len());
    }
    assert_eq!(left, [0, 1, 1, 1]);
    let orphans = "SELECT count(*) FROM pulseops_workflow.run_steps s \
        WHERE NOT EXISTS (SELECT FROM pulseops_workflow.runs r WHERE r.org_id = s.org_id AND r.id = s.run_id)";
    let orphans: i64 = world.db.admin().await.query_one(orphans, &[]).await.expect("counted").get(0);
    assert_eq!(orphans, 0);
    assert!(!world.timeline(old).await.is_empty(), "what happened stays with the incident");
}
