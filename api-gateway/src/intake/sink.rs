//! From events to records of the log.

use std::sync::Arc;

use bytes::Bytes;
use ingest::{Observer, Refused, Sink, Weigh};
use platform::bus::{Bus, Envelope, Record};
use platform::ctx::Ctx;
use platform::error::{Error, Result};
use proto::events::v1::Event;
use uuid::Uuid;

use super::EVENTS;

const RECEIVED: &str = "pulseops.event.received.v1";
/// What a record costs in memory beside its bytes.
const OVERHEAD: usize = 300;

/// One event as it will stand in the log.
pub struct Outgoing(Record);

impl Outgoing {
    /// Fills in what the server says: id when missing, service, time when missing, acceptance.
    pub fn new(cx: &Ctx, service: Uuid, mut event: Event) -> Self {
        let envelope = Envelope::new(cx, "api-gateway", RECEIVED, service, 0);
        let accepted_at = proto::time::to_timestamp(cx.now);
        if event.id.is_empty() {
            event.id = envelope.id.to_string();
        }
        event.service = service.to_string();
        event.time.get_or_insert(accepted_at);
        event.accepted_at = Some(accepted_at);
        Self(Record::new(key(cx, service), envelope, &event))
    }
}

/// Events of one service stay in one partition, in order.
fn key(cx: &Ctx, service: Uuid) -> Bytes {
    [*cx.org.uuid().as_bytes(), *service.as_bytes()].concat().into()
}

impl Weigh for Outgoing {
    fn weight(&self) -> usize {
        self.0.data.len() + OVERHEAD
    }
}

/// The log.
pub struct Log {
    pub bus: Arc<dyn Bus>,
}

impl Sink<Outgoing> for Log {
    type Error = Error;

    async fn write(&self, batch: Vec<Outgoing>) -> Result<()> {
        let records: Vec<Record> = batch.into_iter().map(|item| item.0).collect();
        self.bus.append(EVENTS.name, &records).await
    }
}

/// Metrics of the intake.
pub struct Meter;

impl Observer for Meter {
    fn written(&self, requests: usize, items: usize, ok: bool) {
        let outcome = if ok { "stored" } else { "failed" };
        metrics::counter!("pulseops_intake_events_total", "outcome" => outcome).increment(items as u64);
        metrics::counter!("pulseops_intake_requests_total", "outcome" => outcome).increment(requests as u64);
        metrics::counter!("pulseops_intake_appends_total").increment(1);
    }

    fn refused(&self, reason: Refused) {
        let reason = match reason {
            Refused::Full { .. } => "full",
            Refused::Closed => "closed",
            Refused::TooLarge => "too_large",
        };
        metrics::counter!("pulseops_intake_refused_total", "reason" => reason).increment(1);
    }
}
