//! Incident events become records.

use async_trait::async_trait;
use diesel_async::AsyncPgConnection;
use platform::bus::Delivered;
use platform::consumer::{After, BatchCtx, Handler};
use platform::error::{Error, Result};
use prost::Message;
use proto::events::v1::IncidentEvent;

use crate::record::{self, Happened, Step};
use crate::store;

/// Consumer `history` of `pulseops.incidents.v1`.
pub struct History;

#[async_trait]
impl Handler for History {
    async fn handle(
        &self,
        cx: &BatchCtx,
        conn: &mut AsyncPgConnection,
        batch: &[Delivered],
    ) -> Result<After> {
        let steps = batch.iter().map(decode).collect::<Result<Vec<_>>>()?;
        let mut keys: Vec<_> = steps.iter().map(|step| (step.org, step.incident_id)).collect();
        keys.sort_unstable();
        keys.dedup();
        let stored = store::find_records(conn, &keys).await?;
        let changed = record::fold(&stored, &steps, cx.replay)?;
        let written = store::upsert_records(conn, changed.into_values().collect()).await?;
        Ok(After::call(move || {
            metrics::counter!("pulseops_analytics_records_total").increment(written as u64);
        }))
    }
}

fn decode(delivered: &Delivered) -> Result<Step> {
    let record = &delivered.record;
    let event = IncidentEvent::decode(record.data.clone())
        .map_err(|error| Error::invalid("undecodable_event", error.to_string()))?;
    let incident_id = record
        .envelope
        .subject
        .parse()
        .map_err(|_| Error::invalid("undecodable_event", "the subject must be the incident's UUID"))?;
    Ok(Step {
        org: record.envelope.org,
        incident_id,
        version: record.envelope.version,
        happened: Happened::of(&record.envelope.ty),
        event,
    })
}
