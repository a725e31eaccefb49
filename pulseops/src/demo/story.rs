//! The story: payment fails, the retry does not help, Ada is told, nobody acknowledges, Grace is told,
//! acknowledges and resolves, and the time it took is on record.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    api::{Api, text},
    narrate::{chapter, line, timeline},
    receiver::Receiver,
};

const PASSWORD: &str = "correct horse battery staple";
const LEVEL_MS: i64 = 2_000;
const RETRIES: usize = 3;
const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);

/// Who and what the story is about.
struct Cast {
    ada: Api,
    ada_email: String,
    grace: Api,
    service_id: String,
}

pub async fn play(api: &Api, receiver: &Receiver) -> anyhow::Result<()> {
    let run = receiver.now().format("%Y%m%d%H%M%S%3f").to_string();
    let cast = set_up(api, receiver, &run).await?;
    let (incident_id, number) = fail_three_times(&cast, receiver).await?;
    watch_the_response(receiver).await?;
    let resolved = take_and_resolve(&cast, receiver, &incident_id).await?;
    let mttr = read_mttr(&cast, &resolved).await?;
    show_timeline(&cast, &incident_id, number, mttr).await
}

async fn set_up(api: &Api, receiver: &Receiver, run: &str) -> anyhow::Result<Cast> {
    chapter(1, "An organization, two people, a team");
    let ada_email = format!("ada-{run}@example.com");
    let session = api
        .post(
            "/v1/auth/register",
            json!({"email": ada_email, "password": PASSWORD, "name": "Ada", "organization": format!("Demo {run}")}),
        )
        .await?;
    let ada = api.signed_in(text(&session, "/access_token")?);
    let ada_id = text(&session, "/user/id")?.to_owned();
    let grace_email = format!("grace-{run}@example.com");
    let grace_user = ada
        .post(
            "/v1/users",
            json!({"email": grace_email, "name": "Grace", "role": "responder", "password": PASSWORD}),
        )
        .await?;
    let grace_id = text(&grace_user, "/id")?.to_owned();
    let grace_session =
        api.post("/v1/auth/login", json!({"email": grace_email, "password": PASSWORD})).await?;
    let grace = api.signed_in(text(&grace_session, "/access_token")?);
    for (person, client, id) in [("ada", &ada, &ada_id), ("grace", &grace, &grace_id)] {
        let address = receiver.url(&format!("/pages/{person}"));
        client
            .post(&format!("/v1/users/{id}/contact-methods"), json!({"kind": "webhook", "address": address}))
            .await?;
    }
    let team = ada.post("/v1/teams", json!({"slug": "payments", "name": "Payments"})).await?;
    let team_id = text(&team, "/id")?;
    ada.post(&format!("/v1/teams/{team_id}/members"), json!({"user_id": ada_id, "role": "manager"})).await?;
    line("Ada (owner, team Payments) and Grace (responder), each with a webhook as contact method");

    chapter(2, "Who is told, and what is tried first");
    let policy = ada
        .post(
            "/v1/escalation-policies",
            json!({"slug": "payments", "name": "Payments on call", "levels": [
                {"targets": [{"kind": "team", "id": team_id}], "timeout_ms": LEVEL_MS},
                {"targets": [{"kind": "user", "id": grace_id}], "timeout_ms": LEVEL_MS},
            ]}),
        )
        .await?;
    line("escalation policy: the team, after 2 s Grace");
    let service = ada
        .post(
            "/v1/services",
            json!({"slug": "payment", "name": "Payment", "team_id": team_id, "escalation_policy_id": text(&policy, "/id")?}),
        )
        .await?;
    let service_id = text(&service, "/id")?.to_owned();
    line("service payment, owned by the team");
    ada.post(
        "/v1/rules",
        json!({
            "slug": "charges-fail", "name": "Charges fail", "service_id": service_id,
            "selection": "event.name == \"charge.failed\"",
            "condition": {"count": {"at_least": 3, "window_ms": 60_000}},
            "severity": "critical", "title": "Charges fail on {service}",
        }),
    )
    .await?;
    line("rule: three charge.failed events within a minute open a critical incident");
    ada.post(
        "/v1/workflows",
        json!({
            "slug": "retry-then-page", "name": "Retry, then page", "triggers": ["created"],
            "service_ids": [service_id], "hold_paging_ms": 60_000,
            "steps": [
                {"name": "retry the charges", "http": {
                    "url": receiver.url("/retry"), "method": "post", "on_failure": "fail",
                    "retry": {"max_attempts": RETRIES, "initial_ms": 300, "max_ms": 1_000},
                }},
                {"name": "it helped", "resolve": {"note": "a retry helped"}},
            ],
        }),
    )
    .await?;
    line(format!(
        "workflow: call the retry endpoint up to {RETRIES} times; people are told when that does not help"
    ));
    Ok(Cast { ada, ada_email, grace, service_id })
}

