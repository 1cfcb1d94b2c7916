//! Keeps Network Load Balancer target groups in sync with the address of an RDS or Aurora writer.
//!
//! A target group of type `ip` holds addresses, not names. When a database fails over, the name of its writer
//! endpoint moves to another address, and the load balancer does not notice. This crate is the AWS Lambda function
//! that changes the group: RDS events and a schedule invoke it, it compares the addresses that DNS gives with the
//! targets of the group, registers missing targets and deregisters stale ones.
//!
//! # The one idea
//!
//! **Anyone may add; only DNS may remove.** An address is added early and on weak evidence, because adding is safe
//! and a load balancer takes minutes to put a target into service. An address is removed late and on strong
//! evidence, because removing the wrong one is the outage. All state lives in the target group: a draining target
//! *is* the record that it was removed a moment ago. There is no database, no lock, no object in a bucket.
//!
//! # Invariants
//!
//! - No deregistration leaves the group, as it was last listed, without an active target ([`plan()`] deregisters only
//!   if the endpoint's addresses are registered; [`reconcile`] lists again before every deregistration).
//!   `docs/proof.md` has the ways to an empty group that are left.
//! - A candidate is registered early and is no reason to deregister anything ([`reconcile::Preregistration`]).
//! - Without a usable DNS answer nothing changes ([`plan::Addresses::parse`]).
//! - Every wait and every call is bounded, and all of them end before the invocation's deadline.
//! - Every step is idempotent, and safe beside another invocation or after one that was killed.
//!
//! # Reading order
//!
//! [`mod@plan`] decides: it is a pure function. [`mod@reconcile`] is the bounded loop around it, with the ports that
//! it needs; [`dns`], [`elb`] and [`rds`] implement them. [`service`] joins all for [`lambda`] and for the command line
//! (`cli`). `docs/architecture.md` says what each module keeps.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

/// Writes a decision to the log, with the binding's fields.
macro_rules! log_decision {
    ($level:ident, $binding:expr, $decision:literal, $($rest:tt)+) => {
        tracing::$level!(
            binding = $binding.name(),
            endpoint = %$binding.endpoint,
            target_group = %$binding.target_group,
            decision = $decision,
            $($rest)+
        )
    };
}

pub mod arn;
pub mod aws;
pub mod binding;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "network")]
pub mod cloudwatch;
pub mod config;
pub mod discovery;
pub mod dns;
pub mod doctor;
#[cfg(feature = "network")]
pub mod ec2;
pub mod elb;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod fleet;
mod guard;
pub mod lambda;
pub mod logging;
pub mod metrics;
pub mod plan;
#[cfg(feature = "network")]
pub mod ram;
pub mod rate_limit;
pub mod rds;
pub mod reconcile;
pub mod service;
pub mod startup;
mod text;
#[cfg(feature = "network")]
pub mod vpclattice;

pub use plan::plan;
