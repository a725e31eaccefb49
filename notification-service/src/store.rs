//! Queries, one file a noun. Row types are the domain's types.

pub mod channels;
pub mod contact_methods;
pub mod messages;
pub mod notifications;
pub mod people;
