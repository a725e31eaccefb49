//! Ids that cannot be taken for one another.

use chrono::{DateTime, Utc};
use uuid::Uuid;

platform::id! {
    /// A destination of an organization or a team.
    ChannelId
}
platform::id! {
    /// One address of one person.
    ContactMethodId
}
platform::id! {
    /// What was said, once for all its notifications.
    MessageId
}
platform::id! {
    /// One message to one destination.
    NotificationId
}
platform::id! {
    /// A person; auth-service owns it.
    UserId
}
platform::id! {
    /// A team; auth-service owns it.
    TeamId
}

impl NotificationId {
    /// The smallest id that can be made at `at`: UUIDv7 begins with the milliseconds since 1970.
    pub fn floor(at: DateTime<Utc>) -> Self {
        let millis = u128::try_from(at.timestamp_millis()).unwrap_or(0);
        Self(Uuid::from_u128(millis << 80))
    }
}

#[cfg(test)]
mod tests {
    use platform::source::Source;

    use super::*;

    #[test]
    fn ids_lie_between_the_floors_of_their_time() {
        let start: DateTime<Utc> = "2026-01-02T03:04:05.678Z".parse().expect("a valid time");
        let id = NotificationId(Source::fixed(1, start).id());
        assert!(NotificationId::floor(start) < id);
        assert!(id < NotificationId::floor(start + chrono::TimeDelta::milliseconds(1)));
        assert_eq!(NotificationId::floor(DateTime::<Utc>::MIN_UTC), NotificationId::nil());
    }
}
