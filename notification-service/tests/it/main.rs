//! notification-service on a real Postgres, behind its real door, with real receivers.

mod channels;
mod contact_methods;
mod delivery;
mod documentation;
mod email;
mod limits;
mod neighbours;
mod order;
mod peers;
mod people;
mod proofs;
mod schema;
mod sending;
mod sweep;
mod timeline;
mod world;
