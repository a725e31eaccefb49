//! The real binary, killed, doubled and misled.

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod home;
mod kill;
