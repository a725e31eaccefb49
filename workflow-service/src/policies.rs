//! Escalation policies: what people configure.

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_id};
use platform::error::{Error, Result};
use platform::page::{CONFIG_SORTS, ConfigKey};
use prost::Message;
use proto::api::v1::{Target, TargetKind};
use proto::workflow::v1 as pb;
use uuid::Uuid;

use crate::audit;
use crate::convert;
use crate::program::{OWNER_TEAM, OWNERS, Program};
use crate::references::{self, Names};
use crate::store::policies as rows;

/// The name of the built-in policy.
pub const BUILT_IN: &str = "built-in policy";

/// Creates a policy; `names` are those of its targets, which have been checked.
///
/// # Errors
/// Conflict `already_exists` when the slug is taken.
pub async fn create(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    input: &pb::EscalationPolicy,
    names: &Names,
) -> Result<pb::EscalationPolicy> {
    let id = cx.id();
    let created = row(cx, id, input, names.clone(), 1)?;
    rows::insert(conn, &created).await?;
    let created = convert::policy(created)?;
    audit::write(cx, conn, "escalation_policy.created", id, None, Some(&created)).await?;
    Ok(created)
}

/// One policy, archived or not.
///
/// # Errors
/// NotFound.
pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<pb::EscalationPolicy> {
    convert::policy(rows::get(conn, cx.org.uuid(), parse_id("id", id)?).await?)
}

/// A page of policies.
///
/// # Errors
/// Invalid, for a token of another list.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::ListEscalationPoliciesRequest,
) -> Result<pb::ListEscalationPoliciesResponse> {
    let page = platform::page!(request, CONFIG_SORTS, "created_at")?;
    let found = rows::list(conn, cx.org.uuid(), request.archived, &page).await?;
    let key = |row: &rows::Policy| ConfigKey::of(page.sort, row.created_at, &row.name, row.id);
    let (found, next_page_token) = page.finish(found, key)?;
    let items = found.into_iter().map(convert::policy).collect::<Result<_>>()?;
    Ok(pb::ListEscalationPoliciesResponse { items, next_page_token })
}

/// What `current` becomes by an update; ids are written as we write them.
///
/// # Errors
/// Invalid, when the whole does not obey its rules.
pub fn merged(
    current: &pb::EscalationPolicy,
    request: &pb::UpdateEscalationPolicyRequest,
) -> Result<pb::EscalationPolicy> {
    let (patch, mask) = (request.escalation_policy.as_ref(), request.update_mask.as_ref());
    let mut merged = proto::update("escalation_policy", current, patch, mask)?;
    references::normalize_policy(&mut merged);
    Ok(merged)
}

/// Changes a policy; `names` are those of its new targets, which have been checked.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`; Invalid.
pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &pb::UpdateEscalationPolicyRequest,
    names: &Names,
) -> Result<pb::EscalationPolicy> {
    let id = parse_id("id", &request.id)?;
    let before = rows::get_for_update(conn, cx.org.uuid(), id).await?;
    cx.expect_version(before.version)?;
    let current = convert::policy(before.clone())?;
    let merged = merged(&current, request)?;
    let mut known: Names = names_of(&before)?;
    known.extend(names.clone());
    let after = rows::Policy {
        created_at: before.created_at,
        created_by: before.created_by,
        archived_at: before.archived_at,
        ..row(cx, id, &merged, known, before.version + 1)?
    };
    rows::update(conn, &after).await?;
    let after = convert::policy(after)?;
    audit::write(cx, conn, "escalation_policy.updated", id, Some(&current), Some(&after)).await?;
    Ok(after)
}

/// Archives a policy; archiving it again changes nothing.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`.
pub async fn archive(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<()> {
    let Some((before, after)) = rows::archive(cx, conn, id).await? else { return Ok(()) };
    // One that cannot be read is archived all the same: so people are rid of it.
    let (id, before, after) = (after.id, convert::policy(before).ok(), convert::policy(after).ok());
    audit::write(cx, conn, "escalation_policy.archived", id, before.as_ref(), after.as_ref()).await
}

/// What a policy compiles to.
///
/// # Errors
/// Internal, when the row cannot be read.
pub fn program(row: &rows::Policy) -> Result<Program> {
    let stored = pb::EscalationPolicy::decode(row.levels.as_slice()).map_err(Error::internal)?;
    let names = names_of(row)?;
    let repeat = u32::try_from(row.repeat).unwrap_or(0);
    Ok(Program::of_policy(&stored.levels, repeat, |target| told(target, &names)))
}

/// How a target is called on a timeline.
fn told(target: &Target, names: &Names) -> String {
    let name = names.get(&target.id).map_or(target.id.as_str(), String::as_str);
    match target.kind() {
        TargetKind::Team => format!("team {name}"),
        TargetKind::Channel => format!("channel {name}"),
        TargetKind::Owners => OWNERS.to_owned(),
        TargetKind::ServiceTeam => OWNER_TEAM.to_owned(),
        TargetKind::User | TargetKind::Schedule | TargetKind::Unspecified => name.to_owned(),
    }
}

fn names_of(row: &rows::Policy) -> Result<Names> {
    serde_json::from_value(row.target_names.clone()).map_err(Error::internal)
}

fn row(
    cx: &Ctx,
    id: Uuid,
    input: &pb::EscalationPolicy,
    mut names: Names,
    version: i64,
) -> Result<rows::Policy> {
    let by = cx.principal.subject().to_string();
    let is_target = |id: &String| input.levels.iter().flat_map(|it| &it.targets).any(|it| it.id == *id);
    names.retain(|id, _| is_target(id));
    Ok(rows::Policy {
        org_id: cx.org.uuid(),
        id,
        slug: input.slug.clone(),
        name: input.name.clone(),
        levels: convert::levels_bytes(&input.levels),
        target_names: serde_json::to_value(names).map_err(Error::internal)?,
        repeat: input.repeat,
        labels: convert::labels_json(&input.labels),
        created_at: cx.now,
        created_by: by.clone(),
        updated_at: cx.now,
        updated_by: by,
        version,
        archived_at: None,
    })
}
