//! Levels of policies: told in turn, and asked for before their time.

use super::*;

#[test]
fn a_policy_tells_its_levels_in_turn_and_says_when_nobody_came() {
    let program = policy(2, 2);
    let mut state = State::start(&program, at(0));
    let mut told = Vec::new();
    let mut ms = 0;
    loop {
        match state.next(&program, 0, at(ms)) {
            Next::Perform(op) => {
                let op = op.clone();
                let record = settle(&mut state, &program, ok(), ms).record;
                if matches!(op, Op::Page { .. }) {
                    let record = record.expect("written down");
                    told.push((record.path, record.level, record.round));
                } else if let Some(record) = record {
                    assert_eq!(
                        (record.entry, &*record.detail),
                        (Some(Entry::Note), "nobody acknowledged after 2 rounds")
                    );
                }
            }
            Next::Rest(due) => ms = (due - at(0)).num_milliseconds(),
            Next::Ended => break,
        }
    }
    let expected = [("1.1", 1, 1), ("1.2", 2, 1), ("2.1", 1, 2), ("2.2", 2, 2)];
    assert_eq!(told, expected.map(|(path, level, round)| (path.to_owned(), level, round)));
    assert_eq!(ms, 4000);
    assert_eq!(state.end.map(|end| end.status), Some(EndStatus::Succeeded));
}

#[test]
fn a_nudge_ends_the_wait_for_one_level() {
    let program = policy(3, 1);
    let mut state = State::start(&program, at(0));
    settle(&mut state, &program, ok(), 0);
    assert_eq!(state.next(&program, 0, at(1)), Next::Rest(at(1000)));
    assert_eq!(state.next(&program, 1, at(1)), Next::Perform(&program.ops[1]));
    state.settle(&program, ok(), 1, at(1), 0.5);
    assert_eq!(state.next(&program, 1, at(1)), Next::Perform(&program.ops[2]));
    settle(&mut state, &program, ok(), 1);
    assert_eq!(state.next(&program, 1, at(1)), Next::Rest(at(1001)), "one nudge, one level");
}

#[test]
fn two_nudges_bring_two_levels() {
    let program = policy(4, 1);
    let mut state = State::start(&program, at(0));
    let mut told = 0;
    while let Next::Perform(op) = state.next(&program, 2, at(1)) {
        told += usize::from(matches!(op, Op::Page { .. }));
        state.settle(&program, ok(), 2, at(1), 0.5);
    }
    assert_eq!((told, state.path.as_str()), (3, "1.3"), "the first level and one for each");
}

#[test]
fn only_a_wait_that_had_begun_can_be_nudged() {
    let program = policy(2, 1);
    let mut state = State::start(&program, at(0));
    assert!(!state.has_awaited_since(&program, at(500)), "its first level is being told");
    settle(&mut state, &program, ok(), 100);
    assert!(!state.has_awaited_since(&program, at(100)), "it began to wait while the other began to ask");
    assert!(state.has_awaited_since(&program, at(101)));
    settle(&mut state, &program, ok(), 1100);
    assert!(!state.has_awaited_since(&program, at(2000)), "the next level is being told");
}

#[test]
fn a_level_that_cannot_be_told_is_passed_over() {
    let program = policy(2, 1);
    let mut state = State::start(&program, at(0));
    let record = settle(&mut state, &program, Outcome::Refused("422".to_owned()), 0).record;
    assert_eq!(record.map(|record| record.result), Some(Result::Failed));
    assert!(matches!(state.next(&program, 0, at(1000)), Next::Perform(Op::Await { level: 1, .. })));
}
