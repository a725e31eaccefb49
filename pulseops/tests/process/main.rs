//! The real binary, killed, doubled and misled.

#[path = "../support/mod.rs"]
mod support;

mod apart;
mod commands;
mod commits;
mod demo;
mod home;
mod kill;
