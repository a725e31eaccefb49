//! The closed words of the records.

use proto::{api::v1 as api, incident::v1 as incident};

platform::words! {
    /// How bad it is, worst first.
    Severity as api::Severity {
        Critical = "critical", High = "high", Medium = "medium", Low = "low", Info = "info",
    }
}

platform::words! {
    /// How loudly people were told.
    Urgency as api::Urgency { High = "high", Low = "low" }
}

platform::words! {
    /// Where the incident stands.
    Status as incident::IncidentStatus {
        Triggered = "triggered", Acknowledged = "acknowledged", Resolved = "resolved",
    }
}
