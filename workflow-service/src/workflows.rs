//! Workflows: what people configure.

use platform::ctx::{Ctx, parse_id, parse_ids};
use platform::error::Result;
use platform::page::{CONFIG_SORTS, ConfigKey};
use proto::workflow::v1 as pb;
use uuid::Uuid;

use diesel_async::AsyncPgConnection;

use crate::convert;
use crate::definitions::Faults;
use crate::references::{References, UNKNOWN};
use crate::store::{policies, workflows as rows};

/// Creates a workflow whose references have been checked.
///
/// # Errors
/// Conflict `already_exists` when the slug is taken; Invalid for a policy that does not exist.
pub async fn create(cx: &Ctx, conn: &mut AsyncPgConnection, input: &pb::Workflow) -> Result<pb::Workflow> {
    require_policies(cx, conn, &References::of_workflow(input)).await?;
    let by = cx.principal.subject().to_string();
    let created =
        rows::Workflow { created_at: cx.now, created_by: by.clone(), ..row(cx, cx.id(), input, 1, by)? };
    rows::insert(conn, &created).await?;
    convert::workflow(created)
}

/// One workflow, archived or not.
///
/// # Errors
/// NotFound.
pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<pb::Workflow> {
    convert::workflow(rows::get(conn, cx.org.uuid(), parse_id("id", id)?).await?)
}

/// A page of workflows.
///
/// # Errors
/// Invalid, for a token of another list.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::ListWorkflowsRequest,
) -> Result<pb::ListWorkflowsResponse> {
    let page = platform::page!(request, CONFIG_SORTS, "created_at")?;
    let found = rows::list(conn, cx.org.uuid(), request.archived, &page).await?;
    let key = |row: &rows::Workflow| ConfigKey::of(page.sort, row.created_at, &row.name, row.id);
    let (found, next_page_token) = page.finish(found, key)?;
    let items = found.into_iter().map(convert::workflow).collect::<Result<_>>()?;
    Ok(pb::ListWorkflowsResponse { items, next_page_token })
}

/// What `current` becomes by an update.
///
/// # Errors
/// Invalid, when the whole does not obey its rules.
pub fn merged(current: &pb::Workflow, request: &pb::UpdateWorkflowRequest) -> Result<pb::Workflow> {
    Ok(proto::update("workflow", current, request.workflow.as_ref(), request.update_mask.as_ref())?)
}

/// Changes a workflow; new references have been checked.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`; Invalid.
pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::UpdateWorkflowRequest,
) -> Result<pb::Workflow> {
    let id = parse_id("id", &request.id)?;
    let before = rows::get_for_update(conn, cx.org.uuid(), id).await?;
    cx.expect_version(before.version)?;
    let current = convert::workflow(before.clone())?;
    let merged = merged(&current, request)?;
    let new = References::of_workflow(&merged).beyond(&References::of_workflow(&current));
    require_policies(cx, conn, &new).await?;
    let by = cx.principal.subject().to_string();
    let after = rows::Workflow {
        created_at: before.created_at,
        created_by: before.created_by,
        archived_at: before.archived_at,
        ..row(cx, id, &merged, before.version + 1, by)?
    };
    rows::update(conn, &after).await?;
    convert::workflow(after)
}

/// Archives a workflow; once is enough.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`.
pub async fn archive(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<()> {
    let before = rows::get_for_update(conn, cx.org.uuid(), parse_id("id", id)?).await?;
    cx.expect_version(before.version)?;
    if before.archived_at.is_some() {
        return Ok(());
    }
    let after = rows::Workflow {
        archived_at: Some(cx.now),
        updated_at: cx.now,
        updated_by: cx.principal.subject().to_string(),
        version: before.version + 1,
        ..before
    };
    rows::update(conn, &after).await
}

fn row(cx: &Ctx, id: Uuid, input: &pb::Workflow, version: i64, by: String) -> Result<rows::Workflow> {
    Ok(rows::Workflow {
        org_id: cx.org.uuid(),
        id,
        slug: input.slug.clone(),
        name: input.name.clone(),
        triggers: input.triggers().map(|it| convert::trigger_name(it).to_owned()).collect(),
        condition: input.condition.clone(),
        service_ids: parse_ids("workflow.service_ids", &input.service_ids)?,
        hold_paging_ms: input.hold_paging_ms,
        steps: convert::steps_bytes(&input.steps),
        disabled: input.disabled,
        labels: convert::labels_json(&input.labels),
        created_at: cx.now,
        created_by: by.clone(),
        updated_at: cx.now,
        updated_by: by,
        version,
        archived_at: None,
    })
}

async fn require_policies(cx: &Ctx, conn: &mut AsyncPgConnection, references: &References) -> Result<()> {
    let ids: Vec<Uuid> = references.policies().iter().map(|(_, id)| *id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let live = policies::live(conn, cx.org.uuid(), &ids).await?;
    let mut faults = Faults::default();
    for (field, _) in references.policies().iter().filter(|(_, id)| !live.contains(id)) {
        faults.add(field, UNKNOWN, "there is no such escalation policy, or it is archived");
    }
    faults.into_result()
}
