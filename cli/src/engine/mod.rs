//! The engine that a user's clients share: where it listens, how it is found, begun and joined, and the relay of a stdio client.
//!
//! What it does with a connection is `server::Engine`. An engine is one program file with one configuration and one set of plugins: its
//! socket's name says which, so that another version, another `pegboard.toml` or other plugins are another engine, never the wrong one.

mod begin;
mod place;
mod relay;
mod talk;

pub(crate) use begin::{begin, begun, join};
pub(crate) use place::{Place, What, place_of_owner};
pub(crate) use relay::relay;
pub(crate) use talk::{Talk, opening, talk};
