//! The command line: the function's check, plan and doctor, and a watch that runs as a service. It reads the
//! environment and the wall clock; everything else is in the library.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "one of the two places that read this program's variables and the wall clock"
)]

use std::process::ExitCode;
use std::time::SystemTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    rds_nlb_sync::cli::run(|name| std::env::var(name).ok(), SystemTime::now).await
}
