use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::Result;
use platform::outbox;

use super::respond::refused;
use crate::announce::{self, Extra, Step};
use crate::json::Actor;
use crate::lifecycle::Action;
use crate::store::incidents::{self as store, Incident};
use crate::store::{alerts, services, timeline};

/// Resolves those of these incidents of one organization, whose rows the caller has locked, that have
/// no open alert left; each by the actor beside it.
///
/// # Errors
/// Those of the database.
pub async fn resolve_quiet(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    touched: Vec<(Incident, Actor)>,
) -> Result<()> {
    if touched.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = touched.iter().map(|(incident, _)| incident.id).collect();
    let firing = alerts::firing_of(conn, cx.org, &ids).await?;
    let service_ids: Vec<_> = touched.iter().map(|(incident, _)| incident.service_id).collect();
    let services = services::find_all(conn, cx.org, &service_ids).await?;

    let (mut resolved, mut entries, mut events) = (Vec::new(), Vec::new(), Vec::new());
    let action = Action::Resolve { note: String::new() };
    for (mut incident, actor) in touched.into_iter().filter(|(incident, _)| !firing.contains(&incident.id)) {
        let Some(life) = incident.life.after(&action, &actor, cx.now).map_err(refused)? else { continue };
        let Some(service) = services.iter().find(|service| service.id == incident.service_id) else {
            continue;
        };
        incident.life = life;
        incident.version += 1;
        let step = Step::Resolved;
        entries.push(announce::entry(cx, &incident, step.entry(), &actor, None));
        events.push(announce::event(cx, step, &incident, service, &actor, Extra::default()));
        resolved.push(incident);
    }
    store::resolve(conn, &resolved).await?;
    timeline::append(conn, &entries).await?;
    outbox::append(conn, &events).await?;
    let step = Step::Resolved.entry().as_str();
    metrics::counter!("pulseops_incident_steps_total", "step" => step).increment(resolved.len() as u64);
    Ok(())
}
