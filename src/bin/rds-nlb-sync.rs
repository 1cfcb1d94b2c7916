//! The command line: the function's own check, plan and doctor at hand, and a watch for those who run it
//! as a service. Everything is in the library.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "one of the two places that read the environment and the clock"
)]

use std::process::ExitCode;
use std::time::SystemTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    rds_nlb_sync::cli::run(|name| std::env::var(name).ok(), SystemTime::now).await
}
