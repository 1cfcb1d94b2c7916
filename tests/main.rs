//! The tests that need a world: the loop on a paused clock, the adapters over loopback sockets, and
//! the binary as Lambda runs it.
#![allow(clippy::disallowed_methods, reason = "the tests stand for everything around the function")]

#[cfg(feature = "cli")]
mod cli;
mod discovery;
mod doctor;
mod failovers;
mod fleet;
mod fuzz;
mod handler;
mod interop;
mod lambda_binary;
#[cfg(feature = "network")]
mod network;
mod roles;
mod simulation;
mod sockets;
#[cfg(feature = "cli")]
mod through;
mod tls;
