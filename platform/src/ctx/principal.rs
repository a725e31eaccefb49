use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What kind of caller a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person with a session.
    User,
    /// A program with an API key.
    ApiKey,
    /// A sender of events, bound to one service of the organization.
    IntegrationKey,
    /// One of our own services, in the background.
    Service,
    /// Nobody: no token.
    Anonymous,
}

impl PrincipalKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::User, Self::ApiKey, Self::IntegrationKey, Self::Service, Self::Anonymous];

    /// The name in tokens, rows and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "api_key",
            Self::IntegrationKey => "integration_key",
            Self::Service => "service",
            Self::Anonymous => "anonymous",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permission names, lower case. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions(Arc<[Box<str>]>);

impl Permissions {
    /// No permission at all.
    pub fn none() -> Self {
        Self::from_iter([] as [&str; 0])
    }

    /// Whether `name` is in the set.
    pub fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }

    /// The names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// What both sets hold: a key's scopes never exceed what its kind may have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.iter().filter(|name| other.contains(name)).collect()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Permissions {
    fn default() -> Self {
        Self::none()
    }
}

impl<S: Into<Box<str>>> FromIterator<S> for Permissions {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }
}

/// A verified caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What it is.
    pub kind: PrincipalKind,
    /// Id of the user or key; nil for services and anonymous callers.
    pub id: Uuid,
    /// The name as it was when the token was issued; for a service its role.
    pub name: String,
    /// Role of a user.
    pub role: Option<String>,
    /// What it may do: those of the role, or the scopes of a key.
    pub permissions: Permissions,
    /// The service of the organization that an integration key is bound to.
    pub bound_service: Option<Uuid>,
    /// Session of a user.
    pub session: Option<Uuid>,
}

impl Principal {
    /// A caller without a token.
    pub fn anonymous() -> Self {
        Self::bare(PrincipalKind::Anonymous, Uuid::nil(), "anonymous")
    }

    /// One of our own services.
    pub fn service(role: impl Into<String>) -> Self {
        Self::bare(PrincipalKind::Service, Uuid::nil(), role)
    }

    /// A principal without role and permissions.
    pub fn bare(kind: PrincipalKind, id: Uuid, name: impl Into<String>) -> Self {
        Self {
            kind,
            id,
            name: name.into(),
            role: None,
            permissions: Permissions::none(),
            bound_service: None,
            session: None,
        }
    }

    /// Who, unique in the deployment: `user:<uuid>`, `service:<role>`, `anonymous`. The `sub` of
    /// tokens and the scope of idempotency keys.
    pub fn subject(&self) -> Subject {
        match self.kind {
            PrincipalKind::Service => Subject::Service(self.name.clone()),
            PrincipalKind::Anonymous => Subject::Anonymous,
            kind => Subject::Keyed(kind, self.id),
        }
    }

    /// Whether this is one of our own services.
    pub fn is_service(&self) -> bool {
        self.kind == PrincipalKind::Service
    }

    /// Who did it, as audit rows and timelines keep it.
    pub fn actor(&self) -> Actor {
        Actor { kind: self.kind, id: self.id, name: self.name.clone() }
    }
}

/// The text form of who a principal is; see [`Principal::subject`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user or a key.
    Keyed(PrincipalKind, Uuid),
    /// A service by its role.
    Service(String),
    /// Nobody.
    Anonymous,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyed(kind, id) => write!(f, "{kind}:{id}"),
            Self::Service(role) => write!(f, "service:{role}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// A subject that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not the subject of a token")]
pub struct BadSubject;

impl FromStr for Subject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        if text == "anonymous" {
            return Ok(Self::Anonymous);
        }
        let (kind, rest) = text.split_once(':').ok_or(BadSubject)?;
        match PrincipalKind::parse(kind).ok_or(BadSubject)? {
            PrincipalKind::Service if !rest.is_empty() => Ok(Self::Service(rest.to_owned())),
            PrincipalKind::Service | PrincipalKind::Anonymous => Err(BadSubject),
            kind => rest.parse().map(|id| Self::Keyed(kind, id)).map_err(|_| BadSubject),
        }
    }
}

/// Who did something, with the name as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What it is.
    pub kind: PrincipalKind,
    /// Id of the user or key; nil for services.
    pub id: Uuid,
    /// Its name at that time.
    pub name: String,
}
