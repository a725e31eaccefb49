//! REST from a protobuf contract: a descriptor pool goes in, axum routes and an OpenAPI 3.1
//! document come out.
//!
//! The crate owns the mapping between HTTP/JSON and gRPC: paths, parameters, bodies, masks, entity
//! tags, idempotency keys, content negotiation, CSV. It knows no message of any product: what it
//! needs beside `google.api.http` stands in one method option, whose name it is told
//! ([`Options::new`]). It has no tables and no topics.
//!
//! Invariant: everything that can be wrong with a contract is found by [`Contract::new`] (cannot be
//! served) or [`Contract::lint`] (should not be published); a request never panics, and every fault
//! of a request is reported at once, each with its path.
//!
//! Bodies go from JSON to wire bytes and back without generated types or dynamic messages between.
//!
//! Read `contract.rs` (what is planned at start), `handler.rs` (one request, step by step),
//! `json/read.rs` and `json/write.rs` (the two directions), then `openapi.rs`.

mod accept;
mod annotations;
mod answer;
mod call;
mod comments;
mod contract;
mod csv;
mod handler;
mod headers;
mod input;
mod json;
mod lint;
mod names;
mod openapi;
mod operation;
mod plan;
mod problem;
mod route;
mod router;
mod template;
mod wire;

pub use call::Transport;
pub use contract::{Contract, ContractError, Options};
pub use openapi::OpenApiInfo;
pub use operation::{Access, Body, Door, Operation};
pub use problem::{Fault, Faults, FieldFault, Problems, RequestContext};
pub use router::router;
