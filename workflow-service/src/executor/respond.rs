//! What a workflow's step does to the incident itself.

use platform::ctx::Ctx;
use proto::api::v1::Severity;
use proto::incident::v1::{IncidentStatus, ResolveByAutomationRequest, SetSeverityRequest};

use super::live::Live;
use super::{Executor, key};
use crate::convert;
use crate::engine::Outcome;

impl Executor {
    /// Resolves the incident.
    pub(super) async fn resolve(&self, cx: &Ctx, live: &Live, note: &str) -> Outcome {
        let note = match self.fill(cx, live, note).await {
            Ok(note) => note,
            Err(error) => return self.peer_failed(&error),
        };
        let request = ResolveByAutomationRequest {
            incident_id: live.row.incident_id.to_string(),
            actor: Some(convert::run_actor(&live.row)),
            note,
        };
        match self.peers.resolve(cx, &key(live.row.id, live.path(), "resolve"), request).await {
            Ok(_) => Outcome::Done("resolved".to_owned()),
            Err(error) => self.peer_failed(&error),
        }
    }

    /// Sets the incident's severity. One that has it already, or that is resolved, stays as it is.
    pub(super) async fn set_severity(&self, cx: &Ctx, live: &Live, severity: i32) -> Outcome {
        let request = SetSeverityRequest {
            incident_id: live.row.incident_id.to_string(),
            actor: Some(convert::run_actor(&live.row)),
            severity,
        };
        match self.peers.set_severity(cx, &key(live.row.id, live.path(), "set_severity"), request).await {
            Ok(state) if state.status() == IncidentStatus::Resolved => {
                Outcome::Done("nothing to set: the incident is resolved".to_owned())
            }
            Ok(_) => {
                let severity = Severity::try_from(severity).unwrap_or_default();
                Outcome::Done(format!("the severity is {}", convert::severity_name(severity)))
            }
            Err(error) => self.peer_failed(&error),
        }
    }
}
