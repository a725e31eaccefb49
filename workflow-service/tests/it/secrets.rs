//! The values of headers: used in calls, shown nowhere.

use platform::rpc;
use platform::testing::Receiver;
use prost_types::FieldMask;
use proto::workflow::v1::{self as pb, step::Kind};

use crate::world::{World, http, on_created};

const TOKEN: &str = "Bearer hunter2-hunter2";

fn headers(workflow: &pb::Workflow) -> Vec<&str> {
    let calls = workflow.steps.iter().filter_map(|step| match &step.kind {
        Some(Kind::Http(http)) => Some(http),
        _ => None,
    });
    calls.flat_map(|http| http.headers.values()).map(String::as_str).collect()
}

fn with_token(url: String) -> pb::HttpStep {
    pb::HttpStep { headers: [("Authorization".to_owned(), TOKEN.to_owned())].into(), ..http(url, 2) }
}

/// Every text in the tables of the schema, as one.
async fn everything(world: &World, schema: &str) -> String {
    let admin = world.db.admin().await;
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1";
    let mut text = String::new();
    for table in admin.query(tables, &[&schema]).await.expect("the catalog") {
        let sql = format!(
            "SELECT coalesce(string_agg(t::text, ''), '') FROM {schema}.{} t",
            table.get::<_, &str>(0)
        );
        text += admin.query_one(&sql, &[]).await.expect("its rows").get(0);
    }
    text
}

#[tokio::test]
async fn a_token_is_sent_and_nowhere_to_be_read() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    endpoint.then(500).then(200);
    let service = world.service("payment", None).await;
    let workflow = on_created("first-aid", vec![Kind::Http(with_token(endpoint.url("retry")))]);
    let made = world.workflow(workflow).await;
    assert_eq!(headers(&made), ["***"]);
    let incident = world.open(&service).await;
    world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
    assert_eq!(endpoint.headers("authorization"), [TOKEN, TOKEN]);
    world.until_settled(&incident).await;
    let list = rpc::request(&world.owner(), pb::ListWorkflowsRequest::default());
    let listed = world.workflows().list_workflows(list).await.expect("listed").into_inner();
    assert_eq!(headers(&listed.items[0]), ["***"]);
    for schema in ["pulseops_workflow", "pulseops_incident", "pulseops_bus"] {
        let text = everything(&world, schema).await;
        // bytea is written in hexadecimal.
        let hidden = ["hunter2".to_owned(), hex::encode("hunter2")].iter().all(|it| !text.contains(it));
        assert!(hidden && !text.is_empty(), "{schema}");
    }
}

#[tokio::test]
async fn what_was_read_can_be_sent_back() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let service = world.service("payment", None).await;
    let workflow = on_created("first-aid", vec![Kind::Http(with_token(endpoint.url("old")))]);
    let made = world.workflow(workflow).await;
    let update = |steps: Vec<pb::Step>, path: &str| pb::UpdateWorkflowRequest {
        id: made.id.clone(),
        workflow: Some(pb::Workflow { name: "First aid".to_owned(), steps, ..pb::Workflow::default() }),
        update_mask: Some(FieldMask { paths: vec![path.to_owned()] }),
    };
    let mut steps = made.steps.clone();
    if let Some(Kind::Http(http)) = &mut steps[0].kind {
        http.url = endpoint.url("new");
    }
    for (steps, path) in [(steps.clone(), "steps"), (vec![], "name")] {
        let request = rpc::request(&world.owner(), update(steps, path));
        let changed = world.workflows().update_workflow(request).await.expect("changed").into_inner();
        assert_eq!(headers(&changed), ["***"], "{path}");
    }
    let incident = world.open(&service).await;
    world.until(&incident, "First aid", pb::RunStatus::Succeeded).await;
    let hits = endpoint.hits();
    assert_eq!((hits[0].path.as_str(), hits[0].header("authorization")), ("/new", TOKEN));

    if let Some(Kind::Http(http)) = &mut steps[0].kind {
        http.url = "https://elsewhere.example.com/".to_owned();
    }
    let request = rpc::request(&world.owner(), update(steps, "steps"));
    let refused = world.workflows().update_workflow(request).await.expect_err("another host");
    let faults = platform::error::Error::from(refused).fields;
    assert_eq!(faults[0].field, "workflow.steps[0].http.headers.Authorization");
}
