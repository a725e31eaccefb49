//! auth-service over a real Postgres and behind its real door.

mod access;
mod audit;
mod integration_keys;
mod keys;
mod races;
mod schema;
mod secrets;
mod sessions;
mod teams;
mod users;
mod world;
