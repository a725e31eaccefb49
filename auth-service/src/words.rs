//! Closed sets of words: text with a CHECK in the database, enums here.

use proto::{api::v1 as api, auth::v1 as pb};

platform::words! {
    /// What a user may do, strongest first; the matrix stands in the contract.
    Role as api::Role { Owner = "owner", Admin = "admin", Responder = "responder", Viewer = "viewer" }
}

platform::words! {
    /// Whether a user can sign in.
    UserStatus as pb::UserStatus { Active = "active", Disabled = "disabled" }
}

platform::words! {
    TeamRole as pb::TeamRole { Manager = "manager", Member = "member" }
}

platform::words! {
    KeyKind as pb::ApiKeyKind { Api = "api", Integration = "integration" }
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
