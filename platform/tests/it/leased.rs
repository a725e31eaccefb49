//! Leased rows: claims, outcomes, lost leases, rows born leased, slots and turns.

mod births;
mod driver;
mod fixture;
mod slots;
mod turns;
