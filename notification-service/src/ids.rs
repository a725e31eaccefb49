//! Ids that cannot be taken for one another.

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
