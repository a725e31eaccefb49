use async_trait::async_trait;
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, Trace};
use platform::db::Db;
use platform::error::Result;
use platform::leased::{self, Claim, Outcome, Work};
use platform::source::Source;

use super::TABLE;
use crate::NAME;
use crate::announce;
use crate::incidents::resolve_if_quiet;
use crate::json::Actor;
use crate::kinds::{AlertId, AlertStatus, RuleId, SourceKind, TimelineKind};
use crate::store::alerts::{self as store, Alert};
use crate::store::incidents::{self, Incident, Named};
use crate::store::timeline;

/// Resolves alerts that stayed quiet for as long as their rule or service says, and with the last
/// one its incident.
#[derive(Clone, Debug)]
pub struct AutoResolve {
    db: Db,
    source: Source,
}

impl AutoResolve {
    pub fn new(db: &Db, source: &Source) -> Self {
        Self { db: db.clone(), source: source.clone() }
    }
}

#[async_trait]
impl Work for AutoResolve {
    const TABLE: &'static str = TABLE;

    async fn step(&self, claim: Claim) -> Result<()> {
        let source = self.source.clone();
        let cx = Ctx::service(NAME, claim.org, source.clone(), Trace::new(&source), None);
        platform::tx!(self.db, &cx, |conn| {
            let outcome = look(&cx, conn, AlertId(claim.id)).await?;
            leased::finish(conn, TABLE, &claim, outcome).await
        })
    }
}

/// Locks go from the incident to its alerts, as everywhere; a trigger locks the alert alone.
async fn look(cx: &Ctx, conn: &mut AsyncPgConnection, id: AlertId) -> Result<Outcome> {
    let seen = store::get(conn, cx.org, id).await?;
    let mut incident = match seen.incident_id {
        Some(incident) => Some(incidents::lock(conn, cx.org, Named::Id(incident)).await?),
        None => None,
    };
    let alert = store::lock(conn, cx.org, id).await?;
    let now = store::database_now(conn).await?;
    match alert.due_at {
        _ if alert.status == AlertStatus::Resolved => Ok(Outcome::Done),
        None => Ok(Outcome::Done),
        Some(due) if due > now => Ok(Outcome::Next(due)),
        // It got its incident between the two reads.
        Some(due) if alert.incident_id != seen.incident_id => Ok(Outcome::Again(due)),
        Some(_) => resolve(cx, conn, &alert, incident.as_mut()).await,
    }
}

async fn resolve(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    alert: &Alert,
    incident: Option<&mut Incident>,
) -> Result<Outcome> {
    store::resolve(conn, cx.org, alert.id, cx.now).await?;
    if let Some(incident) = incident {
        let actor = actor(alert);
        let data = announce::alert(alert);
        let entry = announce::entry(cx, incident, TimelineKind::AlertResolved, &actor, data);
        timeline::append(conn, &[entry]).await?;
        resolve_if_quiet(cx, conn, incident, &actor).await?;
    }
    metrics::counter!("pulseops_incident_alerts_auto_resolved_total").increment(1);
    Ok(Outcome::Done)
}

fn actor(alert: &Alert) -> Actor {
    match alert.source_kind {
        SourceKind::Rule => Actor::rule(RuleId(alert.source_id), &alert.source_name),
        SourceKind::Integration | SourceKind::Person => Actor::service(NAME),
    }
}
