//! The closed words of this service's tables, as Rust, SQL text and proto.

use proto::api::v1 as api;
use proto::incident::v1 as wire;

platform::words! {
    /// How bad it is, worst first.
    Severity as api::Severity {
        Critical = "critical", High = "high", Medium = "medium", Low = "low", Info = "info",
    }
}

platform::words! {
    /// How loudly people are told.
    Urgency as api::Urgency { High = "high", Low = "low" }
}

platform::words! {
    /// How the urgency of a service's incidents follows from their severity.
    UrgencyRule as wire::UrgencyRule { BySeverity = "by_severity", High = "high", Low = "low" }
}

platform::words! {
    /// Where an incident stands.
    Status as wire::IncidentStatus {
        Triggered = "triggered", Acknowledged = "acknowledged", Resolved = "resolved",
    }
}

platform::words! {
    /// Where an alert stands.
    AlertStatus as wire::AlertStatus { Firing = "firing", Resolved = "resolved" }
}

platform::words! {
    /// What an alert comes from.
    SourceKind as wire::SourceKind { Rule = "rule", Integration = "integration", Person = "person" }
}

platform::words! {
    /// What a timeline entry says.
    TimelineKind as wire::TimelineKind {
        Created = "created",
        AlertAdded = "alert_added",
        AlertResolved = "alert_resolved",
        Acknowledged = "acknowledged",
        Escalated = "escalated",
        Resolved = "resolved",
        Reopened = "reopened",
        Assigned = "assigned",
        SeverityChanged = "severity_changed",
        Updated = "updated",
        Note = "note",
        Step = "step",
        Notified = "notified",
        NotificationFailed = "notification_failed",
        NobodyReachable = "nobody_reachable",
    }
}

impl Severity {
    /// As expressions spell them.
    pub const WORDS: &'static [&'static str] = &["critical", "high", "medium", "low", "info"];
}

impl UrgencyRule {
    /// The urgency of an incident of this severity: critical and high are high unless the rule
    /// says otherwise.
    pub fn urgency(self, severity: Severity) -> Urgency {
        match self {
            Self::High => Urgency::High,
            Self::Low => Urgency::Low,
            Self::BySeverity if severity <= Severity::High => Urgency::High,
            Self::BySeverity => Urgency::Low,
        }
    }
}

platform::id! {
    /// A service of the organization.
    ServiceId
}
platform::id! {
    /// A rule.
    RuleId
}
platform::id! {
    /// An alert.
    AlertId
}
platform::id! {
    /// An incident.
    IncidentId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgency_follows_the_rule() {
        assert_eq!(UrgencyRule::BySeverity.urgency(Severity::High), Urgency::High);
        assert_eq!(UrgencyRule::BySeverity.urgency(Severity::Medium), Urgency::Low);
        assert_eq!(UrgencyRule::High.urgency(Severity::Info), Urgency::High);
        assert_eq!(UrgencyRule::Low.urgency(Severity::Critical), Urgency::Low);
    }

    #[test]
    fn words_and_numbers_agree_with_the_contract() {
        let all: Vec<&str> = Severity::ALL.iter().map(|severity| severity.as_str()).collect();
        assert_eq!(all, Severity::WORDS);
        for word in Severity::WORDS {
            let severity = Severity::parse(word).expect("known");
            let name = api::Severity::try_from(severity.wire()).expect("known").as_str_name();
            assert_eq!(name, format!("SEVERITY_{}", word.to_uppercase()));
            assert_eq!(Severity::from_wire(severity.wire()), Some(severity));
        }
        assert_eq!(Severity::from_wire(0), None);
        assert_eq!(Severity::from_wire(99), None);
    }
}
