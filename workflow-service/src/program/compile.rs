//! From the contract's steps to operations.

use pb::step::Kind as Step;
use proto::workflow::v1 as pb;

use super::{Http, Op, Target, Then};

/// Longest wait between two tries of an http step that says none.
const MAX_WAIT_MS: i64 = 60_000;

pub(super) fn op(kind: &Step) -> Op {
    match kind {
        Step::Http(step) => Op::Http(http(step.clone())),
        Step::Notify(step) => Op::Notify {
            targets: step.targets.iter().map(Target::from).collect(),
            message: step.message.clone(),
        },
        Step::Wait(step) => Op::Wait { duration_ms: millis(step.duration_ms) },
        Step::Escalate(step) => {
            Op::Escalate { policy_id: step.policy_id.as_deref().and_then(|id| id.parse().ok()) }
        }
        Step::AddNote(step) => Op::AddNote { text: step.text.clone() },
        Step::Resolve(step) => Op::Resolve { note: step.note.clone() },
        Step::SetSeverity(step) => Op::SetSeverity { severity: step.severity },
    }
}

/// Puts what holds in place of what a step does not say.
pub fn fill_defaults(step: &mut pb::Step) {
    if let Some(Step::Http(http)) = &mut step.kind {
        fill_http(http);
    }
}

fn fill_http(step: &mut pb::HttpStep) {
    fn or<T: Default + PartialEq>(field: &mut T, default: T) {
        if *field == T::default() {
            *field = default;
        }
    }
    or(&mut step.method, pb::HttpMethod::Post.into());
    or(&mut step.timeout_ms, 10_000);
    or(&mut step.on_success, pb::OnOutcome::Continue.into());
    or(&mut step.on_failure, pb::OnOutcome::Continue.into());
    let retry = step.retry.get_or_insert_default();
    or(&mut retry.max_attempts, 1);
    or(&mut retry.initial_ms, 1_000);
    or(&mut retry.max_ms, MAX_WAIT_MS.max(retry.initial_ms));
    retry.jitter.get_or_insert(0.2);
}

fn http(mut step: pb::HttpStep) -> Http {
    fill_http(&mut step);
    let retry = step.retry.unwrap_or_default();
    let (on_success, on_failure) = (then(step.on_success()), then(step.on_failure()));
    Http {
        method: match step.method() {
            pb::HttpMethod::Get => "GET",
            pb::HttpMethod::Put => "PUT",
            pb::HttpMethod::Delete => "DELETE",
            pb::HttpMethod::Post | pb::HttpMethod::Unspecified => "POST",
        }
        .to_owned(),
        url: step.url,
        headers: step.headers,
        body: step.body,
        timeout_ms: millis(step.timeout_ms),
        max_attempts: u32::try_from(retry.max_attempts).unwrap_or(1),
        initial_ms: millis(retry.initial_ms),
        max_ms: millis(retry.max_ms),
        jitter: retry.jitter.unwrap_or_default(),
        success_status: step.success_status.iter().filter_map(|it| u16::try_from(*it).ok()).collect(),
        on_success,
        on_failure,
    }
}

fn then(outcome: pb::OnOutcome) -> Then {
    match outcome {
        pb::OnOutcome::Unspecified | pb::OnOutcome::Continue => Then::Continue,
        pb::OnOutcome::Stop => Then::Stop,
        pb::OnOutcome::Fail => Then::Fail,
    }
}

pub(super) fn millis(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}
