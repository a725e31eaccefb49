//! What hangs for one organization's workflows keeps nobody's page waiting.

use platform::testing::{Receiver, eventually};
use proto::workflow::v1::{self as pb, step::Kind};

use crate::world::{SOON, World, http, on_created};

#[tokio::test]
async fn http_steps_that_hang_delay_no_page() {
    let mut world = World::new().await;
    let (tarpit, endpoint) = (Receiver::start().await, Receiver::start().await);
    let gate = tarpit.gate();
    let page = world.channel("ours", endpoint.url("ours")).await;
    let policy = world.policy("ours", vec![vec![page]], 0).await;
    let stuck = world.service("stuck", None).await;
    let ours = world.service("ours", Some(&policy)).await;
    for n in 0..64 {
        // Should the test take longer than one try, the next one hangs as well.
        let step = pb::HttpStep { timeout_ms: 30_000, ..http(tarpit.url("runbook"), 20) };
        let workflow = on_created(&format!("stuck-{n}"), vec![Kind::Http(step)]);
        world.workflow(pb::Workflow { service_ids: vec![stuck.id.clone()], ..workflow }).await;
    }
    world.open(&stuck).await;
    let stuck = || tarpit.distinct("idempotency-key").len();
    eventually(SOON, async || (stuck() >= 40).then_some(())).await;

    let stranger = world.stranger();
    let owner = world.move_to(stranger);
    let page = world.channel("theirs", endpoint.url("theirs")).await;
    let policy = world.policy("theirs", vec![vec![page.clone()]], 0).await;
    let theirs = world.service("theirs", Some(&policy)).await;
    let told = Kind::Notify(pb::NotifyStep { targets: vec![page], message: "theirs too".to_owned() });
    world.workflow(on_created("tell", vec![told])).await;
    world.open(&theirs).await;
    eventually(SOON, async || (endpoint.hits_of("/theirs").len() >= 2).then_some(())).await;

    world.move_to(owner);
    world.open(&ours).await;
    endpoint.nth("/ours", 1).await;
    gate.add_permits(10_000);
    eventually(SOON, async || (stuck() == 64).then_some(())).await;
}
