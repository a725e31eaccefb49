//! Workflows: what people configure.

use platform::ctx::{Ctx, parse_id, parse_ids};
use platform::error::{Error, Result};
use platform::page::{CONFIG_SORTS, ConfigKey};
use proto::workflow::v1 as pb;
use uuid::Uuid;

use diesel_async::AsyncPgConnection;

use crate::audit;
use crate::condition::Condition;
use crate::convert;
use crate::definitions::Faults;
use crate::references::{self, References, UNKNOWN};
use crate::store::{policies, workflows as rows};
use crate::vault::{Owner, Vault};

/// Workflows of an organization that are not archived: every incident is held against them.
pub const MAX_LIVE: i64 = 200;

/// What the conditions of an organization's enabled workflows cost together at most, in the
/// expressions' steps: they are all tried on one incident, while others wait. Ordinary conditions cost
/// less than a hundred, those that match a pattern up to some ten thousands.
const MAX_COST: i64 = 10 * expression::BUDGET as i64;

/// Creates a workflow whose references have been checked.
///
/// # Errors
/// Conflict `already_exists` when the slug is taken; Invalid for a policy that does not exist, for a
/// masked header, `too_many_workflows` and `too_expensive`.
pub async fn create(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    vault: &Vault,
    input: &pb::Workflow,
) -> Result<pb::Workflow> {
    rows::lock_live(conn, cx.org.uuid()).await?;
    if rows::count_live(conn, cx.org.uuid()).await? >= MAX_LIVE {
        let detail =
            format!("an organization has at most {MAX_LIVE} workflows; archive one that is not needed");
        return Err(Error::invalid("too_many_workflows", detail));
    }
    require_policies(cx, conn, &References::of_workflow(input)).await?;
    let id = cx.id();
    let steps = vault.seal_steps(Owner { org: cx.org.uuid(), workflow: id }, &input.steps, &[])?;
    let created = row(cx, id, input, &steps, 1)?;
    afford(conn, &created).await?;
    rows::insert(conn, &created).await?;
    let created = convert::workflow(created)?;
    audit::write(cx, conn, "workflow.created", id, None, Some(&created)).await?;
    Ok(created)
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

/// What `current` becomes by an update; ids are written as we write them. Headers that it does not
/// change stay masked.
///
/// # Errors
/// Invalid, when the whole does not obey its rules.
pub fn merged(current: &pb::Workflow, request: &pb::UpdateWorkflowRequest) -> Result<pb::Workflow> {
    let (patch, mask) = (request.workflow.as_ref(), request.update_mask.as_ref());
    let mut merged = proto::update("workflow", current, patch, mask)?;
    references::normalize_workflow(&mut merged);
    Ok(merged)
}

/// Changes a workflow; new references have been checked.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`; Invalid.
pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    vault: &Vault,
    request: &pb::UpdateWorkflowRequest,
) -> Result<pb::Workflow> {
    let id = parse_id("id", &request.id)?;
    let before = rows::get_for_update(conn, cx.org.uuid(), id).await?;
    cx.expect_version(before.version)?;
    let current = convert::workflow(before.clone())?;
    let merged = merged(&current, request)?;
    let new = References::of_workflow(&merged).beyond(&References::of_workflow(&current));
    require_policies(cx, conn, &new).await?;
    let owner = Owner { org: cx.org.uuid(), workflow: id };
    let steps = vault.seal_steps(owner, &merged.steps, &convert::sealed_steps(&before)?)?;
    let after = rows::Workflow {
        created_at: before.created_at,
        created_by: before.created_by.clone(),
        archived_at: before.archived_at,
        ..row(cx, id, &merged, &steps, before.version + 1)?
    };
    if after.cost_in_force() > before.cost_in_force() {
        rows::lock_live(conn, cx.org.uuid()).await?;
        afford(conn, &after).await?;
    }
    rows::update(conn, &after).await?;
    let after = convert::workflow(after)?;
    audit::write(cx, conn, "workflow.updated", id, Some(&current), Some(&after)).await?;
    Ok(after)
}

/// Archives a workflow; archiving it again changes nothing.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`.
pub async fn archive(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<()> {
    let Some((before, after)) = rows::archive(cx, conn, id).await? else { return Ok(()) };
    // One that cannot be read is archived all the same: so people are rid of it.
    let (id, before, after) = (after.id, convert::workflow(before).ok(), convert::workflow(after).ok());
    audit::write(cx, conn, "workflow.archived", id, before.as_ref(), after.as_ref()).await
}

/// Whether the live workflows, which nobody else changes, still leave what this one costs.
async fn afford(conn: &mut AsyncPgConnection, row: &rows::Workflow) -> Result<()> {
    let (cost, left) = (row.cost_in_force(), MAX_COST - rows::cost_beside(conn, row).await?);
    if cost <= left.max(0) {
        return Ok(());
    }
    let detail = format!(
        "evaluating this costs up to {cost} steps, and the enabled workflows leave {} of {MAX_COST}",
        left.max(0)
    );
    Err(Error::field("workflow.condition", "too_expensive", detail))
}

fn cost(condition: &str) -> Result<i64> {
    let compiled = Condition::compile(condition)
        .map_err(|fault| Error::field("workflow.condition", "invalid_expression", fault.to_string()))?;
    Ok(i64::try_from(compiled.cost()).unwrap_or(i64::MAX))
}

/// `steps` are those of `input`, sealed.
fn row(cx: &Ctx, id: Uuid, input: &pb::Workflow, steps: &[pb::Step], version: i64) -> Result<rows::Workflow> {
    let by = cx.principal.subject().to_string();
    Ok(rows::Workflow {
        org_id: cx.org.uuid(),
        id,
        slug: input.slug.clone(),
        name: input.name.clone(),
        triggers: input.triggers().map(|it| convert::trigger_name(it).to_owned()).collect(),
        condition: input.condition.clone(),
        cost: cost(&input.condition)?,
        service_ids: parse_ids("workflow.service_ids", &input.service_ids)?,
        hold_paging_ms: input.hold_paging_ms,
        steps: convert::steps_bytes(steps),
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
