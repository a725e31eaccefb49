//! Workflows and policies through their door.

use platform::ctx::{Ctx, OrgId};
use platform::error::{Error, Kind as ErrorKind};
use platform::rpc::{self, keyed};
use prost_types::FieldMask;
use proto::workflow::v1::{self as pb, step::Kind};

use crate::world::{World, http, on_created};

fn note(text: &str) -> Vec<Kind> {
    vec![Kind::AddNote(pb::AddNoteStep { text: text.to_owned() })]
}

fn update(id: &str, paths: &[&str], workflow: pb::Workflow) -> pb::UpdateWorkflowRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    pb::UpdateWorkflowRequest {
        id: id.to_owned(),
        workflow: Some(workflow),
        update_mask: Some(FieldMask { paths }),
    }
}

#[tokio::test]
async fn a_workflow_is_made_read_changed_and_archived() {
    let world = World::new().await;
    let wanted = pb::Workflow {
        labels: [("area".to_owned(), "pay".to_owned())].into(),
        condition: "incident.number > 0".to_owned(),
        ..on_created("first-aid", note("hello"))
    };
    let made = world.workflow(wanted.clone()).await;
    let expected = pb::Workflow {
        id: made.id.clone(),
        created_at: made.created_at,
        updated_at: made.updated_at,
        version: 1,
        ..wanted
    };
    assert_eq!(made, expected);

    let cx = world.owner();
    let change = pb::Workflow { name: "First aid".to_owned(), hold_paging_ms: 5_000, ..Default::default() };
    let request = update(&made.id, &["name", "hold_paging_ms"], change);
    let changed = world.workflows().update_workflow(rpc::request(&cx, request.clone())).await;
    let changed = changed.expect("changed").into_inner();
    assert_eq!((changed.name.as_str(), changed.version, &changed.steps), ("First aid", 2, &made.steps));

    let mut stale = rpc::request(&cx, request);
    stale.metadata_mut().insert(rpc::IF_MATCH, "\"1\"".parse().expect("ASCII"));
    let error = Error::from(world.workflows().update_workflow(stale).await.expect_err("stale"));
    assert_eq!((error.kind, error.code), (ErrorKind::Precondition, "version_mismatch"));

    let delete = || pb::DeleteWorkflowRequest { id: made.id.clone() };
    world.workflows().delete_workflow(rpc::request(&cx, delete())).await.expect("archived");
    world.workflows().delete_workflow(rpc::request(&cx, delete())).await.expect("once is enough");
    let get = pb::GetWorkflowRequest { id: made.id.clone() };
    let got = world.workflows().get_workflow(rpc::request(&cx, get)).await.expect("still there");
    assert!(got.get_ref().archived_at.is_some());
    for (archived, count) in [(false, 0), (true, 1)] {
        let list = pb::ListWorkflowsRequest { archived, ..Default::default() };
        let listed = world.workflows().list_workflows(rpc::request(&cx, list)).await.expect("listed");
        assert_eq!(listed.get_ref().items.len(), count);
    }
}

#[tokio::test]
async fn the_same_key_makes_one_workflow() {
    let world = World::new().await;
    let message = || pb::CreateWorkflowRequest { workflow: Some(on_created("first-aid", note("x"))) };
    let mut client = world.workflows();
    let mut create = async |key: &str| {
        let request = keyed(&world.owner(), key, message()).expect("a key");
        client.create_workflow(request).await
    };
    let first = create("k1").await.expect("made");
    let again = create("k1").await.expect("replayed");
    assert_eq!(first.get_ref(), again.get_ref());
    assert!(again.metadata().contains_key(rpc::IDEMPOTENCY_REPLAYED));
    let error = Error::from(create("k2").await.expect_err("the slug is taken"));
    assert_eq!((error.code, error.fields[0].field.as_str()), ("already_exists", "slug"));
}

