//! workflow-service on a real Postgres, with the real services that it calls and real endpoints.

mod api;
mod crashes;
mod holds;
mod http;
mod lanes;
mod paging;
mod peers;
mod people;
mod plans;
mod repair;
mod schema;
mod secrets;
mod steps;
mod sweep;
mod world;
