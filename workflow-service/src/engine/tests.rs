mod levels;
mod properties;

use uuid::Uuid;

use super::*;
use crate::program::Target;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_000 + ms).expect("a valid time")
}

fn http(max_attempts: u32, on_success: Then, on_failure: Then) -> Op {
    Op::Http(Http {
        url: "https://x".to_owned(),
        method: "POST".to_owned(),
        headers: [].into(),
        body: None,
        timeout_ms: 1000,
        max_attempts,
        initial_ms: 1000,
        max_ms: 60_000,
        jitter: 0.0,
        success_status: vec![],
        on_success,
        on_failure,
    })
}

fn notify() -> Op {
    Op::Notify { targets: vec![], message: String::new() }
}

fn workflow(ops: Vec<Op>) -> Program {
    Program { kind: Kind::Workflow, rounds: 1, ops }
}

fn policy(levels: u32, rounds: u32) -> Program {
    let target = Target { kind: 1, id: "u".to_owned() };
    let ops = (1..=levels).flat_map(|level| {
        let page = Op::Page { level, targets: vec![target.clone()], told: vec!["Ann".to_owned()] };
        [page, Op::Await { level, duration_ms: 1000 }]
    });
    Program { kind: Kind::Policy, rounds, ops: ops.collect() }
}

fn ok() -> Outcome {
    Outcome::Done("fine".to_owned())
}

fn bad() -> Outcome {
    Outcome::Failed { detail: "503".to_owned(), after: None }
}

fn settle(state: &mut State, program: &Program, outcome: Outcome, ms: i64) -> Effects {
    state.settle(program, outcome, 0, at(ms), 0.5)
}

#[test]
fn an_endpoint_may_ask_for_a_longer_wait_within_reason() {
    for (asked, wait) in [(0, 1_000), (30, 30_000), (86_400, 300_000)] {
        let program = workflow(vec![http(3, Then::Continue, Then::Fail)]);
        let mut state = State::start(&program, at(0));
        assert!(state.begin(1));
        let after = Some(Duration::from_secs(asked));
        settle(&mut state, &program, Outcome::Failed { detail: "429".to_owned(), after }, 0);
        assert_eq!(state.next(&program, 0, at(0)), Next::Rest(at(wait)), "{asked} s");
    }
}

#[test]
fn an_http_step_is_retried_with_backoff_and_then_follows_on_failure() {
    for (then, status) in [
        (Then::Continue, None),
        (Then::Fail, Some(EndStatus::Failed)),
        (Then::Stop, Some(EndStatus::Succeeded)),
    ] {
        let program = workflow(vec![http(3, Then::Continue, then), notify()]);
        let mut state = State::start(&program, at(0));
        let mut results = Vec::new();
        for (try_number, wait) in [(1, 1000), (2, 2000), (3, 0)] {
            assert!(state.begin(try_number));
            let record = settle(&mut state, &program, bad(), 0).record.expect("written down");
            results.push((record.result.as_str(), record.attempt, record.path));
            if wait > 0 {
                assert_eq!(state.next(&program, 0, at(0)), Next::Rest(at(wait)));
            }
        }
        let path = || "1".to_owned();
        assert_eq!(results, [("retrying", 1, path()), ("retrying", 2, path()), ("failed", 3, path())]);
        assert_eq!(state.end.as_ref().map(|end| end.status), status, "{then:?}");
        if status.is_none() {
            assert_eq!(state.next(&program, 0, at(0)), Next::Perform(&program.ops[1]));
        }
    }
}

#[test]
fn success_goes_on_or_stops() {
    let program = workflow(vec![http(1, Then::Stop, Then::Fail), notify()]);
    let mut state = State::start(&program, at(0));
    let effects = settle(&mut state, &program, ok(), 0);
    assert!(effects.releases, "the end of a run ends its hold");
    assert_eq!(state.end, Some(End { status: EndStatus::Succeeded, detail: "fine".to_owned() }));
    assert_eq!(state.next(&program, 0, at(0)), Next::Ended);
}

#[test]
fn a_lost_try_counts() {
    let program = workflow(vec![http(3, Then::Continue, Then::Fail)]);
    let mut state = State::start(&program, at(0));
    assert!(state.begin(1) && state.begin(1), "the same lease counts once");
    assert_eq!((state.attempt, state.lost), (1, 0));
    assert!(state.begin(2), "the process was killed");
    assert_eq!((state.attempt, state.lost), (2, 1));
    let retrying = settle(&mut state, &program, bad(), 0).record.expect("written down");
    assert_eq!((retrying.result, retrying.attempt), (Result::Retrying, 2));
    assert!(state.begin(3));
    let failed = settle(&mut state, &program, bad(), 0).record.expect("written down");
    assert_eq!((failed.result, failed.attempt), (Result::Failed, 3), "three at most");
}

