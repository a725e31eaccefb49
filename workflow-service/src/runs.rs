//! Runs, as people look at them.

use std::collections::HashMap;

use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::Result;
use platform::page::{self, Fingerprint, PageToken};
use proto::workflow::v1 as pb;
use uuid::Uuid;

use crate::convert;
use crate::store::runs::{self as rows, Filter};
use crate::store::steps::{self, RunStep};
use crate::store::workflows;

/// One run with its steps.
///
/// # Errors
/// NotFound.
pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<pb::Run> {
    let row = rows::get(conn, cx.org.uuid(), convert::id("id", id)?).await?;
    let steps = steps::list(conn, cx.org.uuid(), &[row.id]).await?;
    convert::run(row, steps)
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
    let bare = pb::ListRunsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let incidents = request.incident_id.iter().map(|id| convert::id("incident_id", id));
    let filter = Filter {
        incident_ids: incidents.collect::<Result<_>>()?,
        statuses: request.status().filter_map(convert::run_status_name).collect(),
        ..Filter::default()
    };
    page_of(cx, conn, filter, request.page_size, &request.page_token, Fingerprint::of_message(&bare)).await
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
    let bare = pb::ListWorkflowRunsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let id = convert::id("workflow_id", &request.workflow_id)?;
    workflows::get(conn, cx.org.uuid(), id).await?;
    let filter = Filter {
        program_id: Some(id),
        statuses: request.status().filter_map(convert::run_status_name).collect(),
        ..Filter::default()
    };
    page_of(cx, conn, filter, request.page_size, &request.page_token, Fingerprint::of_message(&bare)).await
}

async fn page_of(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    filter: Filter,
    page_size: i32,
    page_token: &str,
    list: Fingerprint,
) -> Result<pb::ListRunsResponse> {
    let size = page::size(page_size);
    let before = PageToken::decode::<Uuid>(page_token, list)?;
    let limit = i64::try_from(size).unwrap_or(i64::MAX - 1) + 1;
    let found = rows::list(conn, cx.org.uuid(), &Filter { before, limit, ..filter }).await?;
    let (found, next_page_token) = page::finish(found, size, list, |row| row.id)?;
    let ids: Vec<Uuid> = found.iter().map(|row| row.id).collect();
    let mut steps: HashMap<Uuid, Vec<RunStep>> = HashMap::new();
    for step in steps::list(conn, cx.org.uuid(), &ids).await? {
        steps.entry(step.run_id).or_default().push(step);
    }
    let items = found.into_iter().map(|row| {
        let steps = steps.remove(&row.id).unwrap_or_default();
        convert::run(row, steps)
    });
    Ok(pb::ListRunsResponse { items: items.collect::<Result<_>>()?, next_page_token })
}
