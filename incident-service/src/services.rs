//! Services: components that can fail, and who owns them.

use std::collections::HashMap;

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_id, parse_ids};
use platform::error::{Error, Result};
use platform::page::{CONFIG_SORTS, ConfigKey};
use proto::incident::v1 as wire;
use uuid::Uuid;

use crate::alerts;
use crate::audit;
use crate::convert;
use crate::json::Json;
use crate::kinds::ServiceId;
use crate::peers::Reference;
use crate::store::alerts::Quiet;
use crate::store::services::{self as store, Filter, Service};

/// What a service refers to in other services, checked there before the transaction.
#[derive(Clone, Debug, Default)]
pub struct References {
    pub team: Option<Reference>,
    pub policy: Option<Reference>,
}

pub async fn create(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    draft: wire::Service,
    references: References,
) -> Result<Service> {
    let subject = cx.principal.subject().to_string();
    let mut service = Service {
        org_id: cx.org,
        id: ServiceId(cx.id()),
        slug: draft.slug.clone(),
        name: String::new(),
        description: String::new(),
        team_id: None,
        team_name: String::new(),
        policy_id: None,
        policy_name: String::new(),
        labels: Json::default(),
        runbook_url: None,
        links: Json::default(),
        urgency_rule: convert::read_urgency_rule(0),
        paused_until: None,
        auto_resolve_ms: None,
        created_at: cx.now,
        created_by: subject.clone(),
        updated_at: cx.now,
        updated_by: subject,
        archived_at: None,
        version: 1,
    };
    write(&mut service, draft, references)?;
    if store::is_slug_archived(conn, cx.org, &service.slug).await? {
        return Err(Error::conflict("already_exists", "an archived service has this slug; take another one"));
    }
    store::insert(conn, &service).await.map_err(slug_taken)?;
    audit::write(cx, conn, "service.created", service.id.uuid(), None, Some(&convert::service(&service)))
        .await?;
    Ok(service)
}

fn slug_taken(error: Error) -> Error {
    error.on_constraint("services_slug_key", || {
        Error::conflict("already_exists", "a service of this organization has this slug")
    })
}

/// Changes the fields that the mask names.
pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::UpdateServiceRequest,
    references: References,
) -> Result<Service> {
    let mut service = store::lock(conn, cx.org, ServiceId::parse("id", &request.id)?).await?;
    cx.expect_version(service.version)?;
    let (patch, mask) = (request.service.as_ref(), request.update_mask.as_ref());
    let merged = proto::update("service", &convert::service(&service), patch, mask)?;
    let before = service.clone();
    write(&mut service, merged, references)?;
    changed(cx, conn, "service.updated", &before, &mut service).await?;
    Ok(service)
}

/// Writes the next version, and tells the engine and the open alerts what is different for them.
async fn changed(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    action: &str,
    before: &Service,
    service: &mut Service,
) -> Result<()> {
    let matters = for_the_engine(before) != for_the_engine(service);
    service.version += 1;
    service.updated_at = cx.now;
    service.updated_by = cx.principal.subject().to_string();
    store::update(conn, service).await?;
    if matters {
        store::touch_rules(conn, cx.org, service.id).await?;
    }
    if service.auto_resolve_ms != before.auto_resolve_ms {
        let whose = (service.id, Quiet::OfService);
        alerts::set_quiet(cx, conn, whose, service.auto_resolve_ms).await?;
    }
    if service.paused_until != before.paused_until || service.archived_at != before.archived_at {
        alerts::look(cx, conn, service.id).await?;
    }
    let shown = [before, service].map(convert::service);
    audit::write(cx, conn, action, service.id.uuid(), Some(&shown[0]), Some(&shown[1])).await
}

/// The service without what neither rules nor incidents read.
fn for_the_engine(service: &Service) -> Service {
    Service { description: String::new(), labels: Json::default(), ..service.clone() }
}

