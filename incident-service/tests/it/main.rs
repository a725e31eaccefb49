//! incident-service on a real Postgres, through its doors and its topics.

mod alerts;
mod incidents;
mod late;
mod lists;
mod peers;
mod plans;
mod response;
mod rules;
mod schema;
mod services;
mod sets;
mod slices;
mod story;
mod world;