async fn fail_three_times(cast: &Cast, receiver: &Receiver) -> anyhow::Result<(String, i64)> {
    chapter(3, "Payment fails");
    let sent_at = receiver.now();
    for n in 1..=3 {
        let event = json!({
            "service": "payment", "name": "charge.failed", "severity": "high",
            "attributes": {"region": "eu", "card": format!("…{n}")},
        });
        let answer = cast.ada.post("/v1/events", event).await?;
        line(format!("event {n}: charge.failed, accepted {}", answer["accepted"]));
    }
    let path = format!("/v1/incidents?service_id={}", cast.service_id);
    let incident = cast.ada.until("an incident", &path, |list| list.pointer("/items/0").cloned()).await?;
    let number = incident["number"].as_i64().context("an incident has a number")?;
    let created_at = time(&incident, "/created_at")?;
    line(format!(
        "incident #{number} \"{}\", {}, {} ms after the first event was sent",
        text(&incident, "/title")?,
        text(&incident, "/severity")?,
        (created_at - sent_at).num_milliseconds()
    ));
    Ok((text(&incident, "/id")?.to_owned(), number))
}

async fn watch_the_response(receiver: &Receiver) -> anyhow::Result<()> {
    chapter(4, "The response runs");
    let first = receiver.nth("retry", 1, ARRIVAL_LIMIT).await?;
    for n in 1..=RETRIES {
        let call = receiver.nth("retry", n, ARRIVAL_LIMIT).await?;
        ensure!(call.key == first.key, "every try of one step carries the same key");
        line(format!(
            "retry {n}: answered 503 (+{} ms), key {}",
            (call.at - first.at).num_milliseconds(),
            short(&call.key)
        ));
    }
    let page = receiver.nth("ada", 1, ARRIVAL_LIMIT).await?;
    line(format!("Ada is paged (+{} ms), key {}", (page.at - first.at).num_milliseconds(), short(&page.key)));
    let next = receiver.nth("grace", 1, ARRIVAL_LIMIT).await?;
    line(format!("nobody acknowledged: Grace is paged {} ms later", (next.at - page.at).num_milliseconds()));
    Ok(())
}

async fn take_and_resolve(cast: &Cast, receiver: &Receiver, incident_id: &str) -> anyhow::Result<Value> {
    chapter(5, "Grace takes it and resolves it");
    let path = format!("/v1/incidents/{incident_id}");
    let taken = cast.grace.post(&format!("{path}/acknowledge"), json!({"note": "on it"})).await?;
    line(format!("acknowledged at {}", text(&taken, "/acknowledged_at")?));
    let resolved =
        cast.grace.post(&format!("{path}/resolve"), json!({"note": "provider failed over"})).await?;
    line(format!("resolved at {}", text(&resolved, "/resolved_at")?));
    let pages = receiver.calls("ada").len() + receiver.calls("grace").len();
    line(format!("{pages} pages in all"));
    Ok(resolved)
}

async fn read_mttr(cast: &Cast, resolved: &Value) -> anyhow::Result<i64> {
    chapter(6, "How long it took");
    let path = format!("/v1/analytics/mttr?service_id={}", cast.service_id);
    let group = cast
        .ada
        .until("the record in analytics", &path, |answer| {
            answer.pointer("/groups/0").filter(|group| group["resolved"] == json!(1)).cloned()
        })
        .await?;
    let recorded = group.pointer("/mttr/mean_ms").and_then(Value::as_i64).context("mttr.mean_ms")?;
    let own = time(resolved, "/resolved_at")?.timestamp_millis()
        - time(resolved, "/created_at")?.timestamp_millis();
    ensure!(recorded == own, "MTTR {recorded} ms is not resolved_at - created_at = {own} ms");
    let mtta = group.pointer("/mtta/mean_ms").and_then(Value::as_i64).context("mtta.mean_ms")?;
    line(format!("MTTA {mtta} ms, MTTR {recorded} ms = resolved_at - created_at"));
    Ok(recorded)
}

async fn show_timeline(cast: &Cast, incident_id: &str, number: i64, mttr: i64) -> anyhow::Result<()> {
    chapter(7, &format!("The timeline of incident #{number}"));
    let path = format!("/v1/incidents/{incident_id}/timeline?page_size=200");
    let entries = cast
        .ada
        .until("the last timeline entry", &path, |answer| {
            let items = answer["items"].as_array()?;
            let of = |kind: &str| items.iter().filter(|entry| entry["kind"] == kind).count();
            (of("notified") >= 2 && of("escalated") >= 1 && of("resolved") >= 1).then(|| items.clone())
        })
        .await?;
    timeline(&entries);
    println!("\nThe story is over: MTTR {mttr} ms.");
    look_again(cast, number)
}

/// How a person sees all of it afterwards.
fn look_again(cast: &Cast, number: i64) -> anyhow::Result<()> {
    let (api, token) = (cast.ada.base(), cast.ada.token().context("Ada is signed in")?);
    println!(
        "Look at it again, as Ada ({}, password \"{PASSWORD}\"; the token lasts 15 minutes):",
        cast.ada_email
    );
    println!("   token={token}");
    for path in
        [format!("incidents/{number}"), format!("incidents/{number}/timeline"), "analytics/mttr".to_owned()]
    {
        println!("   curl -H \"Authorization: Bearer $token\" {api}/v1/{path}");
    }
    println!("All that can be asked: {api}/docs");
    Ok(())
}

fn time(value: &Value, pointer: &str) -> anyhow::Result<DateTime<Utc>> {
    let text = text(value, pointer)?;
    Ok(DateTime::parse_from_rfc3339(text).with_context(|| format!("{pointer}: {text}"))?.to_utc())
}

fn short(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}
