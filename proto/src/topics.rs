//! The topics of the bus: name, partitions, retention. Fixed once a deployment has them; a change is
//! a topic of another version.

/// One topic, in plain values: the bus's own type is platform's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name, with its version.
    pub name: &'static str,
    /// Number of partitions.
    pub partitions: i32,
    /// How long records are kept at least, in milliseconds.
    pub retention_ms: u64,
}

const DAY_MS: u64 = 24 * 3600 * 1000;

/// What systems report, keyed by organization and service.
pub const EVENTS: Topic = Topic { name: "pulseops.events.v1", partitions: 8, retention_ms: 3 * DAY_MS };
/// Steps of incidents' lives, keyed by incident.
pub const INCIDENTS: Topic = Topic { name: "pulseops.incidents.v1", partitions: 8, retention_ms: 7 * DAY_MS };
/// Users and revocations, keyed by organization; tailed by every process.
pub const AUTH: Topic = Topic { name: "pulseops.auth.v1", partitions: 1, retention_ms: 7 * DAY_MS };
/// Who changed which resource, for auth-service's audit; keyed by resource.
pub const AUDIT: Topic = Topic { name: "pulseops.audit.v1", partitions: 8, retention_ms: 7 * DAY_MS };
