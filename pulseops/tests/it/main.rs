//! The platform as a whole: what it says about itself, who may do what, and the story.

#[path = "../support/mod.rs"]
mod support;
mod world;

mod access;
mod audit;
mod away;
mod contract;
mod dependencies;
mod docs;
mod examples;
mod fixture;
mod grpc;
mod isolation;
mod locations;
mod page;
mod promises;
mod readme;
mod reflection;
mod story;
mod system_calls;
mod waiting;
