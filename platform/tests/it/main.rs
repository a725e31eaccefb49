//! One binary for all integration tests of platform, on real Postgres.

mod access;
mod bus;
mod clock;
mod config;
mod consumer;
mod db;
mod door;
mod egress;
mod idempotency;
mod latency;
mod leased;
mod lifecycle;
mod migrate;
mod outbox;
mod postgres;
mod server;
mod token;
