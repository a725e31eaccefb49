//! Closed sets of words: text with a CHECK in the database, enums here.

platform::words! {
    /// What a user may do, strongest first; the matrix stands in the contract.
    Role { Owner = "owner", Admin = "admin", Responder = "responder", Viewer = "viewer" }
}

platform::words! {
    /// Whether a user can sign in.
    UserStatus { Active = "active", Disabled = "disabled" }
}

platform::words! {
    TeamRole { Manager = "manager", Member = "member" }
}

platform::words! {
    KeyKind { Api = "api", Integration = "integration" }
}

platform::words! {
    /// Why a session ended before its time.
    SessionEnd {
        Logout = "logout",
        Reuse = "reuse",
        Password = "password",
        Disabled = "disabled",
        Archived = "archived",
    }
}

platform::id! {
    UserId
}

platform::id! {
    TeamId
}

platform::id! {
    SessionId
}

platform::id! {
    KeyId
}