#[tokio::test]
async fn lists_go_page_by_page_in_the_order_asked_for() {
    let world = World::new().await;
    for name in ["b", "a", "c"] {
        world.workflow(on_created(name, note("x"))).await;
    }
    let mut names = Vec::new();
    let mut request =
        pb::ListWorkflowsRequest { page_size: 2, sort: "-name".to_owned(), ..Default::default() };
    loop {
        let page = world.workflows().list_workflows(rpc::request(&world.owner(), request.clone())).await;
        let page = page.expect("a page").into_inner();
        names.extend(page.items.into_iter().map(|it| it.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(names, ["c", "b", "a"]);
    request.sort = "name".to_owned();
    let error = world.workflows().list_workflows(rpc::request(&world.owner(), request)).await;
    assert_eq!(Error::from(error.expect_err("another list")).code, "page_token_mismatch");
}

#[tokio::test]
async fn faults_are_told_field_by_field() {
    let world = World::new().await;
    let mut bad = on_created("first-aid", vec![Kind::Http(http("http://10.0.0.1/x".to_owned(), 1))]);
    bad.condition = "incident.severity ==".to_owned();
    let message = pb::CreateWorkflowRequest { workflow: Some(bad) };
    let error = world.workflows().create_workflow(rpc::request(&world.owner(), message)).await;
    let error = Error::from(error.expect_err("refused"));
    let faults: Vec<_> = error.fields.iter().map(|it| (it.field.as_str(), it.code)).collect();
    let expected =
        [("workflow.condition", "invalid_expression"), ("workflow.steps[0].http.url", "egress_refused")];
    assert_eq!((error.kind, faults), (ErrorKind::Invalid, expected.to_vec()));

    let unknown = world.db.source().id().to_string();
    let escalate = Kind::Escalate(pb::EscalateStep { policy_id: Some(unknown.clone()) });
    let mut bad = on_created("first-aid", vec![escalate]);
    let message = pb::CreateWorkflowRequest { workflow: Some(bad.clone()) };
    let error = world.workflows().create_workflow(rpc::request(&world.owner(), message)).await;
    let error = Error::from(error.expect_err("refused"));
    assert_eq!(error.fields[0].field, "workflow.steps[0].escalate.policy_id");
    bad.service_ids = vec![unknown];
    let message = pb::CreateWorkflowRequest { workflow: Some(bad) };
    let error = world.workflows().create_workflow(rpc::request(&world.owner(), message)).await;
    assert_eq!(Error::from(error.expect_err("refused")).fields[0].field, "workflow.service_ids[0]");
}

#[tokio::test]
async fn what_is_not_said_of_a_call_is_answered_as_it_runs() {
    let world = World::new().await;
    let said = pb::HttpStep { url: "https://runbooks.example.com/".to_owned(), ..pb::HttpStep::default() };
    let made = world.workflow(on_created("first-aid", vec![Kind::Http(said.clone())])).await;
    let runs = pb::HttpStep {
        method: pb::HttpMethod::Post.into(),
        timeout_ms: 10_000,
        retry: Some(pb::Retry { max_attempts: 1, initial_ms: 1_000, max_ms: 60_000, jitter: Some(0.2) }),
        on_success: pb::OnOutcome::Continue.into(),
        on_failure: pb::OnOutcome::Continue.into(),
        ..said
    };
    assert_eq!(made.steps[0].kind, Some(Kind::Http(runs)));
    let get = pb::GetWorkflowRequest { id: made.id.clone() };
    let got = world.workflows().get_workflow(rpc::request(&world.owner(), get)).await.expect("there");
    assert_eq!(got.get_ref(), &made);
    // What was read can be sent back.
    let change =
        update(&made.id, &["steps"], pb::Workflow { steps: made.steps.clone(), ..Default::default() });
    let changed =
        world.workflows().update_workflow(rpc::request(&world.owner(), change)).await.expect("changed");
    assert_eq!(changed.get_ref().steps, made.steps);
}

#[tokio::test]
async fn a_severity_that_is_set_is_one() {
    let world = World::new().await;
    let step = Kind::SetSeverity(pb::SetSeverityStep::default());
    let message = pb::CreateWorkflowRequest { workflow: Some(on_created("first-aid", vec![step])) };
    let refused = world.workflows().create_workflow(rpc::request(&world.owner(), message)).await;
    let faults = Error::from(refused.expect_err("refused")).fields;
    assert_eq!(faults[0].field, "workflow.steps[0].set_severity.severity");
}

#[tokio::test]
async fn another_organization_and_a_viewer_get_nowhere() {
    let world = World::new().await;
    let made = world.workflow(on_created("first-aid", note("x"))).await;
    let stranger = world.db.cx_in(OrgId(world.db.source().id()), &["workflows_read", "workflows_write"]);
    let get = |cx: &Ctx| rpc::request(cx, pb::GetWorkflowRequest { id: made.id.clone() });
    let error = world.workflows().get_workflow(get(&stranger)).await.expect_err("not theirs");
    assert_eq!(Error::from(error).kind, ErrorKind::NotFound);
    let delete = rpc::request(&stranger, pb::DeleteWorkflowRequest { id: made.id.clone() });
    let error = world.workflows().delete_workflow(delete).await.expect_err("not theirs");
    assert_eq!(Error::from(error).kind, ErrorKind::NotFound);
    let viewer = world.db.cx_in(world.owner().org, &["workflows_read"]);
    world.workflows().get_workflow(get(&viewer)).await.expect("may read");
    let delete = rpc::request(&viewer, pb::DeleteWorkflowRequest { id: made.id.clone() });
    let error = world.workflows().delete_workflow(delete).await.expect_err("may not write");
    assert_eq!(Error::from(error).kind, ErrorKind::Forbidden);
}

#[tokio::test]
async fn runs_are_listed_by_workflow_incident_and_status() {
    let world = World::new().await;
    let service = world.service("payment", None).await;
    let made = world.workflow(on_created("first-aid", note("x"))).await;
    let (one, two) = (world.open(&service).await, world.open(&service).await);
    for incident in [&one, &two] {
        world.until(incident, "first-aid", pb::RunStatus::Succeeded).await;
    }
    let cx = world.owner();
    let mut of_workflow =
        pb::ListWorkflowRunsRequest { workflow_id: made.id, page_size: 1, ..Default::default() };
    let first = world.workflows().list_workflow_runs(rpc::request(&cx, of_workflow.clone())).await;
    let first = first.expect("listed").into_inner();
    of_workflow.page_token = first.next_page_token;
    let second = world.workflows().list_workflow_runs(rpc::request(&cx, of_workflow)).await;
    let second = second.expect("listed").into_inner();
    assert_eq!((first.items.len(), second.items.len(), second.next_page_token.as_str()), (1, 1, ""));
    assert_ne!(first.items[0].incident_id, second.items[0].incident_id);

    let filter = pb::ListRunsRequest {
        incident_id: vec![one.id.clone()],
        status: vec![pb::RunStatus::Held.into()],
        ..Default::default()
    };
    let none = world.workflows().list_runs(rpc::request(&cx, filter)).await.expect("listed");
    assert_eq!(none.get_ref().items.len(), 0);
    let get = pb::GetRunRequest { id: first.items[0].id.clone() };
    let got = world.workflows().get_run(rpc::request(&cx, get)).await.expect("there");
    assert_eq!(got.get_ref(), &first.items[0]);
}

#[tokio::test]
async fn an_organization_has_a_limited_number_of_workflows() {
    let world = World::new().await;
    let made = world.workflow(on_created("first-aid", note("x"))).await;
    let copied = world
        .sql(
            "INSERT INTO workflows SELECT (jsonb_populate_record(w, jsonb_build_object(\
              'id', gen_random_uuid(), 'slug', 'copy-' || n))).* FROM workflows w, generate_series(1, 199) n",
        )
        .await;
    assert_eq!(copied, 199);
    let create = async |slug: &str| {
        let message = pb::CreateWorkflowRequest { workflow: Some(on_created(slug, note("x"))) };
        world.workflows().create_workflow(rpc::request(&world.owner(), message)).await
    };
    let error = Error::from(create("one-too-many").await.expect_err("refused"));
    assert_eq!((error.kind, error.code), (ErrorKind::Invalid, "too_many_workflows"));
    let delete = rpc::request(&world.owner(), pb::DeleteWorkflowRequest { id: made.id });
    world.workflows().delete_workflow(delete).await.expect("archived");
    create("in-its-place").await.expect("there is room again");
}

#[tokio::test]
async fn the_conditions_of_an_organization_have_a_cost_together() {
    let world = World::new().await;
    let dear = "incident.attributes.exists(a, incident.attributes[a].contains('x'))";
    let dear = [dear; 2].join(" || ");
    let conditioned = |slug: &str| pb::Workflow { condition: dear.clone(), ..on_created(slug, note("x")) };
    let create = async |workflow: pb::Workflow| {
        let message = pb::CreateWorkflowRequest { workflow: Some(workflow) };
        let made = world.workflows().create_workflow(rpc::request(&world.owner(), message)).await;
        made.map(tonic::Response::into_inner).map_err(Error::from)
    };
    let mut made = vec![create(conditioned("dear-0")).await.expect("made")];
    let refused = loop {
        match create(conditioned(&format!("dear-{}", made.len()))).await {
            Ok(workflow) => made.push(workflow),
            Err(error) => break error,
        }
        assert!(made.len() < 40, "never refused");
    };
    let fault = &refused.fields[0];
    assert_eq!((fault.field.as_str(), fault.code), ("workflow.condition", "too_expensive"));
    assert!(fault.detail.contains("of 1500000"), "{}", fault.detail);

    let disabled = pb::Workflow { disabled: true, ..conditioned("in-reserve") };
    let reserve = create(disabled).await.expect("a disabled one costs nothing");
    let set = async |id: &str, disabled: bool| {
        let request = update(id, &["disabled"], pb::Workflow { disabled, ..Default::default() });
        let set = world.workflows().update_workflow(rpc::request(&world.owner(), request)).await;
        set.map(drop).map_err(Error::from)
    };
    assert_eq!(set(&reserve.id, false).await.expect_err("no room").fields[0].code, "too_expensive");
    set(&made[0].id, true).await.expect("disabled");
    set(&reserve.id, false).await.expect("there is room again");
}

#[tokio::test]
async fn enums_of_lists_have_no_unspecified_value() {
    let world = World::new().await;
    let workflow = pb::Workflow { triggers: vec![0], ..on_created("first-aid", note("x")) };
    let message = pb::CreateWorkflowRequest { workflow: Some(workflow) };
    let error = world.workflows().create_workflow(rpc::request(&world.owner(), message)).await;
    assert_eq!(Error::from(error.expect_err("refused")).fields[0].field, "workflow.triggers[0]");
    let message = pb::ListRunsRequest { status: vec![0], ..Default::default() };
    let error = world.workflows().list_runs(rpc::request(&world.owner(), message)).await;
    assert_eq!(Error::from(error.expect_err("refused")).fields[0].field, "status[0]");
}
