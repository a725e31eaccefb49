//! Rules: compiled when they are saved, so that a bad one never reaches the engine.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::{Error, FieldError, Result};
use platform::page::{CONFIG_SORTS, ConfigKey};
use proto::incident::v1 as wire;

use crate::alerts;
use crate::audit;
use crate::convert;
use crate::engine::{Names, Selection, Template, sample_scope};
use crate::json::{Condition, Json};
use crate::kinds::{RuleId, ServiceId, Severity};
use crate::peers::UNKNOWN_REFERENCE;
use crate::store::alerts::Quiet;
use crate::store::rules::{self as store, Filter, OF_PATTERNS, Rule};
use crate::store::services;

/// Rules of one service at most, archived ones left out: the engine reads them all at once.
const MAX_RULES: i64 = 500;

/// What the rules in force of a service cost together at most, in the expressions' steps: they are all
/// tried on one event, while others wait. Ordinary selections cost less than a hundred, those that
/// match a pattern up to some thousands.
pub(crate) const MAX_COST: i64 = 10 * expression::BUDGET as i64;

/// Characters that the selections of a service's rules in force have together at most. Compiling them all
/// takes up to two seconds in release, when they are patterns for the most part, and a batch waits for it.
const MAX_LENGTH: i64 = 64 << 10;

/// What the selections of an organization's rules in force have together at most, as
/// [`store::Burden::bulk`]: a quarter of what the compiled sets of a process may weigh, so that no
/// organization alone has its own compiled over and over.
const MAX_BULK: i64 = 2 << 20;

pub async fn create(cx: &Ctx, conn: &mut AsyncPgConnection, draft: wire::Rule) -> Result<Rule> {
    let service_id = ServiceId::parse("rule.service_id", &draft.service_id)?;
    let service = services::find(conn, cx.org, service_id)
        .await?
        .ok_or_else(|| Error::field("rule.service_id", UNKNOWN_REFERENCE, "there is no such service"))?;
    if service.archived_at.is_some() {
        return Err(Error::field("rule.service_id", "archived", "this service is archived"));
    }
    let subject = cx.principal.subject().to_string();
    let mut rule = Rule {
        org_id: cx.org,
        id: RuleId(cx.id()),
        service_id,
        slug: draft.slug.clone(),
        name: String::new(),
        selection: String::new(),
        cost: 0,
        condition: Json(Condition::Each),
        group_by: Vec::new(),
        generation: 0,
        severity: Severity::Info,
        dedup_key: String::new(),
        title: String::new(),
        cooldown_ms: 0,
        auto_resolve_ms: None,
        disabled: false,
        labels: Json::default(),
        created_at: cx.now,
        created_by: subject.clone(),
        updated_at: cx.now,
        updated_by: subject,
        archived_at: None,
        version: 1,
    };
    write(&mut rule, draft)?;
    // First, because it keeps others from adding rules until the transaction ends.
    services::touch_rules(conn, cx.org, service_id).await?;
    if store::count(conn, cx.org, service_id).await? >= MAX_RULES {
        let detail = format!("a service has at most {MAX_RULES} rules");
        return Err(Error::field("rule.service_id", "too_many_rules", detail));
    }
    if store::is_slug_archived(conn, cx.org, &rule.slug).await? {
        return Err(Error::conflict("already_exists", "an archived rule has this slug; take another one"));
    }
    afford(conn, &rule).await?;
    store::insert(conn, &rule).await.map_err(slug_taken)?;
    audit::write(cx, conn, "rule.created", rule.id.uuid(), None, Some(&convert::rule(&rule))).await?;
    Ok(rule)
}

fn slug_taken(error: Error) -> Error {
    error.on_constraint("rules_slug_key", || {
        Error::conflict("already_exists", "a rule of this organization has this slug")
    })
}

