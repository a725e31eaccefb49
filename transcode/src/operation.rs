//! What the contract says about one RPC, for people, tests and access tables.

use http::Method;
use prost_reflect::{MessageDescriptor, MethodDescriptor};

use crate::template::Template;

/// One RPC of the contract. The list of them is the contract's table of contents: access tables and
/// endpoint tests iterate over it.
#[derive(Debug, Clone)]
pub struct Operation {
    pub(crate) name: String,
    pub(crate) descriptor: MethodDescriptor,
    pub(crate) rpc_path: String,
    pub(crate) service: String,
    pub(crate) http: Option<Binding>,
    pub(crate) access: Access,
    pub(crate) door: Door,
    pub(crate) status: u16,
    pub(crate) etag: bool,
    pub(crate) idempotent: bool,
    pub(crate) csv: bool,
    pub(crate) comment: Option<String>,
}

/// Where an operation stands in HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) method: Method,
    pub(crate) template: Template,
    pub(crate) body: Body,
}

/// What the body of a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// Every field of the input that the path does not bind.
    Whole,
    /// This message field of the input; the other fields are query parameters.
    Field(String),
}

/// Who may call an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token.
    Public,
    /// Other services only; REST does not know it. Also the meaning of a missing option.
    Internal,
    /// Holders of this permission: its name in lower case without prefix.
    Permission(String),
}

/// Which door serves the REST face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// [`crate::router`] mounts it.
    Transcode,
    /// The host mounts a route of its own; OpenAPI knows the operation all the same.
    Hand,
}

impl Access {
    /// `public`, `internal` or the permission's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Permission(name) => name,
        }
    }

    pub(crate) fn from_word(word: Option<&str>) -> Self {
        match word {
            None | Some("internal") => Self::Internal,
            Some("public") => Self::Public,
            Some(name) => Self::Permission(name.to_owned()),
        }
    }
}

impl Operation {
    /// The RPC's name in snake case, which is the operationId.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `/package.Service/Method`.
    pub fn rpc_path(&self) -> &str {
        &self.rpc_path
    }

    /// Full name of the service, `package.Service`.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The RPC's descriptor.
    pub fn descriptor(&self) -> &MethodDescriptor {
        &self.descriptor
    }

    /// The HTTP method; `None` for an RPC without a REST face.
    pub fn method(&self) -> Option<&Method> {
        self.http.as_ref().map(|binding| &binding.method)
    }

    /// The path template, `/v1/things/{id}`; `None` for an RPC without a REST face.
    pub fn path(&self) -> Option<&str> {
        self.http.as_ref().map(|binding| binding.template.as_str())
    }

    /// Names of the path's variables, left to right.
    pub fn path_variables(&self) -> Vec<&str> {
        self.http.iter().flat_map(|binding| binding.template.variables()).collect()
    }

    /// What the request's body is.
    pub fn body(&self) -> &Body {
        self.http.as_ref().map_or(&Body::None, |binding| &binding.body)
    }

    /// The input's field that is the body, when the body is one field.
    pub fn body_field(&self) -> Option<&str> {
        match self.body() {
            Body::Field(name) => Some(name),
            Body::None | Body::Whole => None,
        }
    }

    /// Who may call it.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Which door serves it.
    pub fn door(&self) -> Door {
        self.door
    }

    /// The HTTP status of success.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The answer, if there is one, carries its version as ETag; If-Match (If-None-Match on GET) is
    /// understood.
    pub fn etag(&self) -> bool {
        self.etag
    }

    /// Idempotency-Key is understood.
    pub fn idempotent(&self) -> bool {
        self.idempotent
    }

    /// The list is also offered as `text/csv`.
    pub fn csv(&self) -> bool {
        self.csv
    }

    /// The RPC's input.
    pub fn input(&self) -> MessageDescriptor {
        self.descriptor.input()
    }

    /// The RPC's output.
    pub fn output(&self) -> MessageDescriptor {
        self.descriptor.output()
    }

    /// The comment on the RPC.
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// Whether [`crate::router`] serves it.
    pub fn is_routed(&self) -> bool {
        self.http.is_some() && self.door == Door::Transcode && self.access != Access::Internal
    }

    /// Whether OpenAPI shows it.
    pub fn is_documented(&self) -> bool {
        self.http.is_some() && self.access != Access::Internal
    }
}
