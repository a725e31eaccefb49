//! Runs, as people look at them.

use std::collections::HashMap;

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_id, parse_ids};
use platform::error::Result;
use platform::page::Page;
use proto::workflow::v1 as pb;
use uuid::Uuid;

use crate::convert;
use crate::store::runs::{self as rows, Filter};
use crate::store::steps::{self, RunStep};
use crate::store::workflows;

/// Steps of one run in a list: the newest.
const STEPS_LISTED: i64 = 50;

/// One run with all its steps.
///
/// # Errors
/// NotFound.
pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<pb::Run> {
    let row = rows::get_outline(conn, cx.org.uuid(), parse_id("id", id)?).await?;
    let steps = steps::list(conn, cx.org.uuid(), row.id).await?;
    Ok(convert::run(row, steps))
}

/// A page of all runs.
///
/// # Errors
/// Invalid, for a token of another list.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::ListRunsRequest,
) -> Result<pb::ListRunsResponse> {
    let filter = Filter {
        incident_ids: parse_ids("incident_id", &request.incident_id)?,
        statuses: request.status().filter_map(convert::run_status_name).collect(),
        ..Filter::default()
    };
    page_of(cx, conn, &filter, &platform::page!(request, "-id")?).await
}

/// A page of the runs of one workflow.
///
/// # Errors
/// NotFound, without the workflow; Invalid, for a token of another list.
pub async fn list_of_workflow(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::ListWorkflowRunsRequest,
) -> Result<pb::ListRunsResponse> {
    let id = parse_id("workflow_id", &request.workflow_id)?;
    workflows::get(conn, cx.org.uuid(), id).await?;
    let filter = Filter {
        program_id: Some(id),
        statuses: request.status().filter_map(convert::run_status_name).collect(),
        ..Filter::default()
    };
    page_of(cx, conn, &filter, &platform::page!(request, "-id")?).await
}

async fn page_of(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    filter: &Filter,
    page: &Page<Uuid>,
) -> Result<pb::ListRunsResponse> {
    let found = rows::list(conn, cx.org.uuid(), filter, page).await?;
    let (found, next_page_token) = page.finish(found, |row| row.id)?;
    let ids: Vec<Uuid> = found.iter().map(|row| row.id).collect();
    let mut steps: HashMap<Uuid, Vec<RunStep>> = HashMap::new();
    for step in steps::list_newest(conn, cx.org.uuid(), &ids, STEPS_LISTED).await? {
        steps.entry(step.run_id).or_default().push(step);
    }
    let items = found.into_iter().map(|row| {
        let steps = steps.remove(&row.id).unwrap_or_default();
        convert::run(row, steps)
    });
    Ok(pb::ListRunsResponse { items: items.collect(), next_page_token })
}