/// Changes the fields that the mask names.
pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::UpdateRuleRequest,
) -> Result<Rule> {
    let mut rule = store::lock(conn, cx.org, RuleId::parse("id", &request.id)?).await?;
    cx.expect_version(rule.version)?;
    let (patch, mask) = (request.rule.as_ref(), request.update_mask.as_ref());
    let before = convert::rule(&rule);
    let merged = proto::update("rule", &before, patch, mask)?;
    let (quiet_ms, burden) = (rule.auto_resolve_ms, rule.burden_in_force());
    write(&mut rule, merged)?;
    if rule.burden_in_force().exceeds(&burden) {
        services::touch_rules(conn, cx.org, rule.service_id).await?;
        afford(conn, &rule).await?;
    }
    changed(cx, conn, "rule.updated", &before, &mut rule).await?;
    if rule.auto_resolve_ms != quiet_ms {
        let service = services::get(conn, cx.org, rule.service_id).await?;
        let whose = (service.id, Quiet::OfRule(rule.id));
        alerts::set_quiet(cx, conn, whose, rule.quiet_ms(&service)).await?;
    }
    Ok(rule)
}

/// Whether the rules in force of the service and of the organization, which nobody else adds to, still
/// leave what this one asks.
async fn afford(conn: &mut AsyncPgConnection, rule: &Rule) -> Result<()> {
    store::lock_in_force(conn, rule.org_id).await?;
    let (own, others) = (rule.burden_in_force(), store::burden_beside(conn, rule).await?);
    fit("too_expensive", own.cost, MAX_COST - others.cost, |left| {
        let own = own.cost;
        format!(
            "evaluating this costs up to {own} steps, and the enabled rules of the service leave {left} of {MAX_COST}"
        )
    })?;
    fit("too_long_together", own.length, MAX_LENGTH - others.length, |left| {
        let own = own.length;
        format!(
            "this has {own} characters, and the selections of the service's enabled rules leave {left} of {MAX_LENGTH}"
        )
    })?;
    fit("too_long_together", own.bulk, MAX_BULK - others.bulk, |left| {
        let own = own.bulk;
        format!(
            "this counts as {own} characters, {OF_PATTERNS} for each if it matches a pattern, and the selections \
             of the organization's enabled rules leave {left} of {MAX_BULK}"
        )
    })
}

fn fit(code: &'static str, own: i64, left: i64, told: impl FnOnce(i64) -> String) -> Result<()> {
    let left = left.max(0);
    if own <= left { Ok(()) } else { Err(Error::field("rule.selection", code, told(left))) }
}

async fn changed(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    action: &str,
    before: &wire::Rule,
    rule: &mut Rule,
) -> Result<()> {
    rule.version += 1;
    rule.updated_at = cx.now;
    rule.updated_by = cx.principal.subject().to_string();
    store::update(conn, rule).await?;
    services::touch_rules(conn, cx.org, rule.service_id).await?;
    audit::write(cx, conn, action, rule.id.uuid(), Some(before), Some(&convert::rule(rule))).await
}

/// Archives a rule; archiving it again changes nothing.
pub async fn archive(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<()> {
    let mut rule = store::lock(conn, cx.org, RuleId::parse("id", id)?).await?;
    cx.expect_version(rule.version)?;
    if rule.archived_at.is_some() {
        return Ok(());
    }
    let before = convert::rule(&rule);
    rule.archived_at = Some(cx.now);
    changed(cx, conn, "rule.archived", &before, &mut rule).await
}

pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<Rule> {
    store::get(conn, cx.org, RuleId::parse("id", id)?).await
}

/// Takes what the contract lets callers set, compiled. What a window counts by another rule is
/// another generation.
fn write(rule: &mut Rule, from: wire::Rule) -> Result<()> {
    let selection = compile("rule.", &from.selection, &from.dedup_key, &from.title)?;
    check_group(&from.group_by)?;
    let condition = Json(convert::read_condition(from.condition)?);
    let counts_the_same =
        rule.selection == from.selection && rule.condition == condition && rule.group_by == from.group_by;
    if !counts_the_same {
        rule.generation += 1;
    }
    rule.severity = Severity::from_wire(from.severity)
        .ok_or_else(|| Error::field("rule.severity", "required", "must be set"))?;
    rule.selection = from.selection;
    rule.cost = i64::try_from(selection.cost()).unwrap_or(i64::MAX);
    rule.condition = condition;
    rule.group_by = from.group_by;
    rule.name = from.name;
    rule.dedup_key = from.dedup_key;
    rule.title = from.title;
    rule.cooldown_ms = from.cooldown_ms;
    rule.auto_resolve_ms = from.auto_resolve_ms;
    rule.disabled = from.disabled;
    rule.labels = Json(from.labels);
    Ok(())
}

/// Whether each is an attribute's name, and not the path that an expression reads it by.
fn check_group(group_by: &[String]) -> Result<()> {
    let path_of = |text: &str| {
        let name = text.strip_prefix("event.").unwrap_or(text).strip_prefix("attributes.")?;
        Some(format!("is the name of an attribute, without its path: write {name}"))
    };
    let fault = |(index, text): (usize, &String)| {
        Some(FieldError::new(format!("rule.group_by[{index}]"), "invalid_name", path_of(text)?))
    };
    let faults: Vec<FieldError> = group_by.iter().enumerate().filter_map(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::fields(faults)) }
}

