use proptest::prelude::*;

use super::*;

fn any_op() -> impl Strategy<Value = Op> {
    let then = || prop_oneof![Just(Then::Continue), Just(Then::Stop), Just(Then::Fail)];
    prop_oneof![
        (1_u32..5, then(), then()).prop_map(|(n, success, failure)| http(n, success, failure)),
        Just(notify()),
        (1_u64..100_000).prop_map(|duration_ms| Op::Wait { duration_ms }),
        Just(Op::Escalate { policy_id: None }),
        Just(Op::AddNote { text: "x".to_owned() }),
        Just(Op::Resolve { note: String::new() }),
        Just(Op::SetSeverity { severity: 1 }),
    ]
}

fn any_program() -> impl Strategy<Value = Program> {
    prop_oneof![
        prop::collection::vec(any_op(), 1..12).prop_map(workflow),
        (1_u32..6, 1_u32..5).prop_map(|(levels, rounds)| policy(levels, rounds)),
    ]
}

proptest! {
    /// Whatever happens, a run is due at a time or has ended; once peers answer, it ends.
    #[test]
    fn a_run_is_never_stuck(
        program in any_program(),
        luck in prop::collection::vec((0_u8..6, 0.0..1.0_f64, 0_i32..3), 0..200),
    ) {
        let mut state = State::start(&program, at(0));
        let (mut now, mut nudges, mut performed) = (at(0), 0, 0);
        let mut luck = luck.into_iter();
        for epoch in 1..2000 {
            prop_assert_eq!(state.due.is_some(), state.end.is_none());
            match state.next(&program, nudges, now) {
                Next::Ended => break,
                Next::Rest(due) => {
                    prop_assert!(due > now);
                    now = due;
                }
                Next::Perform(_) => {
                    let (kind, random, nudge) = luck.next().unwrap_or((0, 0.5, 0));
                    nudges += nudge;
                    let dared = state.begin(epoch);
                    let outcome = match kind {
                        _ if !dared => Outcome::Refused("lost".to_owned()),
                        0 | 1 => ok(),
                        2 => bad(),
                        3 => Outcome::Refused("no".to_owned()),
                        4 => Outcome::NobodyReachable("nobody".to_owned()),
                        // The process died: no outcome at all.
                        _ => continue,
                    };
                    performed += 1;
                    let effects = state.settle(&program, outcome, nudges, now, random);
                    prop_assert!(state.end.is_none() || effects.releases || state.resolved);
                }
            }
        }
        prop_assert!(state.end.is_some(), "performed {} operations", performed);
    }

    /// When nobody comes, each level is told once in each round.
    #[test]
    fn every_level_is_told_in_every_round(levels in 1_u32..8, rounds in 1_u32..6) {
        let program = policy(levels, rounds);
        let mut state = State::start(&program, at(0));
        let (mut now, mut told) = (at(0), std::collections::BTreeSet::new());
        loop {
            match state.next(&program, 0, now) {
                Next::Ended => break,
                Next::Rest(due) => now = due,
                Next::Perform(op) => {
                    if matches!(op, Op::Page { .. }) {
                        prop_assert!(told.insert(state.path.clone()), "told twice");
                    }
                    state.settle(&program, ok(), 0, now, 0.5);
                }
            }
        }
        prop_assert_eq!(told.len(), (levels * rounds) as usize);
        prop_assert_eq!(now - at(0), TimeDelta::seconds(i64::from(levels * rounds)));
    }
}
