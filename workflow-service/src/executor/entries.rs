use platform::ctx::Ctx;
use platform::error::Result;
use proto::incident::v1::record_step_request::Data;
use proto::incident::v1::{NoteData, RecordStepRequest, StepData, TimelineKind};

use super::live::Live;
use super::{Executor, key};
use crate::convert;
use crate::engine::Entry;
use crate::peers;
use crate::program::Op;
use crate::store::steps::RunStep;

impl Executor {
    /// Writes the timeline entries that are owed, in order; the first that does not go through
    /// keeps those behind it waiting. What incident-service will never take is given up.
    pub(super) async fn write_entries(&self, cx: &Ctx, live: &mut Live) {
        while let Some(step) = live.owed.first().cloned() {
            match self.write_entry(cx, live, &step).await {
                Ok(()) => {}
                Err(error) if peers::may_pass(&error) => {
                    tracing::info!(run.id = %live.row.id, error = %error.chain(), "a timeline entry waits");
                    return;
                }
                Err(error) => {
                    metrics::counter!("pulseops_workflow_entries_refused_total").increment(1);
                    tracing::error!(run.id = %live.row.id, error = %error.chain(), "a timeline entry is refused");
                }
            }
            live.written.push(live.owed.remove(0));
        }
    }

    async fn write_entry(&self, cx: &Ctx, live: &Live, step: &RunStep) -> Result<()> {
        let entry = step.entry.as_deref().and_then(Entry::parse).unwrap_or(Entry::Step);
        if entry == Entry::Escalated {
            return self.write_escalation(cx, live, step).await;
        }
        let (kind, data) = match entry {
            Entry::Note => (TimelineKind::Note, Data::Note(NoteData { text: step.detail.clone() })),
            Entry::NobodyReachable => (TimelineKind::NobodyReachable, step_data(live, step)),
            Entry::Step | Entry::Escalated => (TimelineKind::Step, step_data(live, step)),
        };
        let request = RecordStepRequest {
            incident_id: live.row.incident_id.to_string(),
            kind: kind.into(),
            actor: Some(convert::run_actor(&live.row)),
            at: Some(proto::time::to_timestamp(step.ended_at)),
            data: Some(data),
        };
        let what = format!("note|{}|{}|{}", step.kind, step.attempt, step.outcome);
        self.peers.record_step(cx, &key(live.row.id, &step.path, &what), request).await
    }

    async fn write_escalation(&self, cx: &Ctx, live: &Live, step: &RunStep) -> Result<()> {
        let number = |n: i32| u32::try_from(n).unwrap_or(0);
        let (level, round) = (number(step.level), number(step.round));
        let told = live.program.ops.iter().find_map(|op| match op {
            Op::Page { level: it, told, .. } if *it == level => Some(told.as_slice()),
            _ => None,
        });
        let told = told.unwrap_or_default();
        self.escalate_at(cx, live, &step.path, (level, round), told).await?;
        Ok(())
    }
}

fn step_data(live: &Live, step: &RunStep) -> Data {
    Data::Step(StepData {
        run_id: live.row.id.to_string(),
        workflow: live.row.name.clone(),
        path: step.path.clone(),
        kind: step.kind.clone(),
        outcome: step.outcome.clone(),
        detail: step.detail.clone(),
        attempt: step.attempt,
    })
}
