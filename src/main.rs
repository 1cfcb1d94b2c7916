//! The `bootstrap` binary: serves the Lambda Runtime API. It reads the environment and the wall clock;
//! everything else is in the library.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "one of the two places that read this program's variables and the wall clock"
)]

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use rds_nlb_sync::fleet::Fleet;
use rds_nlb_sync::lambda::{Failure, Invocation, RuntimeApi, handle, remaining};
use rds_nlb_sync::logging;
use rds_nlb_sync::metrics;
use rds_nlb_sync::service::{Answer, InvocationError, Program, Service};
use rds_nlb_sync::startup::{self, App};

#[tokio::main(flavor = "local")]
async fn main() -> ExitCode {
    // The server runs as a task. To wake a task is an entry in a queue; to wake the main future is a system call.
    tokio::task::spawn_local(serve()).await.unwrap_or_else(|error| {
        tracing::error!(decision = "exit", reason = %error, "the function ended");
        ExitCode::FAILURE
    })
}

async fn serve() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    logging::init(variable);
    if variable("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!(
            "This program runs as an AWS Lambda function and finds no Runtime API (AWS_LAMBDA_RUNTIME_API is not \
             set). Deploy it, or see it work with `make demo`."
        );
        return ExitCode::FAILURE;
    }
    tracing::info!(decision = "init", version = env!("CARGO_PKG_VERSION"), "the function starts");
    let runtime_api = RuntimeApi::from_environment();
    let App { config, clients, .. } = match startup::start(variable).await {
        Ok(app) => app,
        Err(error) => {
            report_init_error(&runtime_api, error.to_string()).await;
            return ExitCode::FAILURE;
        }
    };
    let function = variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let fleet = Fleet::new(&config);
    let service = Service::new(&config, &clients, &fleet, Program::Lambda);
    let handler = async |invocation: &Invocation| {
        let now = SystemTime::now();
        let time = remaining(invocation.deadline, now, config.timing.watch);
        let result = handle(&service, &String::from_utf8_lossy(&invocation.body), now, time).await;
        if let Ok(Answer::InvocationResult(result)) | Err(InvocationError::Bindings(result)) = &result {
            metrics::lines(result, &function, milliseconds_since_1970())
                .iter()
                .for_each(|line| println!("{line}"));
        }
        result.map_err(|error| Failure::from(&error))
    };
    match runtime_api.serve(handler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(decision = "exit", reason = %error, "the call of the Runtime API failed");
            ExitCode::FAILURE
        }
    }
}

fn milliseconds_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

/// Reports to Lambda why the function does not start, so that the reason is in the failed invocation.
async fn report_init_error(runtime_api: &RuntimeApi, reason: String) {
    tracing::error!(decision = "init", reason, "the function does not start");
    let failure = Failure { error_type: "InvalidConfiguration", error_message: reason };
    if let Err(error) = runtime_api.report_init_error(&failure).await {
        tracing::error!(decision = "init", reason = %error, "the reason could not be reported to Lambda");
    }
}
