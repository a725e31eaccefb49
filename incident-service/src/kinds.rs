//! The closed words of this service's tables, as Rust, SQL text and proto.

use proto::api::v1 as api;
use proto::incident::v1 as wire;

/// An enum kept as text in a column and known to the contract.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident as $wire:path { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
            serde::Serialize, serde::Deserialize,
        )]
        #[diesel(sql_type = diesel::sql_types::Text)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($variant),+ }

        impl $name {
            /// The word in rows and JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value of that word.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            /// The value of a proto field; `None` when unspecified or not known.
            pub fn from_wire(number: i32) -> Option<Self> {
                match <$wire>::try_from(number).ok()? {
                    $(<$wire>::$variant => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The value as a proto field has it.
            pub fn wire(self) -> i32 {
                match self { $(Self::$variant => <$wire>::$variant as i32),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
            ) -> diesel::serialize::Result {
                std::io::Write::write_all(out, self.as_str().as_bytes())?;
                Ok(diesel::serialize::IsNull::No)
            }
        }

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                let text = std::str::from_utf8(value.as_bytes())?;
                Self::parse(text)
                    .ok_or_else(|| format!("{text:?} is no {}", stringify!($name)).into())
            }
        }
    };
}

words! {
    /// How bad it is, worst first.
    Severity as api::Severity {
        Critical = "critical", High = "high", Medium = "medium", Low = "low", Info = "info",
    }
}

words! {
    /// How loudly people are told.
    Urgency as api::Urgency { High = "high", Low = "low" }
}

words! {
    /// How the urgency of a service's incidents follows from their severity.
    UrgencyRule as wire::UrgencyRule { BySeverity = "by_severity", High = "high", Low = "low" }
}

words! {
    /// Where an incident stands.
    Status as wire::IncidentStatus {
        Triggered = "triggered", Acknowledged = "acknowledged", Resolved = "resolved",
    }
}

words! {
    /// Where an alert stands.
    AlertStatus as wire::AlertStatus { Firing = "firing", Resolved = "resolved" }
}

words! {
    /// What an alert comes from.
    SourceKind as wire::SourceKind { Rule = "rule", Integration = "integration", Person = "person" }
}

words! {
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
        for word in ["critical", "high", "medium", "low", "info"] {
            let severity = Severity::parse(word).expect("known");
            let name = api::Severity::try_from(severity.wire()).expect("known").as_str_name();
            assert_eq!(name, format!("SEVERITY_{}", word.to_uppercase()));
            assert_eq!(Severity::from_wire(severity.wire()), Some(severity));
        }
        assert_eq!(Severity::from_wire(0), None);
        assert_eq!(Severity::from_wire(99), None);
    }
}