fn event_names(selection: &Selection) -> Vec<String> {
    match selection.names() {
        Names::Any => Vec::new(),
        Names::Only(names) => names.iter().cloned().collect(),
    }
}

/// Compiles what a rule says; every fault at once.
fn compile(prefix: &str, selection: &str, dedup_key: &str, title: &str) -> Result<Selection> {
    let mut faults = Vec::new();
    let compiled = Selection::compile(selection);
    if let Err(bad) = &compiled {
        let field = format!("{prefix}selection");
        faults.push(FieldError::new(field, "invalid_expression", bad.to_string()));
    }
    for (field, template) in [("dedup_key", dedup_key), ("title", title)] {
        if let Err(bad) = Template::parse(template) {
            let detail = format!("column {}: {}", bad.column, bad.detail);
            faults.push(FieldError::new(format!("{prefix}{field}"), "invalid_template", detail));
        }
    }
    match compiled {
        Ok(selection) if faults.is_empty() => Ok(selection),
        _ => Err(Error::fields(faults)),
    }
}

/// What the sample events of one request may cost together, in the expressions' steps.
const SAMPLE_BUDGET: u64 = 10 * expression::BUDGET;

/// Compiles a rule without saving it and says which of the sample events it selects. The work is
/// bounded, and others' requests do not wait for it.
pub async fn validate(cx: &Ctx, request: wire::ValidateRuleRequest) -> Result<wire::ValidateRuleResponse> {
    let now = cx.now;
    tokio::task::spawn_blocking(move || selected(&request, now)).await.map_err(Error::internal)?
}

fn selected(request: &wire::ValidateRuleRequest, now: DateTime<Utc>) -> Result<wire::ValidateRuleResponse> {
    let selection = compile("", &request.selection, &request.dedup_key, &request.title)?;
    let affordable = SAMPLE_BUDGET / selection.cost().max(1);
    if request.events.len() as u64 > affordable {
        let detail = format!("this selection is tried on at most {affordable} events at once");
        return Err(Error::field("events", "too_many", detail));
    }
    let selects = |event| selection.selects(&sample_scope(event, now)).unwrap_or(false);
    let selected = request.events.iter().map(selects).collect();
    Ok(wire::ValidateRuleResponse { event_names: event_names(&selection), selected })
}

/// One page of rules.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ListRulesRequest,
) -> Result<wire::ListRulesResponse> {
    let page = platform::page!(request, CONFIG_SORTS, "-created_at")?;
    let filter =
        Filter { service_ids: parse_ids("service_id", &request.service_id)?, archived: request.archived };
    let rows = store::list(conn, cx.org, &filter, &page).await?;
    let key = |row: &Rule| ConfigKey::of(page.sort, row.created_at, &row.name, row.id.uuid());
    let (rows, next_page_token) = page.finish(rows, key)?;
    Ok(wire::ListRulesResponse { items: rows.iter().map(convert::rule).collect(), next_page_token })
}