/// Takes what the contract lets callers set. A name of team or policy is written anew only with its
/// reference.
///
/// # Errors
/// Invalid at a field; Conflict, code `changed_meanwhile`, when a reference is another one than when
/// it was decided which to check.
fn write(service: &mut Service, from: wire::Service, references: References) -> Result<()> {
    let id = |field: &str, text: Option<&String>| -> Result<Option<Uuid>> {
        text.map(|text| parse_id(field, text)).transpose()
    };
    let team_id = id("service.team_id", from.team_id.as_ref())?;
    if team_id != service.team_id {
        service.team_name = name_of(team_id, references.team)?;
        service.team_id = team_id;
    }
    let policy_id = id("service.escalation_policy_id", from.escalation_policy_id.as_ref())?;
    if policy_id != service.policy_id {
        service.policy_name = name_of(policy_id, references.policy)?;
        service.policy_id = policy_id;
    }
    service.name = from.name;
    service.description = from.description;
    service.labels = Json(from.labels);
    service.runbook_url = from.runbook_url;
    service.links = Json(convert::read_links(from.links));
    service.urgency_rule = convert::read_urgency_rule(from.urgency_rule);
    service.paused_until = convert::read_time("service.paused_until", from.paused_until.as_ref())?;
    service.auto_resolve_ms = from.auto_resolve_ms;
    Ok(())
}

fn name_of(id: Option<Uuid>, checked: Option<Reference>) -> Result<String> {
    let Some(id) = id else { return Ok(String::new()) };
    let checked = checked.filter(|reference| reference.id.parse() == Ok(id));
    let meanwhile = || Error::conflict("changed_meanwhile", "somebody else has just changed it; try again");
    Ok(checked.ok_or_else(meanwhile)?.name)
}

/// Archives a service; archiving it again changes nothing.
pub async fn archive(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<()> {
    let mut service = store::lock(conn, cx.org, ServiceId::parse("id", id)?).await?;
    cx.expect_version(service.version)?;
    if service.archived_at.is_some() {
        return Ok(());
    }
    let before = service.clone();
    service.archived_at = Some(cx.now);
    changed(cx, conn, "service.archived", &before, &mut service).await
}

pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<Service> {
    store::get(conn, cx.org, ServiceId::parse("id", id)?).await
}

/// One page of services.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ListServicesRequest,
) -> Result<wire::ListServicesResponse> {
    let page = platform::page!(request, CONFIG_SORTS, "-created_at")?;
    let filter = Filter {
        team_ids: parse_ids("team_id", &request.team_id)?,
        slugs: request.slug.clone(),
        archived: request.archived,
    };
    let rows = store::list(conn, cx.org, &filter, &page).await?;
    let key = |row: &Service| ConfigKey::of(page.sort, row.created_at, &row.name, row.id.uuid());
    let (rows, next_page_token) = page.finish(rows, key)?;
    Ok(wire::ListServicesResponse { items: rows.iter().map(convert::service).collect(), next_page_token })
}

/// Services by what they were asked for: slug or UUID. Unknown ones are left out.
pub async fn resolve(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    names: &[String],
) -> Result<wire::ResolveServicesResponse> {
    let ids: Vec<Uuid> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let slugs: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows = store::resolve(conn, cx.org, &ids, &slugs).await?;
    let by_id: HashMap<Uuid, &Service> = rows.iter().map(|row| (row.id.uuid(), row)).collect();
    let by_slug: HashMap<&str, &Service> = rows.iter().map(|row| (row.slug.as_str(), row)).collect();
    let find = |name: &String| {
        let by_slug = by_slug.get(name.as_str());
        by_slug.or_else(|| by_id.get(&name.parse().ok()?)).map(|service| resolved(name, service))
    };
    Ok(wire::ResolveServicesResponse { services: names.iter().filter_map(find).collect() })
}

fn resolved(asked: &str, service: &Service) -> wire::ResolvedService {
    wire::ResolvedService {
        asked: asked.to_owned(),
        id: service.id.to_string(),
        slug: service.slug.clone(),
        name: service.name.clone(),
        archived: service.archived_at.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_that_was_not_checked_is_not_written() {
        let (now, then) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let reference = |id: Uuid| Some(Reference { id: id.to_string(), name: "Payments".to_owned() });
        assert_eq!(name_of(Some(now), reference(now)).ok().as_deref(), Some("Payments"));
        assert_eq!(name_of(None, None).ok().as_deref(), Some(""));
        for checked in [None, reference(then)] {
            let error = name_of(Some(now), checked).expect_err("not checked");
            assert_eq!(error.code, "changed_meanwhile");
        }
    }
}
