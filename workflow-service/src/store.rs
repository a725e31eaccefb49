//! Queries, a module per noun. All run under the organization of the transaction, those named
//! `*_of_all` under the system role.

mod configured;
pub mod policies;
pub mod runs;
pub mod states;
pub mod steps;
pub mod workflows;