#[test]
fn a_lost_last_try_is_made_again() {
    let program = workflow(vec![http(1, Then::Continue, Then::Fail)]);
    let mut state = State::start(&program, at(0));
    assert!(state.begin(1) && state.begin(2), "perhaps it was never made");
    let failed = settle(&mut state, &program, bad(), 0).record.expect("written down");
    assert_eq!((failed.result, failed.attempt), (Result::Failed, 2));
}

#[test]
fn losing_the_process_again_and_again_is_given_up() {
    let program = workflow(vec![http(2, Then::Continue, Then::Fail)]);
    let mut state = State::start(&program, at(0));
    let dared = (1..100).take_while(|epoch| state.begin(*epoch)).count();
    assert_eq!(dared, 5);
}

#[test]
fn what_is_put_off_is_no_try() {
    let program = workflow(vec![http(1, Then::Continue, Then::Fail)]);
    let mut state = State::start(&program, at(0));
    state.begin(1);
    let mut waits = Vec::new();
    for _ in 0..3 {
        state.put_off(1, at(0), 1.0);
        waits.push((state.due.expect("due again") - at(0)).num_milliseconds());
        assert_eq!((state.attempt, state.begun), (0, None));
    }
    assert_eq!(waits, [250, 500, 1000]);
    assert!(state.begin(2));
    assert_eq!((state.attempt, state.lost, state.put_off), (1, 0, 0));
    let record = settle(&mut state, &program, ok(), 0).record.expect("written down");
    assert_eq!((record.result, record.attempt), (Result::Succeeded, 1));
    let mut lost = State::start(&program, at(0));
    lost.begin(1);
    lost.put_off(2, at(0), 1.0);
    assert_eq!((lost.attempt, lost.begun), (1, Some(1)), "what another lease began may have been made");
}

#[test]
fn a_notify_or_escalate_step_ends_the_hold() {
    let policy_id = Uuid::from_u128(7);
    let program = workflow(vec![
        http(1, Then::Continue, Then::Continue),
        notify(),
        Op::Escalate { policy_id: Some(policy_id) },
        Op::Wait { duration_ms: 5 },
    ]);
    let mut state = State::start(&program, at(0));
    let effects: Vec<_> = (0..4)
        .map(|_| {
            let effects = settle(&mut state, &program, ok(), 0);
            (effects.releases, effects.escalates)
        })
        .collect();
    let expected = [(false, None), (true, None), (true, Some(Some(policy_id))), (true, None)];
    assert_eq!(effects, expected);
}

#[test]
fn who_has_resolved_the_incident_pages_nobody() {
    let program = workflow(vec![Op::Resolve { note: String::new() }]);
    let mut state = State::start(&program, at(0));
    let effects = settle(&mut state, &program, ok(), 0);
    assert!(!effects.releases && state.end.is_some());
    let mut state = State::start(&program, at(0));
    let refused = Outcome::Refused("no".to_owned());
    assert!(settle(&mut state, &program, refused, 0).releases, "it is still open");
}

#[test]
fn peers_that_are_away_are_asked_for_ever_and_written_down_once() {
    let program = policy(1, 1);
    let mut state = State::start(&program, at(0));
    let mut written = 0;
    for epoch in 1..50 {
        state.begin(epoch);
        written += usize::from(settle(&mut state, &program, bad(), 0).record.is_some());
        let due = state.due.expect("still due");
        assert!(due > at(0) && due <= at(15_000));
    }
    assert_eq!((written, state.op), (1, 0));
}

#[test]
fn a_taken_incident_ends_the_run() {
    let program = policy(2, 3);
    let mut state = State::start(&program, at(0));
    let record = settle(&mut state, &program, Outcome::Taken("acknowledged".to_owned()), 0).record;
    assert_eq!(record.map(|record| record.result), Some(Result::Cancelled));
    assert_eq!(state.end.as_ref().map(|end| end.status), Some(EndStatus::Cancelled));
    assert_eq!(state.cancel(&program, "again"), None);
}

#[test]
fn a_state_reads_back() {
    let mut state = State::start(&policy(2, 3), at(0));
    state.begin(4);
    let json = serde_json::to_value(&state).expect("written");
    assert_eq!(serde_json::from_value::<State>(json).expect("read"), state);
}
