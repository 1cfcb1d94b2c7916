//! The configuration, connections and errors that the adapters of the AWS APIs share.

pub mod client;
mod error;
pub mod tls;

pub(crate) use error::{Bounded, call_error};
