//! The configuration, connections and errors that `elb` and `rds` share.

pub mod client;
mod error;
pub mod tls;

pub(crate) use error::{Bounded, call_error};
