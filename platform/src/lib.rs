//! What every service needs and that has no word of the domain in it: each mechanism once.
//!
//! Tables: `outbox`, `positions`, `members` and `idempotency_keys` in the schema of every
//! service (`migrations/mechanisms`), the log, its followers and `dead_letters` in `pulseops_bus`
//! (`migrations/bus`), the clock, the list of services and of exempt tables in `pulseops`
//! (`migrations/database`). Topics: none of its own; [`bus`] carries those of the services.
//!
//! What must never break:
//! - a transaction sees the rows of its organization only, beneath every query ([`db`]);
//! - a state change and what is told about it are one transaction ([`outbox`], [`idempotency`]);
//! - who has lost its lease commits nothing ([`consumer`], [`leased`]);
//! - no handler is reached past its door ([`door`]), and no user-given address past [`egress`];
//! - time, ids and randomness come from one [`source`].
//!
//! Start reading at [`deps`] (what a service is built from), then [`ctx`] and [`db`] (what each of
//! its functions is given).

pub mod access;
pub mod bus;
pub mod clock;
pub mod config;
pub mod consumer;
pub mod ctx;
pub mod db;
pub mod dead_letters;
pub mod deps;
pub mod door;
pub mod egress;
pub mod error;
pub mod failpoint;
pub mod idempotency;
pub mod leased;
pub mod lifecycle;
pub mod migrate;
pub mod outbox;
pub mod page;
pub mod postgres;
pub mod rpc;
pub mod secret;
pub mod server;
pub mod source;
pub mod sql;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
pub mod wake;
pub mod words;

/// What the exported macros name; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use diesel;
    pub use diesel_async::AsyncPgConnection;
    pub use serde;
    pub use uuid::Uuid;

    pub type DateTime = chrono::DateTime<chrono::Utc>;
}
