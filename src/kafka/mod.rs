//! The room that speaks with the brokers.

pub mod client;
