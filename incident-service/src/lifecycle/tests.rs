use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::json::ActorKind;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a valid time")
}

fn person() -> Actor {
    Actor { kind: ActorKind::User, id: "u".to_owned(), name: "Ada".to_owned() }
}

fn resolve() -> Action {
    Action::Resolve { note: "fixed".to_owned() }
}

fn in_status(status: Status) -> Life {
    let walk = match status {
        Status::Triggered => vec![],
        Status::Acknowledged => vec![Action::Acknowledge],
        Status::Resolved => vec![Action::Resolve { note: String::new() }],
    };
    walk.iter().fold(Life::born(), |life, action| {
        life.after(action, &person(), at(1)).expect("allowed").expect("changes")
    })
}

#[test]
fn the_whole_table() {
    use Status::{Acknowledged, Resolved, Triggered};
    let refused = |from| Err(Refused::Transition { from });
    let table = [
        (Triggered, Action::Acknowledge, Ok(Some(Acknowledged))),
        (Triggered, resolve(), Ok(Some(Resolved))),
        (Triggered, Action::Reopen, refused(Triggered)),
        (Acknowledged, Action::Acknowledge, Ok(None)),
        (Acknowledged, resolve(), Ok(Some(Resolved))),
        (Acknowledged, Action::Reopen, refused(Acknowledged)),
        (Resolved, Action::Acknowledge, refused(Resolved)),
        (Resolved, resolve(), Ok(None)),
        (Resolved, Action::Reopen, Ok(Some(Triggered))),
    ];
    for (from, action, expected) in table {
        let after = in_status(from).after(&action, &person(), at(2));
        assert_eq!(after.map(|life| life.map(|life| life.status)), expected, "{from} {action:?}");
    }
}

#[test]
fn automation_resolves_but_never_reopens() {
    let resolved = Life::born().after(&resolve(), &Actor::service("workflow"), at(3));
    let resolved = resolved.expect("allowed").expect("changes");
    assert!(resolved.auto_resolved);
    let reopened = resolved.after(&Action::Reopen, &Actor::service("workflow"), at(4));
    assert_eq!(reopened, Err(Refused::NotAPerson));
}

#[test]
fn a_reopen_keeps_the_first_acknowledgement_and_nothing_else() {
    let acknowledged = in_status(Status::Acknowledged);
    let resolved = acknowledged.after(&resolve(), &person(), at(5)).expect("allowed").expect("changes");
    let reopened = resolved.after(&Action::Reopen, &person(), at(6)).expect("allowed").expect("changes");
    assert_eq!(reopened.first_acknowledged_at, Some(at(1)));
    assert_eq!((reopened.acknowledged_at, reopened.resolved_at), (None, None));
    assert_eq!((reopened.reopen_count, reopened.resolution_note.as_str()), (1, ""));
}

fn actions() -> impl Strategy<Value = Vec<(Action, bool, u8)>> {
    let action = prop_oneof![Just(Action::Acknowledge), Just(resolve()), Just(Action::Reopen)];
    prop::collection::vec((action, any::<bool>(), 0_u8..60), 0..30)
}

proptest! {
    /// Whatever people and automation do, what the row says stays consistent.
    #[test]
    fn times_and_status_always_agree(steps in actions()) {
        let mut life = Life::born();
        let mut now = at(0);
        for (action, by_person, pause) in steps {
            now += TimeDelta::seconds(i64::from(pause));
            let actor = if by_person { person() } else { Actor::service("workflow") };
            let before = life.clone();
            if let Ok(Some(after)) = life.after(&action, &actor, now) {
                prop_assert_ne!(after.status, before.status);
                life = after;
            }
            prop_assert_eq!(life.resolved_at.is_some(), life.status == Status::Resolved);
            prop_assert_eq!(life.resolved_at.is_some(), life.resolved_by.is_some());
            prop_assert_eq!(life.acknowledged_at.is_some(), life.acknowledged_by.is_some());
            if life.status == Status::Acknowledged {
                prop_assert!(life.acknowledged_at.is_some());
            }
            prop_assert!(before.first_acknowledged_at.is_none()
                || before.first_acknowledged_at == life.first_acknowledged_at);
            prop_assert!(life.reopen_count >= before.reopen_count);
            prop_assert!(!life.auto_resolved || life.status == Status::Resolved);
        }
    }

    /// Doing the same again never changes anything more.
    #[test]
    fn every_action_is_idempotent(steps in actions(), again in 0_usize..3) {
        let mut life = Life::born();
        for (action, _, _) in &steps {
            if let Ok(Some(after)) = life.after(action, &person(), at(1)) {
                life = after;
            }
        }
        let action = [Action::Acknowledge, resolve(), Action::Reopen][again].clone();
        if let Ok(Some(once)) = life.after(&action, &person(), at(2)) {
            prop_assert!(!matches!(once.after(&action, &person(), at(3)), Ok(Some(_))));
        }
    }
}
