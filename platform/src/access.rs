//! Who may call what, read from the contract: each RPC's own option names the permission, each
//! permission's own option the roles that hold it. What the contract does not say is refused.

mod read;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use prost_reflect::DescriptorPool;

use crate::ctx::{Ctx, Permissions, PrincipalKind};
use crate::error::{Error, Result};

/// Permissions that end so are held by every service: in the background they look things up.
const READ: &str = "_read";

/// Who may call an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token.
    Public,
    /// Service tokens only.
    Internal,
    /// Who holds the permission of that name; services hold those that end in `_read`.
    Permission(Arc<str>),
    /// Nobody: the contract does not say.
    Refused,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Permission(name) => name,
            Self::Refused => "refused",
        })
    }
}

/// What the contract says about one RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpSpec {
    /// gRPC path, for example `/pulseops.incident.v1.IncidentService/CreateIncident`.
    pub path: Arc<str>,
    /// Who may call it.
    pub access: Access,
    /// Whether an idempotency key is understood; one that comes along otherwise is ignored.
    pub idempotent: bool,
}

impl OpSpec {
    /// Full name of the gRPC service.
    pub fn service(&self) -> &str {
        service_of(&self.path)
    }
}

/// `pkg.Service` of a path `/pkg.Service/Method`; empty when it is not such a path.
pub fn service_of(path: &str) -> &str {
    path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or("", |(service, _)| service)
}

/// Names of the contract's options: platform does not know the contract itself.
#[derive(Clone, Copy, Debug)]
pub struct OptionNames<'a> {
    /// Extension of method options: a message with the enum field `access` and, when wanted, the
    /// bool field `idempotent`.
    pub op: &'a str,
    /// Extension of the permission's enum value options: the roles that hold it, a repeated enum.
    pub roles: &'a str,
}

impl Default for OptionNames<'static> {
    fn default() -> Self {
        Self { op: "pulseops.api.v1.op", roles: "pulseops.api.v1.roles" }
    }
}

/// A contract from which no table can be read.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// An option is not declared.
    #[error("the descriptors hold no extension {0}")]
    NoExtension(String),
    /// An option has another shape than it must have.
    #[error("the option {0} is not of the expected type")]
    WrongType(String),
}

/// The access table: operations by path, and the role × permission matrix.
#[derive(Debug)]
pub struct AccessTable {
    ops: HashMap<Arc<str>, OpSpec>,
    roles: BTreeMap<String, Permissions>,
    all: Permissions,
}

impl AccessTable {
    /// Reads the table from the contract's descriptors.
    ///
    /// # Errors
    /// The options are not declared there, or have another shape.
    pub fn from_pool(pool: &DescriptorPool, names: OptionNames<'_>) -> Result<Self, AccessError> {
        read::read(pool, names)
    }

    /// What the contract says about the RPC at `path`.
    pub fn op(&self, path: &str) -> Option<&OpSpec> {
        self.ops.get(path)
    }

    /// Every operation, by path.
    pub fn ops(&self) -> Vec<&OpSpec> {
        let mut ops: Vec<_> = self.ops.values().collect();
        ops.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        ops
    }

    /// What `role` may do; nothing for an unknown one.
    pub fn role(&self, role: &str) -> Permissions {
        self.roles.get(role).cloned().unwrap_or_default()
    }

    /// The matrix: each role with its permissions, by name.
    pub fn roles(&self) -> impl Iterator<Item = (&str, &Permissions)> {
        self.roles.iter().map(|(role, permissions)| (role.as_str(), permissions))
    }

    /// Every permission that a role can hold: the scopes that an API key can have.
    pub fn permissions(&self) -> &Permissions {
        &self.all
    }

    /// Decides whether `cx` may call the RPC at `path`: the door's question, and that of the
    /// hand-written doors of the gateway.
    ///
    /// # Errors
    /// Unauthenticated (no token, or why the presented one was refused), Forbidden, and NotFound
    /// for a path that the contract does not know.
    pub fn check(&self, path: &str, cx: &Ctx) -> Result<&OpSpec> {
        let op = self.op(path).ok_or_else(|| Error::not_found("operation"))?;
        let kind = cx.principal.kind;
        match &op.access {
            Access::Public => Ok(op),
            Access::Refused => Err(refused()),
            _ if kind == PrincipalKind::Anonymous => Err(cx.refused.as_deref().map_or_else(
                || Error::unauthenticated("missing_token", "this needs a bearer token"),
                Clone::clone,
            )),
            Access::Internal if kind == PrincipalKind::Service => Ok(op),
            Access::Internal => Err(Error::forbidden("internal_only", "only services may call this")),
            // A service reads what it needs to do its part; it changes nothing in a person's stead.
            Access::Permission(name) if kind == PrincipalKind::Service && name.ends_with(READ) => Ok(op),
            Access::Permission(name) => cx.require(name).map(|()| op),
        }
    }
}

fn refused() -> Error {
    Error::forbidden("refused", "the contract does not say who may call this")
}
