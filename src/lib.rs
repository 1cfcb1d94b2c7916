//! Keeps Network Load Balancer target groups in sync with the address of an RDS or Aurora writer.
//!
//! A target group of type `ip` holds addresses, not names. When a database fails over, the name of
//! its writer endpoint moves to another address and the load balancer does not notice. This crate
//! is the AWS Lambda function that notices: woken by RDS events and by a schedule, it compares what
//! DNS says with what the group holds, registers what is missing and deregisters what is stale.
//!
//! # The one idea
//!
//! **Anyone may nominate; only DNS may deregister.** An address is added early and on thin evidence,
//! because adding is safe and a load balancer takes minutes to put a target into service. An
//! address is removed late and on strong evidence, because removing the wrong one is the outage.
//! All state lives in the target group: a draining target *is* the memory that it was removed a
//! moment ago. There is no database, no lock, no object in a bucket.
//!
//! # Invariants
//!
//! - A group that had an active target never has none through us ([`plan()`] deregisters only beside a
//!   registered writer; [`reconcile`] looks again before every deregistration).
//! - A nomination registers early and deregisters nobody ([`reconcile::Preregistration`]); it counts in one watch.
//! - No answer is not an answer: what DNS fails to say changes nothing ([`plan::Addresses::parse`]).
//! - Every wait and every call is bounded, and all of them end before the invocation's deadline.
//! - Every step is idempotent, and safe beside another invocation or after one that was killed.
//!
//! # Reading order
//!
//! [`mod@plan`] decides, purely. [`reconcile`] is the bounded loop around it, with the ports it needs of
//! the world. [`dns`], [`elb`] and [`rds`] are those ports' adapters; each is the only module that
//! knows its library. [`config`] parses the environment, [`discovery`] finds bindings by tag, [`event`]
//! says what an event asks for, [`fleet`] which groups it is worth to list and [`rate_limit`] whose turn it is to
//! call the API, and [`lambda`] joins them; [`metrics`] counts what came of it. [`doctor`]
//! examines what the vendors' guides ask for. [`aws::tls`] says whom to take for an AWS API, and [`startup`] sets up
//! what the two binaries share: `src/main.rs`, the function, and `src/bin/rds-nlb-sync.rs`, the command line.
//! They alone read the environment and the wall clock.
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

pub mod aws;
pub mod binding;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod discovery;
pub mod dns;
pub mod doctor;
pub mod elb;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod fleet;
pub mod lambda;
pub mod logging;
pub mod metrics;
pub mod plan;
pub mod rate_limit;
pub mod rds;
pub mod reconcile;
pub mod startup;

pub use plan::plan;
