//! The closed sets of words in our rows. Each is text in the database, checked there by a CHECK.

platform::words! {
    /// The kind of a destination.
    Kind {
        Webhook = "webhook",
        Email = "email",
        Log = "log",
    }
}

platform::words! {
    /// Where a notification stands.
    Status {
        Pending = "pending",
        Delivered = "delivered",
        /// The last try failed; it can be replayed.
        Dead = "dead",
        /// The incident no longer needed it.
        Cancelled = "cancelled",
    }
}

platform::words! {
    /// What became of one attempt.
    AttemptOutcome {
        /// Claimed and maybe sent.
        Started = "started",
        Delivered = "delivered",
        /// Failed; another attempt may follow.
        Failed = "failed",
        /// The receiver said that it never will.
        Refused = "refused",
        Cancelled = "cancelled",
    }
}

platform::words! {
    /// How far an incident was; later words come later in its life.
    Progress {
        Triggered = "triggered",
        Acknowledged = "acknowledged",
        Resolved = "resolved",
    }
}

impl Progress {
    /// Whether an incident that stands here no longer needs what was decided at `then`: it has
    /// moved on since. What was decided about an acknowledged incident is not undone by that
    /// acknowledgement.
    pub fn outdates(self, then: Self) -> bool {
        (self as u8) > (then as u8)
    }
}

platform::words! {
    /// Groups of people that auth-service knows.
    GroupKind {
        Team = "team",
        Owners = "owners",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_progress_outdates() {
        use Progress::{Acknowledged, Resolved, Triggered};
        assert!(Acknowledged.outdates(Triggered) && Resolved.outdates(Triggered));
        assert!(Resolved.outdates(Acknowledged));
        assert!(!Triggered.outdates(Acknowledged), "reopened: people must be told");
        assert!(!Acknowledged.outdates(Acknowledged) && !Resolved.outdates(Resolved));
    }
}
