//! The gateway on a real Postgres, with the real services behind it.

mod access;
mod dead_letters;
mod durable;
mod events;
mod examples;
mod keys;
mod limits;
mod protocol;
mod world;
