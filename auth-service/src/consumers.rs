//! What we hear: which resources the other services' callers have changed.

use async_trait::async_trait;
use diesel_async::AsyncPgConnection;
use platform::bus::{Delivered, Envelope, TopicSpec};
use platform::consumer::{After, BatchCtx, Handler};
use platform::error::{Error, Result};
use prost::Message as _;
use proto::audit::RECORDED;
use proto::events::v1::AuditEvent;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::store::audit::{self, NewEntry};

/// Where the others say what was changed.
pub const AUDIT: TopicSpec = TopicSpec::new(
    proto::topics::AUDIT.name,
    proto::topics::AUDIT.partitions,
    proto::topics::AUDIT.retention_ms,
);

/// Consumer `audit`: every change is one row, under the id of its event, so that hearing it again
/// changes nothing.
pub struct Audit;

#[async_trait]
impl Handler for Audit {
    async fn handle(&self, _: &BatchCtx, conn: &mut AsyncPgConnection, batch: &[Delivered]) -> Result<After> {
        let mut entries = Vec::with_capacity(batch.len());
        for Delivered { record, .. } in batch {
            if record.envelope.ty == RECORDED {
                let event = AuditEvent::decode(record.data.clone()).map_err(Error::internal)?;
                entries.push(entry(&record.envelope, event)?);
            }
        }
        audit::insert_missing(conn, &entries).await?;
        Ok(After::none())
    }
}

fn entry(envelope: &Envelope, event: AuditEvent) -> Result<NewEntry> {
    let (kind, _) = event.action.split_once('.').unwrap_or((&event.action, ""));
    Ok(NewEntry {
        org_id: envelope.org,
        id: envelope.id,
        at: envelope.time,
        subject_kind: kind.to_owned(),
        subject_id: id(&event.resource_id)?,
        before: shown(&event.before)?,
        after: shown(&event.after)?,
        actor_kind: event.actor_kind,
        actor_id: id(&event.actor_id)?,
        actor_name: event.actor_name,
        request_id: id(&event.request_id)?,
        action: event.action,
    })
}

fn id(text: &str) -> Result<Uuid> {
    text.parse().map_err(Error::internal)
}

fn shown(json: &str) -> Result<Option<Json>> {
    if json.is_empty() { Ok(None) } else { serde_json::from_str(json).map(Some).map_err(Error::internal) }
}
