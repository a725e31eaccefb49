//! notification-service on a real Postgres, behind its real door, with real receivers.

mod channels;
mod contact_methods;
mod delivery;
mod email;
mod peers;
mod schema;
mod sending;
mod world;
