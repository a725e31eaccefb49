//! workflow-service on a real Postgres, with the real services that it calls and real endpoints.

mod api;
mod crashes;
mod holds;
mod http;
mod paging;
mod peers;
mod schema;
mod steps;
mod world;
