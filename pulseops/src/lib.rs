//! The one binary: every role in one process, one role alone, and the commands of an operator.
//!
//! It owns no table, no topic and no RPC. What it decides is how a process is put together: which
//! roles share it, on which ports they listen, where the others are, and in which order it all ends.
//!
//! The invariant that must never break: the roles do not know whether they share a process. What one
//! process does, several do with the same configuration.
//!
//! Start reading in `assemble.rs` (what a process is made of), then `start.rs` (`up`, `serve`). The
//! library exists so that tests can assemble the platform on a test database.

pub mod assemble;
mod cli;
pub mod config;
mod consumers;
mod demo;
mod doctor;
pub mod ground;
mod migrate;
pub mod roles;
mod start;

pub use cli::main;
