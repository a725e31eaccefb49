//! What becomes of a presented refresh token. Pure.
//!
//! A token works once. There is no grace for a second use, not even at the same moment: a client
//! that lost the answer cannot be told from a thief, so both are signed out and one signs in again.

/// The token and its session as the database knows them, under the session's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    pub spent: bool,
    /// By the database's clock.
    pub expired: bool,
    pub session_ended: bool,
    /// The user is active and not archived.
    pub user_active: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Spend it and hand out the next pair.
    Rotate,
    /// It was used before: end the whole session.
    Reused,
    /// As `Reused`, and the session has ended already.
    ReusedAfterEnd,
    Expired,
    /// The session was ended, or its user may not sign in.
    Ended,
}

/// Reuse weighs more than everything else: a spent token tells of a thief even when it is old.
pub fn decide(presented: Presented) -> Decision {
    match presented {
        Presented { spent: true, session_ended: false, .. } => Decision::Reused,
        Presented { spent: true, session_ended: true, .. } => Decision::ReusedAfterEnd,
        Presented { session_ended: true, .. } | Presented { user_active: false, .. } => Decision::Ended,
        Presented { expired: true, .. } => Decision::Expired,
        _ => Decision::Rotate,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: Presented =
        Presented { spent: false, expired: false, session_ended: false, user_active: true };

    #[test]
    fn each_state_has_its_answer() {
        let rows = [
            (GOOD, Decision::Rotate),
            (Presented { spent: true, ..GOOD }, Decision::Reused),
            (Presented { spent: true, expired: true, ..GOOD }, Decision::Reused),
            (Presented { spent: true, session_ended: true, ..GOOD }, Decision::ReusedAfterEnd),
            (Presented { expired: true, ..GOOD }, Decision::Expired),
            (Presented { session_ended: true, ..GOOD }, Decision::Ended),
            (Presented { user_active: false, ..GOOD }, Decision::Ended),
        ];
        for (presented, expected) in rows {
            assert_eq!(decide(presented), expected, "{presented:?}");
        }
    }

    proptest! {
        #[test]
        fn only_a_flawless_token_rotates(spent: bool, expired: bool, session_ended: bool, user_active: bool) {
            let presented = Presented { spent, expired, session_ended, user_active };
            prop_assert_eq!(decide(presented) == Decision::Rotate, presented == GOOD);
        }
    }
}
